"""DAGs that start other DAGs, and what they make of how those end."""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, task
from outcomes import FAILED, SUCCESS, ending


def triggered(task_id, dag_id, **kwargs):
    return TriggerDagRunOperator(
        task_id=task_id, trigger_dag_id=dag_id, trigger_run_id=kwargs.pop("run_id", f"by_{task_id}"), **kwargs
    )


with DAG("target", schedule=None, tags=["watched"]):

    @task
    def shows_conf(params=None, dag_run=None, **context):
        return {
            "conf": dag_run.conf,
            "run_type": dag_run.run_type,
            "logical_date": str(context.get("logical_date")),
            "interval": [str(dag_run.data_interval_start), str(dag_run.data_interval_end)],
        }

    shows_conf()


with DAG("failing_target", schedule=None, tags=["watched"]):
    ending("fails", FAILED)


with DAG("slow_target", schedule=None, tags=["watched"]):
    ending("sleeps", SUCCESS, after=3)


with DAG("strict_target", schedule=None, tags=["watched"], params={"number": Param(1, type="integer", minimum=1)}):

    @task
    def number(params=None):
        return params["number"]

    number()


with DAG("triggers", schedule=None):
    triggered("plain", "target")
    triggered("with_conf", "target", conf={"run": "{{ run_id }}", "list": ["{{ ds }}", 1]})
    triggered("with_date", "target", logical_date="2026-02-03T04:05:06+00:00")
    triggered("with_templated_date", "target", logical_date="{{ logical_date.add(days=1) }}")
    triggered("without_date", "target", logical_date=None)
    triggered("with_note", "target", note="made by {{ dag.dag_id }}")
    # The id is the run's that has just been made.
    once = triggered("once", "target", run_id="twice")
    once >> triggered("again", "target", run_id="twice")
    once >> triggered("again_but_skips", "target", run_id="twice", skip_when_already_exists=True)
    triggered("unknown", "there_is_no_such_dag")
    triggered("good_params", "strict_target", conf={"number": 5})
    triggered("bad_params", "strict_target", conf={"number": "many"})


with DAG("triggers_and_waits", schedule=None):
    for deferrable in (True, False):
        how = {"wait_for_completion": True, "poke_interval": 8, "deferrable": deferrable}
        name = "deferred" if deferrable else "in_place"
        triggered(f"{name}_well", "slow_target", **how)
        triggered(f"{name}_badly", "failing_target", **how)
        triggered(f"{name}_whatever", "failing_target", allowed_states=["success", "failed"], failed_states=[], **how)


with DAG("triggers_and_resets", schedule=None):
    # The run that is there already is cleared, and runs again.
    how = {"run_id": "reset", "wait_for_completion": True, "poke_interval": 8}
    made = triggered("makes", "slow_target", **how)
    made >> triggered("makes_again", "slow_target", reset_dag_run=True, **how)
    triggered("makes_anew", "slow_target", run_id="anew", reset_dag_run=True)


with DAG("triggers_mapped", schedule=None):
    TriggerDagRunOperator.partial(task_id="each", trigger_dag_id="target").expand_kwargs(
        [{"trigger_run_id": f"mapped_{number}", "conf": {"number": number}} for number in (1, 2)]
    )
