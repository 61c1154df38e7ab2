"""DAGs to start from, in `dags/`, and the AWS resources that two of them use."""
