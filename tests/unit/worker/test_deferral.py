"""Deferral from the file to the end: real triggers in real children, and the tasks that wait for them."""

import pytest

from gust.airflow_bridge.task_log import stream_name
from gust.aws.logs import TRY
from gust.model.callback import CallbackKind, CallbackState
from gust.model.keys import DagRunKey
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.services.people.clear_task_instances import Clear, clear_dag_run, clear_task_instances
from gust.services.people.set_state import Mark, mark_task_instances, set_dag_run_state
from gust.services.scheduler.advance import advance
from tests.unit.worker.whole import Whole

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

TRIGGERS = """
import asyncio
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

class Mine(BaseTrigger):
    def __init__(self, what="fires", value=None, seconds=0.0):
        super().__init__()
        self.what, self.value, self.seconds = what, value, seconds

    def serialize(self):
        return "triggers_of_mine.Mine", {"what": self.what, "value": self.value, "seconds": self.seconds}

    async def run(self):
        await asyncio.sleep(self.seconds)
        match self.what:
            case "fires":
                yield TriggerEvent({"value": self.value})
            case "breaks":
                raise RuntimeError("the trigger is broken")
            case "ends":
                return
            case "fails":
                yield TaskFailedEvent(xcoms={"why": "because"})
            case "succeeds":
                yield TaskSuccessEvent(xcoms={"return_value": self.value})

    async def on_kill(self):
        print("said killed", self.what, self.value, self.task_id)

    async def cleanup(self):
        print("said cleaned up")
"""

HEAD = """
from datetime import datetime, timedelta, timezone
from airflow.sdk import DAG, BaseOperator, task
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.triggers.base import StartTriggerArgs
from triggers_of_mine import Mine

def say(what):
    return lambda context: print("said", what, context["ti"].task_id, context["ti"].try_number)

CALLBACKS = {f"on_{kind}_callback": say(kind) for kind in ("success", "failure", "retry")}

class Waits(BaseOperator):
    def __init__(self, *, trigger=None, timeout=None, times=1, **kwargs):
        super().__init__(**kwargs)
        self.trigger, self.timeout, self.times = trigger or {}, timeout, times

    def execute(self, context):
        print("said execute", context["ti"].map_index, context["ti"].try_number)
        self.wait(1)

    def wait(self, time):
        self.defer(trigger=Mine(**self.trigger), method_name="resume", kwargs={"time": time},
                   timeout=timedelta(seconds=self.timeout) if self.timeout else None)

    def resume(self, context, time, event=None):
        print("said resumed", context["ti"].map_index, time, event)
        if time < self.times:
            self.wait(time + 1)
        if event["value"] == "bad":
            raise ValueError("bad event")
        return event["value"]
"""


def uploaded(whole: Whole, body: str, arguments: str = "") -> None:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    whole.upload(triggers_of_mine=TRIGGERS, d=f"{HEAD}\nwith DAG('d', {arguments}):\n{lines}\n")


def test_the_event_of_the_folders_own_trigger_reaches_the_next_method(whole: Whole) -> None:
    uploaded(whole, "Waits(task_id='t', trigger={'value': 7})")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ")[:3] == ["execute -1 1", "cleaned up", "resumed -1 1 {'value': 7}"]
    xcom = whole.store.get_xcom(key.task_instance("t"), "return_value")
    assert xcom is not None
    assert xcom.value == 7
    # The trigger and whoever resumes write where the log began: here, as it happens, into the streams of one worker.
    assert set(whole.log.streams) == {stream_name()}
    assert whole.instance(key, "t").log_stream == stream_name()


def test_it_may_defer_again_and_keeps_its_try(whole: Whole) -> None:
    uploaded(whole, "Waits(task_id='t', trigger={'value': 7}, times=3)")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert [line for line in whole.said("said ") if line.startswith("resumed")] == [
        f"resumed -1 {time} {{'value': 7}}" for time in (1, 2, 3)
    ]
    assert whole.instance(key, "t").try_number == 1


def test_mapped_instances_wait_each_for_its_own(whole: Whole) -> None:
    uploaded(whole, "Waits.partial(task_id='t').expand(trigger=[{'value': 1}, {'value': 2}])")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert {line for line in whole.said("said ") if line.startswith("resumed")} == {
        "resumed 0 1 {'value': 1}",
        "resumed 1 1 {'value': 2}",
    }


@pytest.mark.parametrize("what", ["breaks", "ends"])
def test_a_trigger_that_breaks_fails_the_try_with_its_callbacks_and_retries(whole: Whole, what: str) -> None:
    arguments = "retries=1, retry_delay=timedelta(minutes=5), **CALLBACKS"
    uploaded(whole, f"Waits(task_id='t', trigger={{'what': '{what}'}}, {arguments})")
    key = whole.trigger()
    whole.work(key)
    assert whole.state(key, "t") is S.UP_FOR_RETRY
    whole.clock.advance(301)

    assert whole.work(key).state is DagRunState.FAILED
    assert [line for line in whole.said("said ") if "clean" not in line] == [
        "execute -1 1",
        "retry t 1",
        "execute -1 2",
        "failure t 2",
    ]


def test_a_deferral_that_lasts_too_long_fails_the_try_and_kills_nothing(whole: Whole) -> None:
    uploaded(whole, "Waits(task_id='t', trigger={'seconds': 600.0}, timeout=60, **CALLBACKS)")
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()
    advance(whole.services, key)
    whole.queues.triggers.clear()
    whole.clock.advance(61)

    assert whole.work(key).state is DagRunState.FAILED
    assert whole.said("said ") == ["execute -1 1", "failure t 1"]
    assert whole.log.has("Trigger timeout") or "TaskDeferralTimeout" in whole.log.text
    assert whole.callbacks(key) == {}


def test_a_failure_after_resuming_is_tried_again_from_the_beginning(whole: Whole) -> None:
    uploaded(whole, "Waits(task_id='t', trigger={'value': 'bad'}, retries=1, retry_delay=timedelta(minutes=5))")
    key = whole.trigger()
    whole.work(key)
    whole.clock.advance(301)

    assert whole.work(key).state is DagRunState.FAILED
    assert [line for line in whole.said("said ") if line.startswith("execute")] == ["execute -1 1", "execute -1 2"]
    assert len(whole.store.list_tries(key.task_instance("t"))) == 1


def test_a_pure_wait_runs_nowhere(whole: Whole) -> None:
    body = """
class Pause(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(hours=2)), method_name="resume")
    def resume(self, context, event=None):
        print("said resumed", type(event).__name__)
Pause(task_id='t', do_xcom_push=False)
"""
    uploaded(whole, body)
    key = whole.trigger()
    whole.work(key)
    assert (whole.state(key, "t"), whole.queues.triggers) == (S.DEFERRED, [])
    whole.clock.advance(7201)

    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["resumed DateTime"]


# --- triggers that end their task -------------------------------------------------------------------------------------


def test_a_trigger_that_succeeds_ends_its_task_without_a_worker_and_without_callbacks(whole: Whole) -> None:
    uploaded(whole, "Waits(task_id='t', trigger={'what': 'succeeds', 'value': 5}, **CALLBACKS)")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["execute -1 1", "cleaned up"]
    xcom = whole.store.get_xcom(key.task_instance("t"), "return_value")
    assert xcom is not None
    assert xcom.value == "5"


def test_a_trigger_that_fails_its_task_is_tried_again_and_called_back(whole: Whole) -> None:
    arguments = "retries=1, retry_delay=timedelta(minutes=5), **CALLBACKS"
    uploaded(whole, f"Waits(task_id='t', trigger={{'what': 'fails'}}, {arguments})")
    key = whole.trigger()
    whole.work(key)
    assert whole.state(key, "t") is S.UP_FOR_RETRY
    assert whole.store.get_xcom(key.task_instance("t"), "why") is None
    whole.clock.advance(301)

    assert whole.work(key).state is DagRunState.FAILED
    assert [line for line in whole.said("said ") if "clean" not in line] == [
        "execute -1 1",
        "retry t 1",
        "execute -1 2",
        "failure t 2",
    ]
    xcom = whole.store.get_xcom(key.task_instance("t"), "why")
    assert xcom is not None
    assert xcom.value == '"because"'


# --- triggers that are killed -----------------------------------------------------------------------------------------


def deferred(whole: Whole, arguments: str = "", operator: str = "") -> DagRunKey:
    uploaded(whole, f"Waits(task_id='t', trigger={{'seconds': 600.0, 'value': 'job 7'}}, {operator})", arguments)
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()
    advance(whole.services, key)
    assert whole.state(key, "t") is S.DEFERRED
    whole.queues.triggers.clear()
    return key


def test_the_runs_timeout_kills_what_a_task_waits_for(whole: Whole) -> None:
    key = deferred(whole, "dagrun_timeout=timedelta(minutes=1)")
    whole.clock.advance(61)
    whole.work(key)

    assert whole.said("said ")[1:] == ["killed fires job 7 t", "cleaned up"]
    (callback,) = whole.callbacks(key).values()
    assert (callback.kind, callback.state) == (CallbackKind.TRIGGER, CallbackState.SUCCESS)


@pytest.mark.parametrize("action", ["mark", "mark the run", "clear", "clear the run"])
def test_a_person_who_takes_a_deferred_instance_away_kills_its_trigger(whole: Whole, action: str) -> None:
    key = deferred(whole)
    match action:
        case "mark":
            mark_task_instances(whole.services, key, Mark(tasks=[("t", -1)], state=S.SUCCESS))
        case "mark the run":
            set_dag_run_state(whole.services, key, DagRunState.FAILED)
        case "clear":
            clear_task_instances(whole.services, [key], Clear(markers=frozenset({("t", -1)})))
        case _:
            clear_dag_run(whole.services, key)
    advance(whole.services, key)
    whole.run_callbacks()

    assert whole.said("said ")[1:3] == ["killed fires job 7 t", "cleaned up"]
    execute, killed = (
        next(line for line in whole.log.lines if str(line["event"]).startswith(said))
        for said in ("said execute", "said killed")
    )
    assert killed[TRY] == execute[TRY], "a person finds it in the log of the try"


# --- tasks that begin with their trigger ------------------------------------------------------------------------------

STARTS = """
class Starts(BaseOperator):
    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="triggers_of_mine.Mine", trigger_kwargs={"value": 3}, next_method="resume",
        next_kwargs={"more": 4}, timeout=None)
    def __init__(self, *, x=None, **kwargs):
        super().__init__(**kwargs)
        self.x = x
    def execute(self, context):
        raise AssertionError("a worker began it")
    def resume(self, context, event=None, more=None):
        print("said resumed", context["ti"].map_index, event, more, self.x)
"""


def test_a_task_may_begin_with_its_trigger(whole: Whole) -> None:
    uploaded(whole, f"{STARTS}\nStarts(task_id='t')")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert whole.said("said resumed") == [" -1 {'value': 3} 4 None"]


def test_mapped_instances_begin_with_the_arguments_of_the_class(whole: Whole) -> None:
    uploaded(whole, f"{STARTS}\nStarts.partial(task_id='t').expand(x=[1, 2])")
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    assert sorted(whole.said("said resumed")) == [" 0 {'value': 3} 4 1", " 1 {'value': 3} 4 2"]


SUBCLASSES = """
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor

class Counting(FileSensor):
    looks = 0
    def poke(self, context):
        self.looks += 1
        return self.looks >= 3

class Noting(TimeDeltaSensor):
    def execute(self, context):
        super().execute(context)
        return "waited"
"""


def test_what_a_sensors_subclass_overrides_runs_though_its_base_can_defer(whole: Whole) -> None:
    """It is not asked to, and Airflow's default is not to."""
    whole.upload(
        sensors_of_mine=SUBCLASSES,
        d="""
from datetime import timedelta
from airflow.sdk import DAG
from sensors_of_mine import Counting, Noting
with DAG('d'):
    Counting(task_id="counts", filepath="/there/is/no/such/file", poke_interval=0.1, timeout=20)
    Noting(task_id="notes", delta=timedelta(0))
""",
    )
    key = whole.trigger()

    assert whole.work(key).state is DagRunState.SUCCESS
    xcom = whole.store.get_xcom(key.task_instance("notes"), "return_value")
    assert xcom is not None
    assert xcom.value == "waited"
