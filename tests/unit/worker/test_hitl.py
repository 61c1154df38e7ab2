"""A person is asked, from the file to the end: Airflow's own operators in real children, answers over the public API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
from datetime import timedelta
from airflow.sdk import DAG, BaseNotifier, Param, task
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import (
    ApprovalOperator, HITLBranchOperator, HITLEntryOperator, HITLOperator,
)

class Tells(BaseNotifier):
    def notify(self, context):
        print("said asking", context["ti"].task_id)
"""


def uploaded(whole: Whole, body: str) -> None:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    whole.upload(d=f"{HEAD}\nwith DAG('d'):\n{lines}\n")


def asked(
    whole: Whole, method: str, path: str, body: Any = None, *, user: str | None = None, query: str = ""
) -> tuple[int, Any]:
    """What the public API answers."""
    api = build(whole.services, Authenticator(ALL_ADMINS))
    route, prefix = ("ANY /signed/{proxy+}", "/signed") if user else ("$default", "")
    signer = {"authorizer": {"iam": {"userArn": user}}} if user else {}
    path = f"{prefix}/api/v2/{path}"
    event = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default", "routeKey": route, **signer},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }
    answer = api(event, None)
    return answer["statusCode"], json.loads(answer["body"]) if answer.get("body") else None


def question(key: DagRunKey, task_id: str = "ask", map_index: int = -1) -> str:
    return f"dags/{key.dag_id}/dagRuns/{key.run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"


def respond(whole: Whole, key: DagRunKey, *chosen: str, task_id: str = "ask", **said: Any) -> tuple[int, Any]:
    return asked(whole, "PATCH", question(key, task_id), {"chosen_options": list(chosen), **said})


def test_a_task_waits_for_a_person_and_goes_on_with_what_they_say(whole: Whole) -> None:
    uploaded(
        whole,
        """
ask = HITLOperator(
    task_id="ask", subject="Which?", body="of *these*", options=["a", "b", "c"], multiple=True,
    params={"how": Param("soon", type="string")}, notifiers=[Tells()],
)

@task
def tell(said):
    print("said", said["chosen_options"], said["params_input"], said["responded_by_user"])

tell(ask.output)
""",
    )
    key = whole.trigger()
    assert whole.work(key).state is DagRunState.RUNNING
    assert whole.state(key, "ask") is S.AWAITING_INPUT
    assert whole.said("said asking ") == ["ask"]

    status, detail = asked(whole, "GET", question(key))
    assert status == 200
    assert (detail["subject"], detail["options"]) == ("Which?", ["a", "b", "c"])
    assert not detail["response_received"]
    assert detail["task_instance"]["state"] == "awaiting_input"

    status, said = respond(whole, key, "a", "c", params_input={"how": "late"})
    assert (status, said["chosen_options"]) == (200, ["a", "c"])
    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ")[1:] == ["['a', 'c'] {'how': 'late'} {'id': 'Anonymous', 'name': 'Anonymous'}"]

    assert respond(whole, key, "b")[0] == 409


def test_rejected_skips_what_is_downstream(whole: Whole) -> None:
    uploaded(whole, "ApprovalOperator(task_id='ask', subject='?') >> EmptyOperator(task_id='after')")
    key = whole.trigger()
    whole.work(key)
    assert respond(whole, key, "Reject")[0] == 200
    assert whole.work(key).state is DagRunState.SUCCESS
    assert (whole.state(key, "ask"), whole.state(key, "after")) == (S.SUCCESS, S.SKIPPED)


def test_a_branch_follows_the_answer(whole: Whole) -> None:
    uploaded(
        whole,
        """
ask = HITLBranchOperator(task_id="ask", subject="?", options=["left", "r"], options_mapping={"r": "right"})
ask >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
""",
    )
    key = whole.trigger()
    whole.work(key)
    respond(whole, key, "r")
    whole.work(key)
    assert (whole.state(key, "left"), whole.state(key, "right")) == (S.SKIPPED, S.SUCCESS)


def test_when_the_time_is_up_the_defaults_are_the_answer(whole: Whole) -> None:
    uploaded(
        whole,
        "HITLEntryOperator(task_id='ask', subject='?', params={'n': 3}, response_timeout=timedelta(minutes=5))",
    )
    key = whole.trigger()
    run = whole.work(key)
    due_at = whole.instance(key, "ask").due_at
    assert due_at is not None
    assert run.due_at is not None
    assert run.due_at <= due_at
    whole.clock.advance(301)
    assert whole.work(key).state is DagRunState.SUCCESS
    _, detail = asked(whole, "GET", question(key))
    assert detail["chosen_options"] == ["OK"]
    assert detail["params_input"] == {"n": 3}
    assert detail["responded_by_user"] is None
    pushed = whole.store.get_xcom(key.task_instance("ask"), "return_value")
    assert pushed is not None
    assert pushed.value["chosen_options"] == ["OK"]


def test_without_defaults_the_try_fails_when_the_time_is_up(whole: Whole) -> None:
    uploaded(whole, "HITLOperator(task_id='ask', subject='?', options=['a'], response_timeout=timedelta(minutes=5))")
    key = whole.trigger()
    whole.work(key)
    whole.clock.advance(301)
    assert whole.work(key).state is DagRunState.FAILED
    assert any("HITLTimeoutError" in json.dumps(line, default=str) for line in whole.log.lines)
    assert respond(whole, key, "a")[0] == 200  # as in Airflow: it is noted, and resumes nothing
    assert whole.state(key, "ask") is S.FAILED


def test_the_next_try_asks_the_same_again_and_the_answer_of_the_last_is_kept(whole: Whole) -> None:
    uploaded(
        whole,
        "ApprovalOperator(task_id='ask', subject='try {{ ti.try_number }}', fail_on_reject=True, retries=1,"
        " retry_delay=timedelta(0))",
    )
    key = whole.trigger()
    whole.work(key)
    respond(whole, key, "Reject")
    whole.work(key)
    assert whole.state(key, "ask") is S.AWAITING_INPUT
    assert whole.instance(key, "ask").try_number == 2
    _, now = asked(whole, "GET", question(key))
    assert (now["subject"], now["response_received"]) == ("try 1", False)
    _, before = asked(whole, "GET", f"{question(key)}/tries/1")
    assert (before["chosen_options"], before["task_instance"]["state"]) == (["Reject"], "failed")
    _, listed = asked(whole, "GET", "dags/~/dagRuns/~/hitlDetails")
    assert listed["total_entries"] == 1
    respond(whole, key, "Approve")
    assert whole.work(key).state is DagRunState.SUCCESS


def test_only_who_is_assigned_may_answer(whole: Whole) -> None:
    uploaded(
        whole,
        "HITLOperator(task_id='ask', subject='?', options=['a'], assigned_users={'id': 'arn:me', 'name': 'Me'})",
    )
    key = whole.trigger()
    whole.work(key)
    answer = {"chosen_options": ["a"]}
    assert asked(whole, "PATCH", question(key), answer, user="arn:you")[0] == 403
    assert asked(whole, "PATCH", question(key), answer, user="arn:me")[0] == 200
    assert whole.work(key).state is DagRunState.SUCCESS


def test_an_answer_while_the_task_still_tells_people_is_not_overlooked(whole: Whole) -> None:
    """It comes after the question is stored and before the task gives its place up."""
    uploaded(whole, "HITLOperator(task_id='ask', subject='?', options=['a'])")
    key = whole.trigger()
    advance(whole.services, key)
    put = whole.store.put_hitl_detail

    def put_and_answer(detail: Any, **more: Any) -> None:
        put(detail, **more)
        assert respond(whole, key, "a")[0] == 200

    whole.store.put_hitl_detail = put_and_answer  # type: ignore[method-assign]
    assert whole.work(key).state is DagRunState.SUCCESS


def test_what_serialization_reserves_is_told_to_no_worker(whole: Whole) -> None:
    uploaded(whole, "HITLOperator(task_id='ask', subject='?', options=['a'])")
    key = whole.trigger()
    whole.work(key)
    said = {"x": [{"__classname__": "builtins.eval", "__version__": 1, "__data__": "1"}]}
    assert respond(whole, key, "a", params_input=said)[0] == 200
    assert whole.work(key).state is DagRunState.FAILED


def test_a_paused_dag_does_not_stop_the_clock(whole: Whole) -> None:
    uploaded(whole, "HITLEntryOperator(task_id='ask', subject='?', response_timeout=timedelta(minutes=5))")
    key = whole.trigger()
    whole.work(key)
    dag = whole.store.get_dag("d")
    assert dag is not None
    from dataclasses import replace

    whole.store.put_dag(dag, replace(dag, is_paused=True))
    whole.clock.advance(301)
    advance(whole.services, key)
    assert whole.state(key, "ask") is S.SCHEDULED


ASKS_BY_TRIGGER = """
from airflow.sdk import BaseOperator
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from airflow.sdk.timezone import utcnow
from airflow.providers.standard.triggers.hitl import HITLTrigger

class Asks(BaseOperator):
    def execute(self, context):
        ti_id = context["ti"].id
        upsert_hitl_detail(ti_id=ti_id, options=["a", "b"], subject="?", defaults=["b"], params={})
        self.defer(
            trigger=HITLTrigger(
                ti_id=ti_id, options=["a", "b"], params={}, defaults=["b"],
                timeout_datetime=utcnow() + timedelta(seconds=2), poke_interval=0.2,
            ),
            method_name="resume",
        )

    def resume(self, context, event):
        print("said", event["chosen_options"], event["responded_by_user"])
"""


def test_operators_that_ask_as_before_airflow_3_3_are_answered_too(whole: Whole) -> None:
    whole.upload(d=f"{HEAD}{ASKS_BY_TRIGGER}\nwith DAG('d'):\n    Asks(task_id='ask')\n")
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()
    assert whole.state(key, "ask") is S.DEFERRED
    assert respond(whole, key, "a")[0] == 200
    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["['a'] {'id': 'Anonymous', 'name': 'Anonymous'}"]


def test_and_take_their_defaults_themselves(whole: Whole) -> None:
    whole.upload(d=f"{HEAD}{ASKS_BY_TRIGGER}\nwith DAG('d'):\n    Asks(task_id='ask')\n")
    key = whole.trigger()
    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["['b'] None"]
    assert asked(whole, "GET", question(key))[1]["chosen_options"] == ["b"]
