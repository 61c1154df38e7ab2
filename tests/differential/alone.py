"""Airflow's settings for a process that does nothing but play. They are read when Airflow is imported, so this module comes
before all that imports it, and only into such a process: other tests read what tasks log."""

import atexit
import os
import shutil
import tempfile

os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
if "AIRFLOW_HOME" not in os.environ:
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="gust-differential-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
