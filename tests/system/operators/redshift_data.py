from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.sdk import DAG

where = {"database": "dev", "workgroup_name": "main", "poll_interval": 1, "aws_conn_id": "scripted"}

with DAG("aws_redshift_data"):
    RedshiftDataOperator(task_id="runs", sql="SELECT 42", return_sql_result=True, **where)
    RedshiftDataOperator(task_id="runs_deferred", sql="INSERT INTO sales VALUES (1)", deferrable=True, **where)
    begins = RedshiftDataOperator(
        task_id="begins_session",
        sql=["CREATE TEMP TABLE t AS SELECT 42", "SELECT 42"],
        session_keep_alive_seconds=60,
        **where,
    )
    begins >> RedshiftDataOperator(
        task_id="goes_on",
        sql="SELECT * FROM t",
        session_id="{{ ti.xcom_pull(task_ids='begins_session', key='session_id') }}",
        return_sql_result=True,
        database="dev",
        poll_interval=1,
        aws_conn_id="scripted",
    )

with DAG("aws_redshift_data_fails"):
    RedshiftDataOperator(task_id="fails", sql="SELECT * FROM fails", **where)
    RedshiftDataOperator(task_id="fails_deferred", sql="SELECT * FROM fails_deferred", deferrable=True, **where)

with DAG("aws_redshift_data_killed"):
    RedshiftDataOperator(task_id="lasts", sql="SELECT * FROM lasts_blocking", **where)
    RedshiftDataOperator(task_id="waits", sql="SELECT * FROM lasts_deferred", deferrable=True, **where)
