"""Gust's `decide` against Airflow's own scheduler, on random DAGs and random histories; see `play.py`."""
