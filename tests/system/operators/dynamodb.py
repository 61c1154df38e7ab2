from airflow.providers.amazon.aws.hooks.dynamodb import DynamoDBHook
from airflow.providers.amazon.aws.sensors.dynamodb import DynamoDBValueSensor
from airflow.providers.amazon.aws.transfers.dynamodb_to_s3 import DynamoDBToS3Operator
from airflow.sdk import DAG, task

wanted = {"table_name": "operators", "partition_key_name": "name", "attribute_name": "colour", "poke_interval": 1}

with DAG("aws_dynamodb"):

    @task
    def puts():
        hook = DynamoDBHook(table_name="operators", table_keys=["name"], region_name="us-east-1")
        hook.write_batch_data([{"name": "pear", "colour": "green"}, {"name": "plum", "colour": "blue"}])

    put = puts()
    waits = DynamoDBValueSensor(
        task_id="waits", partition_key_value="pear", attribute_value="green", region_name="us-east-1", **wanted
    )
    waits_deferred = DynamoDBValueSensor(
        task_id="waits_deferred",
        partition_key_value="plum",
        attribute_value=["blue", "red"],
        region_name="us-east-1",
        deferrable=True,
        **wanted,
    )
    exports = DynamoDBToS3Operator(
        task_id="exports",
        dynamodb_table_name="operators",
        s3_bucket_name="operators",
        s3_key_prefix="table/",
        file_size=10,
    )
    put >> [waits, waits_deferred, exports]

with DAG("aws_dynamodb_fails"):
    DynamoDBToS3Operator(task_id="fails", dynamodb_table_name="nowhere", s3_bucket_name="operators", file_size=10)
    DynamoDBValueSensor(
        task_id="fails_deferred",
        partition_key_value="fig",
        attribute_value="black",
        region_name="us-east-1",
        deferrable=True,
        timeout=3,
        **wanted,
    )
