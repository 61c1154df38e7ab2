from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerCreateOperator, GlueCrawlerRunOperator
from airflow.providers.amazon.aws.sensors.glue_crawler import GlueCrawlerSensor
from airflow.sdk import DAG


def crawler(name):
    return {
        "Name": name,
        "Role": "arn:aws:iam::000000000000:role/glue",
        "DatabaseName": "sales",
        "Targets": {"S3Targets": [{"Path": f"s3://operators/{name}"}]},
    }


with DAG("aws_glue_crawler"):
    creates = GlueCrawlerCreateOperator(task_id="creates", config=crawler("daily"))
    runs = GlueCrawlerRunOperator(task_id="runs", crawler_name="daily", poll_interval=1)
    sees = GlueCrawlerSensor(task_id="sees", crawler_name="daily", poke_interval=1)
    creates >> runs >> sees
    creates_other = GlueCrawlerCreateOperator(task_id="creates_other", config=crawler("hourly"))
    creates_other >> GlueCrawlerRunOperator(
        task_id="runs_deferred", crawler_name="hourly", poll_interval=1, deferrable=True
    )

with DAG("aws_glue_crawler_fails", default_args={"aws_conn_id": "scripted"}):
    starts = GlueCrawlerRunOperator(task_id="starts", crawler_name="fails", poll_interval=1, wait_for_completion=False)
    starts >> GlueCrawlerSensor(task_id="fails", crawler_name="fails", poke_interval=1)
    GlueCrawlerRunOperator(task_id="fails_to_start", crawler_name="nowhere", poll_interval=1)
