"""Callbacks of tasks: by the worker itself, and for tries that ended without one."""

import pytest

from gust.model.callback import CallbackState
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
import os, signal
from datetime import timedelta
from airflow.sdk import DAG, BaseNotifier, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

def say(what):
    def callback(context):
        ti = context["ti"]
        print("said", what, ti.task_id, ti.map_index, ti.try_number, context["dag_run"].run_id,
              type(context.get("exception")).__name__)
    return callback

class Tell(BaseNotifier):
    template_fields = ("text",)
    def __init__(self, text):
        super().__init__()
        self.text = text
    def notify(self, context):
        print("said", self.text)

ALL = {name: [say(name), Tell(name + " {{ ti.task_id }}")] for name in (
    "on_execute_callback", "on_success_callback", "on_failure_callback", "on_retry_callback", "on_skipped_callback")}
"""


def dag(body: str, *, arguments: str = "**ALL") -> str:
    lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
    return f"{HEAD}\nwith DAG('d'):\n    @task({arguments})\n    def t():\n{lines}\n    t()\n"


def lose(whole: Whole, key: DagRunKey, task_id: str = "t") -> None:
    """A worker takes the task and is never heard of again."""
    whole.queues.tasks.clear()
    started = transition.start(whole.instance(key, task_id), at=whole.clock.now(), hostname="gone", pid=1)
    whole.store.move(started)
    whole.clock.advance(61)


# --- in the worker ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "called", "error"),
    [
        ("return 1", "on_success_callback", "NoneType"),
        ("raise ValueError('on purpose')", "on_failure_callback", "ValueError"),
        ("raise AirflowFailException('for good')", "on_failure_callback", "AirflowFailException"),
        ("raise AirflowSkipException('not today')", "on_skipped_callback", "NoneType"),
    ],
)
def test_every_callback_of_a_list_is_called_and_notifiers_are_rendered(
    whole: Whole, body: str, called: str, error: str
) -> None:
    whole.upload(d=dag(body))
    key = whole.trigger()
    whole.work(key)

    assert whole.said("said ") == [
        "on_execute_callback t -1 1 r NoneType",
        "on_execute_callback t",
        f"{called} t -1 1 r {error}",
        f"{called} t",
    ]
    assert whole.callbacks(key) == {}


def test_a_retry_calls_back_at_each_try_and_a_failure_at_the_last(whole: Whole) -> None:
    whole.upload(
        d=dag("raise ValueError('on purpose')", arguments="retries=1, retry_delay=timedelta(seconds=9), **ALL")
    )
    key = whole.trigger()
    whole.work(key)
    whole.clock.advance(10)
    run = whole.work(key)

    assert run.state is DagRunState.FAILED
    assert [line.split()[0] for line in whole.said("said ")][::2] == [
        "on_execute_callback",
        "on_retry_callback",
        "on_execute_callback",
        "on_failure_callback",
    ]


def test_an_error_in_a_callback_harms_neither_the_others_nor_the_task(whole: Whole) -> None:
    whole.upload(d=dag("return 1", arguments="on_success_callback=[lambda c: 1 / 0, say('after')]"))
    key = whole.trigger()
    whole.work(key)

    assert whole.state(key, "t") is S.SUCCESS
    assert whole.said("said ") == ["after t -1 1 r NoneType"]
    assert whole.log.has("Failed to run task callback")


def test_fail_exception_wants_no_other_try(whole: Whole) -> None:
    whole.upload(d=dag("raise AirflowFailException('for good')", arguments="retries=3, **ALL"))
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.FAILED
    assert whole.instance(key, "t").try_number == 1


# --- without one ------------------------------------------------------------------------------------------------------


def test_a_lost_worker_is_made_up_for(whole: Whole) -> None:
    whole.upload(d=dag("return 1"))
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    run = whole.work(key)

    assert run.state is DagRunState.FAILED
    assert whole.said("said ") == ["on_failure_callback t -1 1 r NoneType", "on_failure_callback t"]
    (callback,) = whole.callbacks(key).values()
    assert (callback.state, callback.event) == (CallbackState.SUCCESS, "failure")
    assert "silent" in str(callback.reason)


def test_a_lost_try_that_is_tried_again_tells_of_the_retry(whole: Whole) -> None:
    whole.upload(d=dag("return 1", arguments="retries=1, retry_delay=timedelta(seconds=0), **ALL"))
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    advance(whole.services, key)
    whole.clock.advance(1)
    run = whole.work(key)

    assert run.state is DagRunState.SUCCESS
    assert sorted(whole.said("said "))[-2:] == ["on_success_callback t", "on_success_callback t -1 2 r NoneType"]
    assert "on_retry_callback t -1 1 r NoneType" in whole.said("said ")
    assert whole.instance(key, "t").try_number == 2


@pytest.mark.parametrize("death", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_task_that_kills_its_process_is_called_back_by_another(whole: Whole, death: str) -> None:
    whole.upload(d=dag(death))
    key = whole.trigger()
    run = whole.work(key)

    assert run.state is DagRunState.FAILED
    assert [line for line in whole.said("said ") if "failure" in line] == [
        "on_failure_callback t -1 1 r NoneType",
        "on_failure_callback t",
    ]


def test_a_lost_try_without_callbacks_costs_no_message(whole: Whole) -> None:
    whole.upload(d=dag("return 1", arguments="retries=0"))
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    advance(whole.services, key)

    assert whole.queues.callbacks == []
    assert whole.callbacks(key) == {}


def test_a_lost_try_and_its_callback_are_one_write(whole: Whole) -> None:
    """Whoever dies after the write leaves both: the next look sends what is pending."""
    whole.upload(d=dag("return 1"))
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    sent: list[object] = []
    send = whole.queues.send_callbacks

    def refuse(workloads: object) -> list[object]:
        sent.append(workloads)
        return list(workloads)  # type: ignore[call-overload]

    whole.queues.send_callbacks = refuse  # type: ignore[assignment]
    advance(whole.services, key)
    assert sent
    assert [c.state for c in whole.callbacks(key).values()] == [CallbackState.PENDING]
    assert whole.state(key, "t") is S.FAILED

    whole.queues.send_callbacks = send  # type: ignore[method-assign]
    whole.work(key)
    assert whole.said("said ") == ["on_failure_callback t -1 1 r NoneType", "on_failure_callback t"]


def test_a_task_that_no_worker_can_run_tells_of_its_failure(whole: Whole) -> None:
    whole.upload(d=dag("return 1", arguments="queue='fargate', **ALL"))
    key = whole.trigger()
    run = whole.work(key)

    assert run.state is DagRunState.FAILED
    assert whole.said("said ") == ["on_failure_callback t -1 1 r NoneType", "on_failure_callback t"]


# --- e-mails ----------------------------------------------------------------------------------------------------------

MAIL = """
def send(to, subject, html_content, *args, **kwargs):
    print("mail", to, subject, "silent" in html_content)
"""


@pytest.mark.parametrize(
    ("arguments", "mails"),
    [
        ("email=['a@b.c']", ["failure"]),
        ("email='a@b.c', email_on_failure=False", []),
        ("email='a@b.c', retries=1", ["retry"]),
        ("email='a@b.c', retries=1, email_on_retry=False", []),
        ("retries=0", []),
    ],
)
def test_a_lost_try_is_mailed_of_as_airflow_does(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, arguments: str, mails: list[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__EMAIL__EMAIL_BACKEND", "mail.send")
    whole.upload(mail=MAIL, d=dag("return 1", arguments=arguments))
    assert set(mails) <= set(whole.specs["d"].tasks["t"].emails_on)
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    advance(whole.services, key)
    whole.run_callbacks()

    assert [c.event for c in whole.callbacks(key).values()] == mails
    sent = whole.said("mail ")
    assert len(sent) == len(mails)
    for mail in sent:
        assert "a@b.c" in mail.split(" Airflow alert: ")[0]
        assert mail.endswith(" True")
    assert not whole.log.has("Callback requested but no callback found")


def test_callback_and_email_of_one_try_are_one_message(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__EMAIL__EMAIL_BACKEND", "mail.send")
    whole.upload(mail=MAIL, d=dag("return 1", arguments="email='a@b.c', **ALL"))
    key = whole.trigger()
    advance(whole.services, key)
    lose(whole, key)
    whole.work(key)

    assert len(whole.callbacks(key)) == 1
    assert whole.said("said ") == ["on_failure_callback t -1 1 r NoneType", "on_failure_callback t"]
    assert len(whole.said("mail ")) == 1
