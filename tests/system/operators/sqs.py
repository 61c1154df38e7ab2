from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.providers.amazon.aws.sensors.sqs import SqsSensor
from airflow.sdk import DAG

HERE = "{{ var.value.operators_queue }}"

with DAG("aws_sqs"):
    publishes = SqsPublishOperator(task_id="publishes", sqs_queue=HERE, message_content="seven rows")
    waits = SqsSensor(task_id="waits", sqs_queue=HERE, max_messages=1, poke_interval=1)
    again = SqsPublishOperator(task_id="publishes_again", sqs_queue=HERE, message_content="nine rows")
    waits_deferred = SqsSensor(task_id="waits_deferred", sqs_queue=HERE, poke_interval=1, deferrable=True)
    publishes >> waits >> again >> waits_deferred

with DAG("aws_sqs_fails"):
    SqsPublishOperator(task_id="fails", sqs_queue=f"{HERE}-nowhere", message_content="lost")
    SqsSensor(task_id="fails_deferred", sqs_queue=f"{HERE}-empty", poke_interval=1, timeout=3, deferrable=True)
