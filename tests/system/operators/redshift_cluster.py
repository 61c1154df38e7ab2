from airflow.providers.amazon.aws.operators.redshift_cluster import (
    RedshiftCreateClusterOperator,
    RedshiftCreateClusterSnapshotOperator,
    RedshiftDeleteClusterOperator,
    RedshiftDeleteClusterSnapshotOperator,
    RedshiftPauseClusterOperator,
    RedshiftResumeClusterOperator,
)
from airflow.providers.amazon.aws.sensors.redshift_cluster import RedshiftClusterSensor
from airflow.sdk import DAG

with DAG("aws_redshift_cluster", default_args={"aws_conn_id": "moto"}):
    creates = RedshiftCreateClusterOperator(
        task_id="creates",
        cluster_identifier="sales",
        cluster_type="single-node",
        node_type="ra3.large",
        master_username="admin",
        master_user_password="Secret123",
        wait_for_completion=True,
        poll_interval=1,
    )
    sees = RedshiftClusterSensor(task_id="sees", cluster_identifier="sales", poke_interval=1)
    snapshots = RedshiftCreateClusterSnapshotOperator(
        task_id="snapshots",
        snapshot_identifier="nightly",
        cluster_identifier="sales",
        wait_for_completion=True,
        poll_interval=1,
    )
    deletes_snapshot = RedshiftDeleteClusterSnapshotOperator(
        task_id="deletes_snapshot",
        snapshot_identifier="nightly",
        cluster_identifier="sales",
        poll_interval=1,
    )
    pauses = RedshiftPauseClusterOperator(task_id="pauses", cluster_identifier="sales", poll_interval=1)
    resumes = RedshiftResumeClusterOperator(
        task_id="resumes", cluster_identifier="sales", wait_for_completion=True, poll_interval=1
    )
    deletes = RedshiftDeleteClusterOperator(task_id="deletes", cluster_identifier="sales", poll_interval=1)
    creates >> sees >> snapshots >> deletes_snapshot >> pauses >> resumes >> deletes

with DAG("aws_redshift_cluster_fails", default_args={"aws_conn_id": "moto"}):
    RedshiftDeleteClusterOperator(task_id="fails", cluster_identifier="nowhere", poll_interval=1)
    RedshiftClusterSensor(
        task_id="fails_deferred", cluster_identifier="nowhere", poke_interval=1, timeout=60, deferrable=True
    )
