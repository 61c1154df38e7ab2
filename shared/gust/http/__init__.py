"""The HTTP that the REST API and the execution API share: requests are checked and refused as by FastAPI in Airflow."""
