"""A sales file that is dropped into S3 is transformed by Glue, loaded into Redshift, and counted in CloudWatch.

The file starts the run: `./gust watch-bucket sales-landing --stack gust`. Nothing polls the bucket.
"""

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.sdk import DAG, Asset, task

LANDED = Asset("s3://sales-landing/incoming/", extra={"glob": "*.csv"})

with DAG(
    dag_id="sales_to_redshift",
    schedule=LANDED,
    doc_md=__doc__,
    tags=["example", "aws", "events"],
):

    @task
    def landed(triggering_asset_events=None) -> str:
        """The addresses of all files that came since the last run, separated by commas, as the Glue job takes them."""
        events = triggering_asset_events[LANDED]
        return ",".join(sorted(f"s3://{event.extra['bucket']}/{event.extra['key']}" for event in events))

    transform = GlueJobOperator(
        task_id="transform",
        job_name="sales-transform",
        iam_role_arn="arn:aws:iam::000000000000:role/glue",
        script_location="s3://sales-landing/scripts/transform.py",
        script_args={"--files": "{{ ti.xcom_pull(task_ids='landed') }}"},
        job_poll_interval=2,
    )

    load = RedshiftDataOperator(
        task_id="load",
        workgroup_name="analytics",
        database="sales",
        sql="COPY sales FROM 's3://sales-landing/transformed/' FORMAT PARQUET",
        poll_interval=1,
    )

    @task
    def count(files: str) -> int:
        """Send the number of files to CloudWatch."""
        number = len(files.split(","))
        metric = {"MetricName": "FilesLoaded", "Value": number, "Unit": "Count"}
        AwsBaseHook(client_type="cloudwatch").get_conn().put_metric_data(Namespace="Sales", MetricData=[metric])
        return number

    files = landed()
    files >> transform >> load >> count(files)
