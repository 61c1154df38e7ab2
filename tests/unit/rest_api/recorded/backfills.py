"""The DAGs that the recorded answers about backfills are about. Ours."""

from datetime import datetime

from airflow.sdk import DAG, CronDataIntervalTimetable, CronPartitionTimetable, Param, PartitionedAtRuntime, task
from airflow.utils.types import DagRunType

SCHEDULES = {
    "daily": {"schedule": "@daily", "params": {"n": Param(3, type="integer", minimum=1)}},
    "intervals": {"schedule": CronDataIntervalTimetable("0 2 * * *", timezone="Europe/Zurich")},
    "partitions": {"schedule": CronPartitionTimetable("0 */6 * * *", timezone="America/New_York", run_offset=-1)},
    "days": {"schedule": CronPartitionTimetable("0 0 * * *", timezone="Asia/Kolkata", key_format="%Y-%m-%d")},
    "past": {"schedule": "@daily", "default_args": {"depends_on_past": True}},
    "once": {"schedule": "@once"},
    "never": {"schedule": None},
    "runtime": {"schedule": PartitionedAtRuntime()},
    "refusing": {"schedule": "@daily", "allowed_run_types": [DagRunType.MANUAL, DagRunType.SCHEDULED]},
}

for dag_id, arguments in SCHEDULES.items():
    with DAG(dag_id, start_date=datetime(2026, 1, 1), **arguments):  # noqa: DTZ001 - as people write it

        @task
        def work():
            return 1

        work()
