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
    SqsPublishOperator(
        task_id="publishes_in_order",
        sqs_queue=f"{HERE}-ordered.fifo",
        message_content="eight rows",
        message_group_id="rows",
        message_deduplication_id="eight",
    ) >> SqsSensor(
        task_id="waits_for_text",
        sqs_queue=f"{HERE}-ordered.fifo",
        message_filtering="literal",
        message_filtering_match_values=["eight rows"],
        poke_interval=1,
    )

with DAG("aws_sqs_fails"):
    SqsPublishOperator(task_id="fails", sqs_queue=f"{HERE}-nowhere", message_content="lost")
    SqsSensor(task_id="fails_deferred", sqs_queue=f"{HERE}-empty", poke_interval=1, timeout=3, deferrable=True)
