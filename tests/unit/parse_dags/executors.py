"""Files written for AWS's executors name them in any of the ways that Airflow takes."""

from airflow.sdk import DAG, task

ECS = "airflow.providers.amazon.aws.executors.ecs.ecs_executor.AwsEcsExecutor"

with DAG("executors"):

    @task(executor="AwsEcsExecutor", executor_config={"overrides": {"cpu": "1024"}})
    def by_name(): ...

    @task(executor=ECS)
    def by_path(): ...

    @task(executor="AwsLambdaExecutor")
    def on_lambda(): ...

    by_name(), by_path(), on_lambda()
