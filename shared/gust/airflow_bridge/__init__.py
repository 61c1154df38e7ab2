"""The only package that imports Airflow: parsing, executing, triggers, timetables, and every version difference."""
