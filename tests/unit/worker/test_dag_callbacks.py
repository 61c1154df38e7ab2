"""Callbacks and listeners of a run that ends or is late, from the file to the printed line.

Airflow parses the file, and a real child runs the callback; the test compares the context with Airflow's own.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gust.airflow_bridge.timetable import answer_for_plugin
from gust.aws.timetables import ParserTimetables
from gust.model.callback import CallbackKind, CallbackState
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.variable import VARIABLES
from gust.scheduling.callback import claim
from gust.services.people.clear_task_instances import clear_dag_run
from gust.services.people.set_state import set_dag_run_state
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

HEAD = """
from datetime import datetime, timedelta, timezone
from airflow.sdk import DAG, AsyncCallback, BaseNotifier, DeadlineAlert, DeadlineReference, SyncCallback, Variable, task

def say(context):
    print("said", context["dag"].dag_id, context["run_id"], context["reason"],
          context["ti"].task_id if "ti" in context else None,
          context["dag_run"].conf if "dag_run" in context else None)

def never(context):
    print("said never", context["reason"])
"""


def dag(arguments: str, body: str) -> str:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"{HEAD}\nwith DAG('d', {arguments}):\n{lines}\n"


CHAIN = """
@task
def first():
    return 7
@task
def last(): ...
first() >> last()
"""

FAILS = """
@task
def fine(): ...
@task
def breaks():
    raise ValueError("on purpose")
fine() >> breaks()
"""


def states(whole: Whole, key: DagRunKey) -> dict[str, CallbackState]:
    return {name: callback.state for name, callback in whole.callbacks(key).items()}


# --- callbacks of the DAG ---------------------------------------------------------------------------------------------


def test_success_is_told_with_the_last_task_that_succeeded(whole: Whole) -> None:
    whole.upload(d=dag("on_success_callback=say, on_failure_callback=never", CHAIN))
    key = whole.trigger(conf={"day": "monday"})
    run = whole.work(key)

    assert run.state is DagRunState.SUCCESS
    assert whole.said("said ") == ["d r success last {'day': 'monday'}"]
    assert states(whole, key) == {"dag/0": CallbackState.SUCCESS}


def test_failure_is_told_with_the_task_that_failed(whole: Whole) -> None:
    whole.upload(d=dag("on_success_callback=never, on_failure_callback=say", FAILS))
    run = whole.work(whole.trigger())

    assert run.state is DagRunState.FAILED
    assert whole.said("said ") == ["d r task_failure breaks {}"]


def test_a_timeout_is_told_with_the_task_that_was_not_done(whole: Whole) -> None:
    whole.upload(d=dag("dagrun_timeout=timedelta(minutes=1), on_failure_callback=say", CHAIN))
    key = whole.trigger()
    advance(whole.services, key)
    whole.clock.advance(61)
    run = whole.work(key)

    assert run.state is DagRunState.FAILED
    assert whole.said("said ") == ["d r timed_out first {}"]


STUCK = """
@task
def first(): ...
@task(start_date=datetime(2999, 1, 1))
def never_there(): ...
@task
def last(): ...
[first(), never_there()] >> last()
"""


def test_a_deadlock_is_told_with_the_task_that_waits_behind_what_has_ended(whole: Whole) -> None:
    whole.upload(d=dag("on_success_callback=never, on_failure_callback=say", STUCK))
    run = whole.work(whole.trigger(logical_date=whole.clock.now()))

    assert run.state is DagRunState.FAILED
    assert whole.said("said ") == ["d r all_tasks_deadlocked last {}"]


def test_a_dag_without_callbacks_owes_nothing(whole: Whole) -> None:
    whole.upload(d=dag("", CHAIN))
    key = whole.trigger()
    run = whole.work(key)

    assert (run.calls_back, run.due_at, whole.callbacks(key)) == (False, None, {})


def test_one_of_several_callbacks_that_breaks_keeps_the_others_and_the_run(whole: Whole) -> None:
    breaking = "lambda context: 1 / 0"
    whole.upload(d=dag(f"on_success_callback=[{breaking}, say]", CHAIN))
    key = whole.trigger()
    run = whole.work(key)

    assert run.state is DagRunState.SUCCESS
    assert whole.said("said ") == ["d r success last {}"]
    callback = whole.callbacks(key)["dag/0"]
    assert (callback.state, callback.output) == (CallbackState.FAILED, "ZeroDivisionError: division by zero")
    assert whole.log.has("Callback failed")


@pytest.mark.parametrize("end", ["import os; os._exit(9)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_callback_that_kills_its_process_harms_nobody_else(whole: Whole, end: str) -> None:
    whole.upload(
        d=dag("on_success_callback=ends", CHAIN).replace("def say", f"def ends(context):\n    {end}\n\ndef say")
    )
    key = whole.trigger()
    run = whole.work(key)

    assert run.state is DagRunState.SUCCESS
    callback = whole.callbacks(key)["dag/0"]
    assert callback.state is CallbackState.FAILED
    assert "ended without a word" in str(callback.output)


def test_a_notifier_renders_its_templates_with_the_context(whole: Whole) -> None:
    notifier = """
class Tell(BaseNotifier):
    template_fields = ("text",)
    def __init__(self, text):
        super().__init__()
        self.text = text
    def notify(self, context):
        print("said", self.text)
"""
    text = "{{ dag.dag_id }} {{ ti.task_id }} {{ run_id }} {{ reason }}"
    whole.upload(d=HEAD + notifier + dag(f"on_success_callback=Tell('{text}')", CHAIN))
    whole.work(whole.trigger())

    assert whole.said("said ") == ["d last r success"]


def test_a_callback_asks_for_what_a_task_may_ask(whole: Whole) -> None:
    asks = """
def say(context):
    Variable.set("told", "yes")
    print("said", context["ti"].xcom_pull(task_ids="first"), Variable.get("told"), context["params"]["size"],
          context["ti"].get_dr_count("d"), context["prev_data_interval_start_success"])
"""
    whole.upload(d=HEAD + asks + dag("params={'size': 3}, on_success_callback=say", CHAIN).replace(HEAD, ""))
    whole.work(whole.trigger(logical_date=whole.clock.now()))

    assert whole.said("said ") == ["7 yes 3 1 None"]


def test_a_callback_runs_the_code_of_its_runs_bundle(whole: Whole) -> None:
    whole.upload(d=dag("on_success_callback=lambda c: print('said old')", CHAIN))
    key = whole.trigger()
    stored = whole.store.get_dag("d")
    assert stored is not None
    whole.upload(other="from airflow.sdk import DAG\nDAG('other')")
    whole.work(key)

    assert whole.said("said ") == ["old"]


# --- at least once, effectively once ----------------------------------------------------------------------------------


def ended(whole: Whole, arguments: str = "on_success_callback=say") -> DagRunKey:
    """A run whose end is decided and whose callback's message is on its way."""
    whole.upload(d=dag(arguments, "@task\ndef only(): ...\nonly()"))
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()
    advance(whole.services, key)
    assert whole.run(key).state is DagRunState.SUCCESS
    return key


def test_a_message_that_comes_twice_calls_once(whole: Whole) -> None:
    ended(whole)
    whole.queues.callbacks *= 3
    whole.run_callbacks()

    assert whole.said("said ") == ["d r success only {}"]


def test_a_callback_that_was_never_sent_is_sent_by_the_next_look(whole: Whole) -> None:
    class Dies(Exception): ...

    def die(_: object) -> list[object]:
        raise Dies

    whole.upload(d=dag("on_success_callback=say", "@task\ndef only(): ...\nonly()"))
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()
    send, whole.queues.send_callbacks = whole.queues.send_callbacks, die  # type: ignore[assignment]
    with pytest.raises(Dies):
        advance(whole.services, key)
    assert whole.run(key).state is DagRunState.SUCCESS
    assert states(whole, key) == {"dag/0": CallbackState.PENDING}

    whole.queues.send_callbacks = send  # type: ignore[method-assign]
    whole.clock.advance(61)
    assert [found for found, _ in whole.store.due_runs(whole.clock.now())] == [key]
    whole.work(key)
    assert whole.said("said ") == ["d r success only {}"]


def test_a_message_that_is_lost_is_sent_again(whole: Whole) -> None:
    key = ended(whole)
    whole.queues.callbacks.clear()
    whole.clock.advance(25 * 60)
    whole.work(key)

    assert whole.said("said ") == ["d r success only {}"]
    assert whole.callbacks(key)["dag/0"].dispatch_count == 2


def test_a_worker_that_died_gives_its_callback_to_the_one_that_gets_the_message_again(whole: Whole) -> None:
    key = ended(whole)
    (message,) = whole.queues.callbacks
    claimed = whole.callbacks(key)["dag/0"]
    whole.store.move_callback(claim(claimed, at=whole.clock.now(), hostname="one that dies"))
    whole.run_callbacks()
    assert whole.said("said ") == []

    whole.clock.advance(16 * 60)
    whole.queues.callbacks.append(message)
    whole.run_callbacks()
    assert whole.said("said ") == ["d r success only {}"]


def test_a_run_is_looked_at_until_its_callbacks_have_ended(whole: Whole) -> None:
    key = ended(whole)
    run = whole.run(key)
    assert run.calls_back
    assert run.due_at is not None
    whole.run_callbacks()

    whole.clock.advance(61)
    advance(whole.services, key)
    run = whole.run(key)
    assert (run.calls_back, run.due_at) == (False, None)


# --- listeners --------------------------------------------------------------------------------------------------------

LISTENER = """
from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

class Listener:
    @hookimpl
    def on_dag_run_running(self, dag_run, msg):
        print("told running", dag_run.dag_id, dag_run.run_id, dag_run.state, msg)
    @hookimpl
    def on_dag_run_success(self, dag_run, msg):
        print("told success", dag_run.run_id, dag_run.state, dag_run.run_type, dag_run.conf, msg)
    @hookimpl
    def on_dag_run_failed(self, dag_run, msg):
        print("told failed", dag_run.run_id, dag_run.state, msg)
    @hookimpl
    def on_task_instance_running(self, previous_state, task_instance):
        print("told ti running", task_instance.task_id)
    @hookimpl
    def on_task_instance_success(self, previous_state, task_instance):
        print("told ti success", task_instance.task_id)
    @hookimpl
    def on_task_instance_failed(self, previous_state, task_instance, error):
        print("told ti failed", task_instance.task_id, error)

class Plugin(AirflowPlugin):
    name = "listening"
    listeners = [Listener()]
"""


def test_listeners_are_told_of_runs_and_of_tries(whole: Whole) -> None:
    whole.upload(plugins__listening=LISTENER, d=dag("", FAILS))
    key = whole.trigger()
    whole.work(key)

    assert sorted(whole.said("told ")) == [
        "failed r failed task_failure",
        "running d r running started",
        "ti failed breaks on purpose",
        "ti running breaks",
        "ti running fine",
        "ti success fine",
    ]
    assert {callback.kind for callback in whole.callbacks(key).values()} == {CallbackKind.LISTENER}


def test_only_hooks_that_somebody_implements_are_called(whole: Whole) -> None:
    only_success = LISTENER.split("    @hookimpl\n    def on_dag_run_failed", maxsplit=1)[0].split(
        "class Listener:", maxsplit=1
    )[0]
    only_success += """class Listener:
    @hookimpl
    def on_dag_run_success(self, dag_run, msg):
        print("told", msg)

class Plugin(AirflowPlugin):
    name = "listening"
    listeners = [Listener()]
"""
    whole.upload(plugins__listening=only_success, d=dag("", CHAIN))
    key = whole.trigger()
    whole.work(key)

    assert whole.specs["d"].listeners == ("on_dag_run_success",)
    assert list(whole.callbacks(key)) == ["listener/on_dag_run_success/0"]
    assert whole.said("told ") == ["success"]


# --- deadlines --------------------------------------------------------------------------------------------------------

LATE = """
def sync_late(text, context):
    print("late", "sync", text, context["dag_run"]["dag_run_id"], context["dag_run"]["state"],
          type(context["deadline"]["deadline_time"]).__name__)

async def async_late(context):
    print("late", "async", context["dag_run"]["dag_id"])
"""


def with_deadlines(*alerts: str) -> str:
    text = dag(f"deadline=[{', '.join(alerts)}]", CHAIN)
    return text.replace("def never", LATE + "\ndef never")


def alert(reference: str, minutes: float, callback: str = "SyncCallback(sync_late, kwargs={'text': 'now'})") -> str:
    return f"DeadlineAlert(reference={reference}, interval=timedelta(minutes={minutes}), callback={callback}, name='n')"


QUEUED_AT = "DeadlineReference.DAGRUN_QUEUED_AT"


def test_a_missed_deadline_calls_once_while_the_run_goes_on(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 1)))
    key = whole.trigger()
    advance(whole.services, key)
    assert states(whole, key) == {"deadline/0": CallbackState.SCHEDULED}

    whole.clock.advance(61)
    advance(whole.services, key)
    advance(whole.services, key)
    whole.run_callbacks()
    assert whole.said("late ") == ["sync now r running DateTime"]
    assert whole.run(key).state is DagRunState.RUNNING
    assert whole.work(key).state is DagRunState.SUCCESS
    assert states(whole, key) == {"deadline/0": CallbackState.SUCCESS}


def test_a_deadline_that_is_met_is_dropped(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 60)))
    key = whole.trigger()
    run = whole.work(key)

    assert whole.callbacks(key) == {}
    assert (run.calls_back, run.due_at) == (False, None)


def test_a_failed_run_misses_its_deadline_all_the_same(whole: Whole) -> None:
    text = with_deadlines(alert(QUEUED_AT, 60)).replace("def last(): ...", "def last():\n        raise ValueError")
    whole.upload(d=text)
    key = whole.trigger()
    run = whole.work(key)
    assert run.state is DagRunState.FAILED
    assert run.due_at == whole.callbacks(key)["deadline/0"].due_at

    whole.clock.advance(3600)
    whole.work(key)
    assert whole.said("late ") == ["sync now r failed DateTime"]


def test_several_deadlines_each_have_their_own_moment_and_kind(whole: Whole) -> None:
    asynchronous = "AsyncCallback('deadline_helper.async_late')"
    whole.upload(
        deadline_helper=LATE,
        d=with_deadlines(alert(QUEUED_AT, 1), alert(QUEUED_AT, 2, asynchronous), alert(QUEUED_AT, 60)),
    )
    key = whole.trigger()
    advance(whole.services, key)
    whole.clock.advance(121)
    advance(whole.services, key)
    whole.run_callbacks()

    assert sorted(whole.said("late ")) == ["async d", "sync now r running DateTime"]
    assert states(whole, key) == {
        "deadline/0": CallbackState.SUCCESS,
        "deadline/1": CallbackState.SUCCESS,
        "deadline/2": CallbackState.SCHEDULED,
    }


def test_deadlines_are_exact_timers_of_their_run(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 30)))
    key = whole.trigger()
    advance(whole.services, key)
    due = whole.callbacks(key)["deadline/0"].due_at
    assert due is not None

    whole.run_tasks()
    while (at := whole.run(key).due_at) is not None and at < due:
        whole.clock.advance((at - whole.clock.now()).total_seconds())
        before = whole.run(key).due_at
        advance(whole.services, key)
        if whole.run(key).due_at == before:
            break
    assert whole.run(key).due_at is not None
    assert whole.run(key).due_at <= due


def test_a_run_that_waits_for_its_turn_misses_its_deadline_too(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 1)))
    stored = whole.store.get_dag("d")
    assert stored is not None
    whole.store.put_dag(stored, replace(stored, is_paused=True))
    key = whole.trigger()
    advance(whole.services, key)
    whole.clock.advance(61)
    assert [found for found, _ in whole.store.due_runs(whole.clock.now())] == [key]
    advance(whole.services, key)
    whole.run_callbacks()

    assert whole.said("late ") == ["sync now r queued DateTime"]


def test_references(whole: Whole) -> None:
    whole.upload(
        d=with_deadlines(
            alert("DeadlineReference.FIXED_DATETIME(datetime(2030, 1, 1, tzinfo=timezone.utc))", 5),
            alert("DeadlineReference.DAGRUN_LOGICAL_DATE", 10),
            alert("DeadlineReference.AVERAGE_RUNTIME(max_runs=2, min_runs=1)", 1),
        )
    )
    logical_date = datetime(2025, 1, 1, tzinfo=UTC)
    first = whole.trigger(logical_date=logical_date)
    assert {name: c.due_at for name, c in whole.callbacks(first).items()} == {
        "deadline/0": datetime(2030, 1, 1, 0, 5, tzinfo=UTC),
        "deadline/1": logical_date + timedelta(minutes=10),
    }

    whole.work(first)
    run = whole.run(first)
    assert run.start_date
    assert run.end_date
    second = whole.trigger(run_id="r2")
    found = whole.callbacks(second)
    assert set(found) == {"deadline/0", "deadline/2"}
    expected = whole.run(second).queued_at + (run.end_date - run.start_date) + timedelta(minutes=1)
    assert abs(found["deadline/2"].due_at - expected) < timedelta(seconds=30)  # type: ignore[operator]


REFERENCES = """
from dataclasses import dataclass
from datetime import datetime, timezone
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseDeadlineReference
from airflow.sdk.definitions.deadline import DeadlineReference, deadline_reference

@deadline_reference()
@dataclass
class NewYear(BaseDeadlineReference):
    year: int = 2030
    required_kwargs = {"dag_id", "run_id"}
    def _evaluate_with(self, *, session, dag_id, run_id):
        if dag_id + run_id == "dnever":
            return None
        if dag_id + run_id == "dbroken":
            raise ValueError("no calendar")
        return datetime(self.year, 1, 1, tzinfo=timezone.utc)
    def serialize_reference(self):
        return {"reference_type": "NewYear", "year": self.year}
    @classmethod
    def deserialize_reference(cls, data):
        return cls(data["year"])

class References(AirflowPlugin):
    name = "references"
    deadline_references = [NewYear]
"""


@pytest.mark.parametrize("arguments", ["", "disable_bundle_versioning=True, "])
def test_a_reference_may_be_a_plugins(whole: Whole, arguments: str) -> None:
    whole.services = replace(
        whole.services,
        timetables=ParserTimetables(lambda asked: answer_for_plugin(whole.objects, dict(asked), whole.root)),
    )
    text = with_deadlines(alert("NewYear(2031)", 5), alert(QUEUED_AT, 1))
    whole.upload(
        plugins__references=REFERENCES,
        d="import airflow.plugins_manager as p\np.get_deadline_references_plugins()\nfrom references import NewYear\n"
        + text.replace("with DAG('d', ", f"with DAG('d', {arguments}"),
    )
    key = whole.trigger()
    assert whole.callbacks(key)["deadline/0"].due_at == datetime(2031, 1, 1, 0, 5, tzinfo=UTC)
    for without in ("never", "broken"):
        assert set(whole.callbacks(whole.trigger(run_id=without))) == {"deadline/1"}


def test_an_interval_may_be_a_variable(whole: Whole) -> None:
    text = with_deadlines(alert(QUEUED_AT, 1)).replace(
        "interval=timedelta(minutes=1)", "interval=VariableInterval('s')"
    )
    whole.upload(d="from airflow.sdk.definitions.deadline import VariableInterval\n" + text)
    without = whole.trigger()
    assert whole.callbacks(without) == {}

    whole.store.put_setting(VARIABLES, "s", {"value": "90"})
    key = whole.trigger(run_id="r2")
    assert whole.callbacks(key)["deadline/0"].due_at == whole.run(key).queued_at + timedelta(seconds=90)


def test_a_deadline_whose_callable_breaks_is_missed_once_and_tells_why(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 1, "SyncCallback('nowhere.to.be_found')")))
    key = whole.trigger()
    advance(whole.services, key)
    whole.clock.advance(61)
    whole.work(key)

    callback = whole.callbacks(key)["deadline/0"]
    assert callback.state is CallbackState.FAILED
    assert "ModuleNotFoundError" in str(callback.output)
    assert whole.run(key).state is DagRunState.SUCCESS
    assert whole.state(key, "last") is S.SUCCESS


def test_clearing_a_run_moves_the_deadline_that_counts_from_its_queueing(whole: Whole) -> None:
    fixed = "DeadlineReference.FIXED_DATETIME(datetime(2030, 1, 1, tzinfo=timezone.utc))"
    text = with_deadlines(alert(QUEUED_AT, 60), alert(fixed, 0))
    whole.upload(d=text.replace("def last(): ...", "def last():\n        raise ValueError"))
    key = whole.trigger()
    whole.work(key)
    before = {name: callback.due_at for name, callback in whole.callbacks(key).items()}
    whole.clock.advance(600)
    clear_dag_run(whole.services, key)

    after = {name: callback.due_at for name, callback in whole.callbacks(key).items()}
    assert after["deadline/0"] == whole.run(key).queued_at + timedelta(minutes=60)
    assert after["deadline/0"] != before["deadline/0"]
    assert after["deadline/1"] == before["deadline/1"]


def test_a_run_that_a_person_marked_misses_its_deadline_later(whole: Whole) -> None:
    whole.upload(d=with_deadlines(alert(QUEUED_AT, 60)))
    key = whole.trigger()
    advance(whole.services, key)
    set_dag_run_state(whole.services, key, DagRunState.FAILED)
    advance(whole.services, key)
    run = whole.run(key)
    assert (run.calls_back, run.due_at) == (True, whole.callbacks(key)["deadline/0"].due_at)


def test_callbacks_are_deleted_with_their_run(whole: Whole) -> None:
    key = ended(whole)
    whole.work(key)
    whole.store.delete_run(whole.run(key))
    assert whole.callbacks(key) == {}
