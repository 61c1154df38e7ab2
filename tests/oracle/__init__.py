"""The oracle: real Apache Airflow 3.3.2 with PostgreSQL, driven over the same REST API v2 as Gust.

`server` starts it, `drive` runs DAGs on any server with this API and records the results, `golden` stores them as JSON and
compares another server's results with them, `wheel` lists the Airflow example DAGs that take part, `features` lists the
actions on our DAGs of one feature each, and `record` (`./gust record-golden`) does all of it at once.
"""
