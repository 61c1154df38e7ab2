"""Airflow's REST API v2 over our store."""
