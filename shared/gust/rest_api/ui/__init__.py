"""`/ui/…`: operations of Airflow's web UI outside the public REST API, in files named as Airflow's. Those of deadlines are
in `rest_api/public/deadlines.py`."""
