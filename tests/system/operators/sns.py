from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.sdk import DAG

TOPICS = "arn:aws:sns:us-east-1:000000000000:"

with DAG("aws_sns"):
    SnsPublishOperator(task_id="publishes", target_arn=f"{TOPICS}operators", message="{{ dag.dag_id }} is done")
    SnsPublishOperator(
        task_id="publishes_in_order",
        target_arn=f"{TOPICS}operators-ordered.fifo",
        message="eight rows",
        message_group_id="rows",
        message_deduplication_id="eight",
    )

with DAG("aws_sns_fails"):
    SnsPublishOperator(task_id="fails", target_arn=f"{TOPICS}nowhere", message="lost")
