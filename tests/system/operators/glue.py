"""Jobs `report` and `broken` run a script each; `long` runs on. Those of the connection `scripted` log two lines."""

from airflow.providers.amazon.aws.operators.glue import (
    GlueDataQualityOperator,
    GlueDataQualityRuleRecommendationRunOperator,
    GlueDataQualityRuleSetEvaluationRunOperator,
    GlueJobOperator,
)
from airflow.providers.amazon.aws.sensors.glue import GlueDataQualityRuleSetEvaluationRunSensor, GlueJobSensor
from airflow.sdk import DAG

quick = {"waiter_delay": 1, "job_poll_interval": 1}
shown = {"job_name": "shown", "verbose": True, "aws_conn_id": "scripted", **quick}
check = {
    "datasource": {"GlueTable": {"DatabaseName": "sales", "TableName": "orders"}},
    "role": "glue",
    "waiter_delay": 1,
    "aws_conn_id": "scripted",
}

with DAG("aws_glue", max_active_tasks=3):
    runs = GlueJobOperator(task_id="runs", job_name="report", **quick)
    GlueJobOperator(task_id="runs_deferred", job_name="report", deferrable=True, **quick)
    starts = GlueJobOperator(task_id="starts", job_name="report", wait_for_completion=False)
    GlueJobSensor(task_id="sees", job_name="report", run_id=starts.output, poke_interval=1)
    GlueJobSensor(task_id="sees_deferred", job_name="report", run_id=starts.output, poke_interval=1, deferrable=True)
    GlueJobOperator(task_id="shows_log", **shown)
    GlueJobOperator(task_id="shows_log_deferred", deferrable=True, **shown)
    rules = GlueDataQualityOperator(
        task_id="makes_rules", name="good", ruleset="Rules = [RowCount > 6]", aws_conn_id="scripted"
    )
    checks = GlueDataQualityRuleSetEvaluationRunOperator(task_id="checks", rule_set_names=["good"], **check)
    rules >> checks
    checks >> GlueDataQualityRuleSetEvaluationRunSensor(
        task_id="sees_check", evaluation_run_id=checks.output, poke_interval=1, aws_conn_id="scripted"
    )
    GlueDataQualityRuleSetEvaluationRunOperator(
        task_id="checks_deferred", rule_set_names=["good"], waiter_max_attempts=3600, deferrable=True, **check
    )
    GlueDataQualityRuleRecommendationRunOperator(
        task_id="recommends_deferred", waiter_max_attempts=3600, deferrable=True, **check
    )

with DAG("aws_glue_fails"):
    GlueJobOperator(task_id="fails", job_name="broken", **quick)
    GlueJobOperator(task_id="fails_deferred", job_name="broken", deferrable=True, **quick)
    GlueDataQualityRuleSetEvaluationRunOperator(task_id="finds_bad_data", rule_set_names=["bad"], **check)

with DAG("aws_glue_killed"):
    GlueJobOperator(task_id="lasts", job_name="long", stop_job_run_on_kill=True, **quick)
