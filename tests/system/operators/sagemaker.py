from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerStartPipelineOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
    SageMakerTuningOperator,
)
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


def processing(name):
    instances = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    return {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "ProcessingResources": {"ClusterConfig": instances},
        "AppSpecification": {"ImageUri": "process:1"},
    }


def transform(name):
    source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://operators/report.py"}}}
    job = {
        "TransformJobName": name,
        "ModelName": name,
        "TransformInput": source,
        "TransformOutput": {"S3OutputPath": "s3://models/out"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }
    model = {"ModelName": name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "serve:1"}}
    return {"Model": model, "Transform": job}


def tuning(name):
    limits = {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1}
    own = training(name)
    del own["TrainingJobName"]
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://operators/report.py"}}
    own["InputDataConfig"] = [{"ChannelName": "train", "DataSource": source}]
    own["StaticHyperParameters"] = {}
    own["AlgorithmSpecification"]["MetricDefinitions"] = []
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {"Strategy": "Random", "ResourceLimits": limits},
        "TrainingJobDefinition": own,
    }


def endpoint(name):
    model = {"ModelName": f"of-{name}", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "serve:1"}}
    variant = {
        "VariantName": "one",
        "ModelName": f"of-{name}",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    return {
        "Model": model,
        "EndpointConfig": {"EndpointConfigName": name, "ProductionVariants": [variant]},
        "Endpoint": {"EndpointName": name, "EndpointConfigName": name},
    }


quick = {"check_interval": 1, "print_log": False}
scripted = {"aws_conn_id": "scripted", "check_interval": 1}

with DAG("aws_sagemaker", max_active_tasks=3):
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
    SageMakerProcessingOperator(task_id="processes", config=processing("clean"), print_log=False, **scripted)
    SageMakerProcessingOperator(
        task_id="processes_deferred", config=processing("clean-deferred"), print_log=False, deferrable=True, **scripted
    )
    SageMakerTransformOperator(task_id="transforms_deferred", config=transform("score"), deferrable=True, **scripted)
    SageMakerTuningOperator(task_id="tunes_deferred", config=tuning("tune"), deferrable=True, **scripted)
    SageMakerEndpointOperator(task_id="serves_deferred", config=endpoint("serve"), deferrable=True, **scripted)
    SageMakerStartPipelineOperator(
        task_id="starts_pipeline", pipeline_name="nightly", wait_for_completion=True, **scripted
    )
    SageMakerStartPipelineOperator(
        task_id="starts_pipeline_deferred", pipeline_name="nightly-deferred", deferrable=True, **scripted
    )

with DAG("aws_sagemaker_fails"):
    SageMakerStartPipelineOperator(
        task_id="fails_pipeline_deferred", pipeline_name="fails", deferrable=True, **scripted
    )
    SageMakerTrainingOperator(task_id="fails", config=training("fails"), aws_conn_id="scripted", **quick)
    SageMakerTrainingOperator(
        task_id="fails_deferred",
        config=training("fails-deferred"),
        aws_conn_id="scripted",
        deferrable=True,
        **quick,
    )
