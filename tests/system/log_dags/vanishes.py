"""A DAG and a task that are gone when they shall run."""

from airflow.sdk import DAG, get_parsing_context, task

running = get_parsing_context()

if running.dag_id != "log_of_a_vanished_dag":
    with DAG("log_of_a_vanished_dag", schedule=None):

        @task
        def is_gone():
            pass

        is_gone()

if running.task_id != "vanishes":
    with DAG("log_of_a_vanished_task", schedule=None):

        @task
        def vanishes():
            pass

        vanishes()
else:
    with DAG("log_of_a_vanished_task", schedule=None):
        pass
