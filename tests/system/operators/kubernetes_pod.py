"""Needs apache-airflow-providers-cncf-kubernetes. Pods of the cluster that the connection `stand_in` leads to."""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG

pod = {"namespace": "default", "image": "etl:1", "startup_check_interval_seconds": 1, "poll_interval": 1}
here = {"kubernetes_conn_id": "stand_in", **pod}

with DAG("aws_kubernetes_pod"):
    KubernetesPodOperator(task_id="runs", name="etl", **here)
    KubernetesPodOperator(task_id="runs_deferred", name="etl-deferred", deferrable=True, **here)

with DAG("aws_kubernetes_pod_fails"):
    KubernetesPodOperator(task_id="fails", name="fails", **here)

with DAG("aws_kubernetes_pod_killed"):
    KubernetesPodOperator(task_id="lasts", name="lasts-blocking", **here)
    KubernetesPodOperator(task_id="waits", name="lasts-deferred", deferrable=True, **here | {"poll_interval": 60})
