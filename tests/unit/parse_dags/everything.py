"""One DAG with every field of a DagSpec set to something that is not its default."""

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetAlias, Param, TaskGroup, task


def notify(context): ...


with DAG(
    "everything",
    dag_display_name="Everything",
    description="All of it",
    doc_md="# Docs",
    schedule="30 6 * * 1-5",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    end_date=datetime(2027, 1, 1, tzinfo=UTC),
    catchup=True,
    is_paused_upon_creation=False,
    max_active_runs=3,
    access_control={"team-a": {"can_read", "can_edit"}, "Viewer": {"DAG Runs": {"can_create"}}},
    max_active_tasks=5,
    max_consecutive_failed_dag_runs=4,
    dagrun_timeout=timedelta(hours=2),
    render_template_as_native_obj=True,
    tags=["zebra", "ant"],
    owner_links={"data": "mailto:data@example.com"},
    params={"limit": Param(10, type="integer", minimum=1, description="How many")},
    default_args={"owner": "data", "retries": 2, "retry_delay": timedelta(minutes=1), "on_failure_callback": notify},
    on_failure_callback=notify,
):
    start = EmptyOperator(task_id="start", priority_weight=2)
    watched = EmptyOperator(task_id="watched", outlets=[Asset("out", "s3://bucket/out", extra={"k": 1})])
    work = BashOperator(
        task_id="work",
        bash_command="echo {{ params.limit }}",
        task_display_name="Work hard",
        owner="ops",
        trigger_rule="none_failed",
        retries=5,
        retry_delay=30,
        retry_exponential_backoff=True,
        max_retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(minutes=20),
        depends_on_past=True,
        wait_for_downstream=True,
        pool="heavy",
        pool_slots=2,
        queue="fargate",
        priority_weight=10,
        weight_rule="absolute",
        max_active_tis_per_dag=7,
        max_active_tis_per_dagrun=6,
        executor_config={"gust": {"compute": "fargate", "cpu": 1024}},
        on_execute_callback=notify,
        on_success_callback=notify,
        on_retry_callback=notify,
        on_skipped_callback=notify,
        inlets=[Asset("in", "s3://bucket/in")],
        outlets=[AssetAlias("alias")],
        doc_md="Works",
        params={"limit": 3},
    )
    with TaskGroup("outer", tooltip="Outer group") as outer:
        with TaskGroup("inner"):
            deep = EmptyOperator(task_id="deep")
        beside = EmptyOperator(task_id="beside")
        deep >> beside

    @task(multiple_outputs=True)
    def last():
        return {"a": 1}

    start >> work >> outer >> last()
    start >> watched
