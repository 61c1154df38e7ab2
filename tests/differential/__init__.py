"""Gust's `decide` against Airflow's own scheduler, on random DAGs and random histories; see `play.py`."""

import atexit
import os
import shutil
import tempfile

# Read when Airflow is imported, so it stands before all that imports it.
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="gust-differential-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
