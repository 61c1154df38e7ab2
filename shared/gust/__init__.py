"""Gust: unmodified Apache Airflow DAG files on pay-per-use AWS primitives."""

__version__ = "0.1.0"
