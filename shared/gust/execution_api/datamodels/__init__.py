"""Requests and answers of workers, in Airflow's files and with its field names. Requests are models, answers are
dicts."""
