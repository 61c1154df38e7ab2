"""Cluster `operators`; the task definitions `prints`, `breaks` and `lasts` are what their names say. Containers of the
connection `scripted` log two lines."""

from datetime import timedelta

from airflow.providers.amazon.aws.operators.ecs import EcsRegisterTaskDefinitionOperator, EcsRunTaskOperator
from airflow.providers.amazon.aws.sensors.ecs import EcsTaskStateSensor
from airflow.sdk import DAG

where = {
    "cluster": "operators",
    "launch_type": "FARGATE",
    "overrides": {"containerOverrides": []},
    "network_configuration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
    "waiter_delay": 1,
}

logged = {
    "task_definition": "logged",
    "awslogs_group": "operators",
    "awslogs_stream_prefix": "etl",
    "awslogs_region": "us-east-1",
    "awslogs_fetch_interval": timedelta(seconds=1),
    "region_name": "us-east-1",
    "aws_conn_id": "scripted",
    **where,
}

with DAG("aws_ecs", max_active_tasks=3):
    EcsRegisterTaskDefinitionOperator(
        task_id="registers",
        family="registered",
        container_definitions=[{"name": "main", "image": "etl:1", "command": ["true"], "essential": True}],
    )
    EcsRunTaskOperator(task_id="runs", task_definition="prints", **where)
    EcsRunTaskOperator(task_id="runs_deferred", task_definition="prints", deferrable=True, **where)
    starts = EcsRunTaskOperator(task_id="starts", task_definition="prints", wait_for_completion=False, **where)
    starts >> EcsTaskStateSensor(
        task_id="sees",
        cluster="operators",
        task="{{ ti.xcom_pull(task_ids='starts', key='ecs_task_arn') }}",
        target_state="STOPPED",
        failure_states=set(),
        poke_interval=1,
    )
    EcsRunTaskOperator(task_id="shows_log", **logged)
    EcsRunTaskOperator(task_id="shows_log_deferred", deferrable=True, **logged)

with DAG("aws_ecs_fails"):
    EcsRunTaskOperator(task_id="fails", task_definition="breaks", **where)
    EcsRunTaskOperator(task_id="fails_deferred", task_definition="breaks", deferrable=True, **where)

with DAG("aws_ecs_killed"):
    EcsRunTaskOperator(task_id="lasts", task_definition="lasts", **where)
