"""A file that a parser can import, and a worker cannot."""

from airflow.sdk import DAG, get_parsing_context, task

if get_parsing_context().task_id:
    import no_such_module_on_the_worker  # noqa: F401

with DAG("log_of_an_import_error", schedule=None):

    @task
    def never_begins():
        print("never printed")

    never_begins()
