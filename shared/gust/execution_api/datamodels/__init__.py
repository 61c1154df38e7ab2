"""What workers send and get, in Airflow's files and under its field names. Requests are models, answers are built."""
