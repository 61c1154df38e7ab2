"""Gust's `decide` against Airflow's own scheduler, on random DAGs and random histories; see `play.py`."""

import os

# Read when Airflow is imported, so it stands before all that imports it.
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
