"""Airflow's Task Execution API (version 2026-06-30) over our store."""
