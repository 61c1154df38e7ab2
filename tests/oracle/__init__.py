"""The oracle: real Apache Airflow 3.3.2 with PostgreSQL, driven over the same REST API v2 as Gust.

`server` starts it, `drive` runs DAGs on any server that speaks the API and notes what happened, `golden` keeps what
happened as JSON and holds another server's result against it, `wheel` says which of Airflow's own example DAGs take
part, `features` what is done to those of ours that are about one feature each, and `record` (`./gust record-golden`)
does all of it in one go.
"""
