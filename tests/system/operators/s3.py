from airflow.providers.amazon.aws.operators.s3 import (
    S3CopyObjectOperator,
    S3CreateBucketOperator,
    S3CreateObjectOperator,
    S3DeleteObjectsOperator,
    S3FileTransformOperator,
    S3GetBucketTaggingOperator,
    S3ListOperator,
    S3PutBucketTaggingOperator,
)
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor, S3KeysUnchangedSensor
from airflow.sdk import DAG

with DAG("aws_s3", max_active_tasks=3):
    bucket = S3CreateBucketOperator(task_id="makes_bucket", bucket_name="landing")
    puts = S3CreateObjectOperator(
        task_id="puts", s3_bucket="landing", s3_key="in/sales.csv", data="pear,7\nplum,9\n", replace=True
    )
    waits = S3KeySensor(task_id="waits", bucket_key="s3://landing/in/*.csv", wildcard_match=True, poke_interval=1)
    # The test puts the key once the task is deferred.
    waits_deferred = S3KeySensor(
        task_id="waits_deferred", bucket_key="s3://landing/late.csv", poke_interval=1, deferrable=True
    )
    transforms = S3FileTransformOperator(
        task_id="transforms",
        source_s3_key="s3://landing/in/sales.csv",
        dest_s3_key="s3://landing/out/sales.csv",
        transform_script="/bin/cp",
        replace=True,
    )
    copies = S3CopyObjectOperator(
        task_id="copies", source_bucket_key="s3://landing/out/sales.csv", dest_bucket_key="s3://landing/out/copy.csv"
    )
    lists = S3ListOperator(task_id="lists", bucket="landing", prefix="out/")
    deletes = S3DeleteObjectsOperator(task_id="deletes", bucket="landing", prefix="in/")
    tags = S3PutBucketTaggingOperator(task_id="tags", bucket_name="operators", key="team", value="sales")
    tags >> S3GetBucketTaggingOperator(task_id="gets_tags", bucket_name="operators")
    S3KeysUnchangedSensor(
        task_id="sees_quiet",
        bucket_name="operators",
        prefix="report.py",
        inactivity_period=1,
        poke_interval=1,
        deferrable=True,
    )
    bucket >> [puts, waits, waits_deferred]
    [puts, waits] >> transforms >> copies >> [lists, deletes]

with DAG("aws_s3_fails"):
    S3CopyObjectOperator(task_id="fails", source_bucket_key="s3://operators/no", dest_bucket_key="s3://operators/copy")
    S3KeySensor(
        task_id="fails_deferred", bucket_key="s3://operators/never", poke_interval=1, timeout=3, deferrable=True
    )
