"""Needs apache-airflow-providers-cncf-kubernetes: the provider's module of EKS imports it."""

from airflow.providers.amazon.aws.operators.eks import EksCreateClusterOperator, EksDeleteClusterOperator
from airflow.providers.amazon.aws.sensors.eks import EksClusterStateSensor
from airflow.sdk import DAG

vpc = {"subnetIds": ["subnet-1", "subnet-2"]}
cluster = {
    "cluster_role_arn": "arn:aws:iam::000000000000:role/eks",
    "resources_vpc_config": vpc,
    "compute": None,
    "waiter_delay": 1,
    "waiter_max_attempts": 3600,
}
quick = {"waiter_delay": 1, "waiter_max_attempts": 3600}

with DAG("aws_eks", default_args={"aws_conn_id": "scripted"}):
    creates = EksCreateClusterOperator(task_id="creates", cluster_name="jobs", wait_for_completion=True, **cluster)
    sees = EksClusterStateSensor(task_id="sees", cluster_name="jobs", poke_interval=1)
    deletes = EksDeleteClusterOperator(task_id="deletes", cluster_name="jobs", wait_for_completion=True, **quick)
    creates >> sees >> deletes
    creates_deferred = EksCreateClusterOperator(
        task_id="creates_deferred", cluster_name="jobs-deferred", deferrable=True, **cluster
    )
    creates_deferred >> EksDeleteClusterOperator(
        task_id="deletes_deferred", cluster_name="jobs-deferred", deferrable=True, **quick
    )

with DAG("aws_eks_fails", default_args={"aws_conn_id": "scripted"}):
    EksCreateClusterOperator(task_id="fails", cluster_name="fails", wait_for_completion=True, **cluster)
    EksCreateClusterOperator(task_id="fails_deferred", cluster_name="fails-deferred", deferrable=True, **cluster)
