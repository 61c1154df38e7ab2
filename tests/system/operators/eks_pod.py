"""Needs apache-airflow-providers-cncf-kubernetes. Pods of the cluster `stand-in`: EKS tells where its API server is, and
the operator signs in with a token that it makes of the connection's access key."""

from airflow.providers.amazon.aws.operators.eks import EksPodOperator
from airflow.sdk import DAG

here = {
    "cluster_name": "stand-in",
    "region": "us-east-1",
    "aws_conn_id": "scripted",
    "image": "etl:1",
    "startup_check_interval_seconds": 1,
    "poll_interval": 1,
}

with DAG("aws_eks_pod"):
    EksPodOperator(task_id="runs", pod_name="eks", **here)
    EksPodOperator(task_id="runs_deferred", pod_name="eks-deferred", deferrable=True, **here)

with DAG("aws_eks_pod_fails"):
    EksPodOperator(task_id="fails", pod_name="eks-fails", **here)

with DAG("aws_eks_pod_killed"):
    EksPodOperator(task_id="lasts", pod_name="eks-lasts-blocking", **here)
