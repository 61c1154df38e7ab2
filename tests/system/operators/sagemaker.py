from airflow.providers.amazon.aws.operators.sagemaker import SageMakerModelOperator, SageMakerTrainingOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTrainingSensor
from airflow.sdk import DAG

ROLE = "arn:aws:iam::000000000000:role/sagemaker"


def training(name):
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "train:1", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://models/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }


quick = {"check_interval": 1, "print_log": False}

with DAG("aws_sagemaker"):
    trains = SageMakerTrainingOperator(task_id="trains", config=training("demand"), aws_conn_id="moto", **quick)
    sees = SageMakerTrainingSensor(task_id="sees", job_name="demand", print_log=False, aws_conn_id="moto")
    model = SageMakerModelOperator(
        task_id="makes_model",
        config={"ModelName": "demand", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "serve:1"}},
        aws_conn_id="moto",
    )
    trains >> sees >> model
    SageMakerTrainingOperator(
        task_id="trains_deferred", config=training("deferred"), aws_conn_id="scripted", deferrable=True, **quick
    )

with DAG("aws_sagemaker_fails"):
    SageMakerTrainingOperator(task_id="fails", config=training("fails"), aws_conn_id="scripted", **quick)
    SageMakerTrainingOperator(
        task_id="fails_deferred",
        config=training("fails-deferred"),
        aws_conn_id="scripted",
        deferrable=True,
        **quick,
    )
