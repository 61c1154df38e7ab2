"""Actions of people and operators on runs, on a running stack: workers, streams and queues included."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.drive import ApiError
from tests.system.local_gust import LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ENDLESS = """
    import time
    from datetime import datetime
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def endless():
        @task
        def sleeps_at_first():
            number = get_current_context()["ti"].try_number
            if number == 1:
                print("asleep", flush=True)
                time.sleep(600)
            return number

        @task
        def follows(number):
            return number

        follows(sleeps_at_first())

    endless()
"""

FAILS_ONCE = """
    from datetime import datetime
    from airflow.sdk import dag, task, get_current_context

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def fails_once():
        @task.branch
        def choose():
            return "taken"

        @task
        def taken():
            if get_current_context()["ti"].try_number == 1:
                raise RuntimeError("once")

        @task
        def left():
            return 1

        @task
        def behind():
            return 1

        choose() >> [(first := taken()), left()]
        first >> behind()

    fails_once()
"""


JOBS = """
    import asyncio
    from pathlib import Path
    from airflow.triggers.base import BaseTrigger

    class WaitsForJob(BaseTrigger):
        def __init__(self, folder):
            super().__init__()
            self.folder = folder

        def serialize(self):
            return "jobs_of_elsewhere.WaitsForJob", {"folder": self.folder}

        async def run(self):
            while not await asyncio.to_thread(Path(self.folder, "done").exists):
                await asyncio.sleep(300)
            yield

        async def on_kill(self):
            Path(self.folder, "cancelled").touch()
"""

RUNS_A_JOB = """
    import time
    from pathlib import Path
    from airflow.sdk import DAG, BaseOperator
    from jobs_of_elsewhere import WaitsForJob

    class RunsJob(BaseOperator):
        template_fields = ("folder", "deferrable")

        def __init__(self, *, folder, deferrable, **kwargs):
            super().__init__(**kwargs)
            self.folder, self.deferrable = folder, deferrable

        def execute(self, context):
            Path(self.folder, "started").touch()
            if self.deferrable == "True":
                self.defer(trigger=WaitsForJob(self.folder), method_name="execute")
            time.sleep(600)

        def on_kill(self):
            Path(self.folder, "cancelled").touch()

    with DAG("runs_a_job", params={"folder": "", "deferrable": False}):
        RunsJob(task_id="job", folder="{{ params.folder }}", deferrable="{{ params.deferrable }}")
"""

CANCELLED_WITHIN = 10
"""Seconds from the answer to an API user's request to the end of what the task runs elsewhere."""


def action(gust: LocalGust, method: str, path: str, body: Any) -> Any:
    return gust.api.call(method, f"/api/v2/dags/{path}", body=body)


def clear(gust: LocalGust, dag_id: str, run_id: str, **asked: Any) -> Any:
    body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, **asked}
    return action(gust, "POST", f"{dag_id}/clearTaskInstances", body)


def instance(gust: LocalGust, dag_id: str, run_id: str, task: str) -> dict[str, Any]:
    found: dict[str, Any] = gust.api.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task}")
    return found


def test_a_cleared_running_task_is_killed_and_runs_again(gust: LocalGust) -> None:
    gust.upload("endless.py", ENDLESS)
    gust.await_dag("endless")
    run_id = gust.trigger("endless")
    gust.await_state("endless", run_id, "running", task="sleeps_at_first")
    cleared = clear(gust, "endless", run_id, task_ids=["sleeps_at_first"])
    assert [i["state"] for i in cleared["task_instances"]] == ["restarting"]

    gust.await_state("endless", run_id, "success", within=90)
    assert instance(gust, "endless", run_id, "sleeps_at_first")["try_number"] == 2
    tries = gust.api.call("GET", f"/api/v2/dags/endless/dagRuns/{run_id}/taskInstances/sleeps_at_first/tries")
    assert [(t["try_number"], t["state"]) for t in tries["task_instances"]] == [(1, "failed"), (2, "success")]
    gust.await_log("endless", run_id, "sleeps_at_first", "shouldn't be running")


def test_a_running_task_that_is_marked_is_killed_and_the_run_goes_on(gust: LocalGust) -> None:
    gust.upload("endless.py", ENDLESS)
    gust.await_dag("endless")
    run_id = gust.trigger("endless")
    gust.await_state("endless", run_id, "running", task="sleeps_at_first")
    action(gust, "PATCH", f"endless/dagRuns/{run_id}", {"state": "failed"})
    gust.await_state("endless", run_id, "failed")
    assert instance(gust, "endless", run_id, "follows")["state"] == "skipped"


@pytest.mark.parametrize("deferrable", [False, True], ids=["running", "deferred"])
@pytest.mark.parametrize("by", ["mark", "clear"])
def test_a_task_that_is_taken_away_cancels_its_job_within_seconds(
    gust: LocalGust, tmp_path: Path, *, deferrable: bool, by: str
) -> None:
    """What runs elsewhere ends: `on_kill` of the operator, or of the trigger where the task waits for it."""
    gust.upload("jobs_of_elsewhere.py", JOBS)
    gust.upload("runs_a_job.py", RUNS_A_JOB)
    gust.await_dag("runs_a_job")
    took: list[float] = []
    for number in range(3):  # the quickest of them: other programs of this machine may delay any one
        folder = tmp_path / str(number)
        folder.mkdir()
        run_id = gust.trigger("runs_a_job", conf={"folder": str(folder), "deferrable": deferrable})
        gust.await_state("runs_a_job", run_id, "deferred" if deferrable else "running", task="job")
        gust._await(lambda: (folder / "started").exists() or None, 60, lambda: "the job has not started")  # noqa: B023
        if by == "mark":
            action(gust, "PATCH", f"runs_a_job/dagRuns/{run_id}/taskInstances/job", {"new_state": "failed"})
        else:
            clear(gust, "runs_a_job", run_id, task_ids=["job"])
        began = time.monotonic()
        gust._await(lambda: (folder / "cancelled").exists() or None, 60, lambda: "the job is not cancelled")  # noqa: B023
        took.append(time.monotonic() - began)
        action(gust, "PATCH", f"runs_a_job/dagRuns/{run_id}", {"state": "failed"})
        if took[-1] <= CANCELLED_WITHIN:
            break
    assert min(took) <= CANCELLED_WITHIN, took


def test_what_failed_runs_again_and_what_a_branch_skipped_stays_skipped(gust: LocalGust) -> None:
    gust.upload("fails_once.py", FAILS_ONCE)
    gust.await_dag("fails_once")
    run_id = gust.trigger("fails_once")
    gust.await_state("fails_once", run_id, "failed")
    clear(gust, "fails_once", run_id, only_failed=True)
    gust.await_state("fails_once", run_id, "success")
    assert [instance(gust, "fails_once", run_id, t)["try_number"] for t in ("choose", "taken", "behind")] == [1, 2, 1]
    assert instance(gust, "fails_once", run_id, "left")["state"] == "skipped"

    action(gust, "POST", f"fails_once/dagRuns/{run_id}/clear", {"dry_run": False})
    gust.await_state("fails_once", run_id, "success")
    assert instance(gust, "fails_once", run_id, "choose")["try_number"] == 2
    gust.api.call("DELETE", f"/api/v2/dags/fails_once/dagRuns/{run_id}")
    with pytest.raises(ApiError, match="404"):
        gust.api.call("GET", f"/api/v2/dags/fails_once/dagRuns/{run_id}")


TRIGGERS = """
    from datetime import datetime
    from airflow.sdk import dag, task, get_current_context, Param
    from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

    @dag(schedule=None, start_date=datetime(2026, 1, 1), params={"word": Param("none", type="string")})
    def triggered():
        @task
        def says():
            context = get_current_context()
            if context["params"]["word"] == "fail":
                raise RuntimeError("asked to")
            return context["params"]["word"]

        says()

    @dag(schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=True)
    def paused_one():
        @task
        def never():
            pass

        never()

    @dag(schedule=None, start_date=datetime(2026, 1, 1))
    def triggers():
        def trigger(task_id, run_id, word="hello", dag_id="triggered", **options):
            return TriggerDagRunOperator(
                task_id=task_id,
                trigger_dag_id=dag_id,
                trigger_run_id=run_id,
                conf={"word": word + " from {{ run_id }}"} if word != "fail" else {"word": word},
                poke_interval=1,
                **options,
            )

        waits = trigger("waits", "a", wait_for_completion=True, note="by {{ dag.dag_id }}")
        defers = trigger("defers", "b", wait_for_completion=True, deferrable=True)
        skips = trigger("skips", "a", skip_when_already_exists=True)
        fails = trigger("fails", "a")
        resets = trigger("resets", "a", reset_dag_run=True, wait_for_completion=True)
        sees_failure = trigger("sees_failure", "c", word="fail", wait_for_completion=True)
        is_paused = trigger("is_paused", "d", dag_id="paused_one", fail_when_dag_is_paused=True)
        bad_conf = TriggerDagRunOperator(task_id="bad_conf", trigger_dag_id="triggered", conf={"word": 7})
        waits >> [skips, fails]
        [skips, fails] >> resets
        resets.trigger_rule = "all_done"

    triggered()
    paused_one()
    triggers()
"""


def test_runs_that_operators_trigger(gust: LocalGust) -> None:
    gust.upload("triggers.py", TRIGGERS)
    for dag_id in ("triggered", "triggers", "paused_one"):
        gust.await_dag(dag_id)
    run_id = gust.trigger("triggers", run_id="boss")
    gust.await_state("triggers", run_id, "failed", within=240)
    states = {
        i["task_id"]: i["state"]
        for i in gust.api.call("GET", f"/api/v2/dags/triggers/dagRuns/{run_id}/taskInstances")["task_instances"]
    }
    assert states == {
        **dict.fromkeys(("waits", "defers", "resets"), "success"),
        "skips": "skipped",
        **dict.fromkeys(("fails", "sees_failure", "is_paused", "bad_conf"), "failed"),
    }
    run = gust.api.call("GET", "/api/v2/dags/triggered/dagRuns/a")
    # Airflow renders the conf, and not the note.
    assert (run["conf"], run["note"]) == ({"word": "hello from boss"}, "by {{ dag.dag_id }}")
    assert (run["run_type"], run["triggered_by"]) == ("operator_triggered", "operator")
    assert instance(gust, "triggered", "a", "says")["try_number"] == 2
    assert "7 is not of type 'string'" in json.dumps(gust.log_lines("triggers", run_id, "bad_conf"))


SENSORS = """
    from datetime import datetime, timedelta
    from airflow.sdk import dag, task, task_group
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
    from airflow.providers.standard.sensors.python import PythonSensor

    DATE = datetime(2026, 1, 1)

    @dag(schedule=None, start_date=DATE)
    def watched():
        @task
        def good():
            return 1

        @task
        def bad():
            raise RuntimeError("bad")

        @task_group
        def group():
            @task
            def inside():
                return 1

            inside()

        good()
        bad()
        group()

    @dag(schedule=None, start_date=DATE)
    def watches():
        def sensor(task_id, **options):
            return ExternalTaskSensor(
                task_id=task_id, external_dag_id="watched", poke_interval=1, **{"timeout": 300, **options}
            )

        sensor("pokes", external_task_id="good")
        sensor("reschedules", external_task_id="good", mode="reschedule")
        sensor("defers", external_task_id="good", deferrable=True)
        sensor("several", external_task_ids=["good", "bad"], allowed_states=["success", "failed"])
        sensor("a_group", external_task_group_id="group", mode="reschedule")
        sensor("the_run", allowed_states=["failed"], mode="reschedule")
        sensor("fails", external_task_id="bad", failed_states=["failed"], mode="reschedule")
        sensor("fails_deferred", external_task_id="bad", failed_states=["failed"], deferrable=True)
        sensor("skips", external_task_id="bad", skipped_states=["failed"], mode="reschedule")
        PythonSensor(
            task_id="times_out", python_callable=lambda: False, mode="reschedule", poke_interval=1, timeout=3, retries=2
        )
        PythonSensor(
            task_id="gives_in", python_callable=lambda: False, mode="reschedule", poke_interval=1, timeout=3,
            soft_fail=True,
        )

    watched()
    watches()
"""


def test_sensors_of_other_dags_and_timeouts_across_reschedules(gust: LocalGust) -> None:
    gust.upload("sensors.py", SENSORS)
    for dag_id in ("watched", "watches"):
        gust.await_dag(dag_id)
    date = {"logical_date": "2026-01-05T00:00:00Z"}
    watches = action(gust, "POST", "watches/dagRuns", date)["dag_run_id"]
    gust.await_state("watches", watches, "running")
    watched = action(gust, "POST", "watched/dagRuns", date)["dag_run_id"]
    gust.await_state("watched", watched, "failed", within=180)
    gust.await_state("watches", watches, "failed", within=240)
    found = gust.api.call("GET", f"/api/v2/dags/watches/dagRuns/{watches}/taskInstances")["task_instances"]
    assert {i["task_id"]: i["state"] for i in found} == {
        **dict.fromkeys(("pokes", "reschedules", "defers", "several", "a_group", "the_run"), "success"),
        **dict.fromkeys(("fails", "fails_deferred", "times_out"), "failed"),
        **dict.fromkeys(("skips", "gives_in"), "skipped"),
    }
    # Its timeout counts from the first look, and is not tried again.
    timed_out = next(i for i in found if i["task_id"] == "times_out")
    assert timed_out["try_number"] == 1
    assert "Sensor has timed out" in json.dumps(gust.log_lines("watches", watches, "times_out"))


PARAMS = """
    from datetime import datetime
    from airflow.sdk import dag, task, Param

    @dag(schedule=None, start_date=datetime(2026, 1, 1), params={
        "count": Param(3, type="integer", minimum=1), "name": Param(type="string"), "free": "anything",
    })
    def choosy():
        @task
        def shows(params=None):
            return dict(params)

        shows()

    choosy()
"""


def test_a_conf_that_the_params_do_not_allow_is_refused_with_the_reason(gust: LocalGust) -> None:
    gust.upload("choosy.py", PARAMS)
    gust.await_dag("choosy")
    for conf, reason in (
        ({"name": "x", "count": 0}, "0 is less than the minimum of 1"),
        ({"name": "x", "count": "many"}, "is not of type 'integer'"),
        ({}, "No value passed"),
    ):
        with pytest.raises(ApiError, match=reason) as refused:
            gust.trigger("choosy", conf=conf)
        assert "400" in str(refused.value)
    run_id = gust.trigger("choosy", conf={"name": "x"})
    gust.await_state("choosy", run_id, "success")
    path = f"/api/v2/dags/choosy/dagRuns/{run_id}/taskInstances/shows/xcomEntries/return_value"
    assert gust.api.call("GET", path + "?deserialize=true")["value"] is not None
