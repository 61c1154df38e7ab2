from airflow.sdk import DAG, setup, task, teardown

with DAG("setups", schedule=None):

    @setup
    def make(): ...

    @teardown(on_failure_fail_dagrun=True)
    def tidy(): ...

    @task
    def use(): ...

    made = make()
    made >> use() >> tidy().as_teardown(setups=made, on_failure_fail_dagrun=True)
