"""What workers send and get, in Airflow's files and under Airflow's field names. Requests are models, answers are built."""
