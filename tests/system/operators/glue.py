"""Jobs `report` and `broken` run a script each; `long` runs on."""

from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.sensors.glue import GlueJobSensor
from airflow.sdk import DAG

quick = {"waiter_delay": 1, "job_poll_interval": 1}

with DAG("aws_glue"):
    runs = GlueJobOperator(task_id="runs", job_name="report", **quick)
    GlueJobOperator(task_id="runs_deferred", job_name="report", deferrable=True, **quick)
    starts = GlueJobOperator(task_id="starts", job_name="report", wait_for_completion=False)
    GlueJobSensor(task_id="sees", job_name="report", run_id=starts.output, poke_interval=1)
    GlueJobSensor(task_id="sees_deferred", job_name="report", run_id=starts.output, poke_interval=1, deferrable=True)

with DAG("aws_glue_fails"):
    GlueJobOperator(task_id="fails", job_name="broken", **quick)
    GlueJobOperator(task_id="fails_deferred", job_name="broken", deferrable=True, **quick)

with DAG("aws_glue_killed"):
    GlueJobOperator(task_id="lasts", job_name="long", stop_job_run_on_kill=True, **quick)
