"""Run the trigger of one deferred try until it fires, breaks, or would sleep; then it is parked in SQS and costs
nothing.

A trigger runs in a forked child, as a task does: one that blocks, leaks or crashes harms itself alone, and parking it
is the end of a process, without the cancellation that some triggers answer by killing what they watch.

Airflow lets a trigger start again from its arguments at any time (a triggerer that restarts does just that), but one
that were to start again at each of its sleeps might never get past the first. So the sleeps that a trigger has slept
are counted, and the next life passes through them without waiting: `await sleep(60); yield TriggerEvent(…)` fires after
a minute, wherever it runs. A trigger that looked at the world between its sleeps (a socket, a thread) is taken for a
poller after a few of them: it starts afresh, looks once, and is parked again. What a poller must not forget by that:

- How often it has looked, where an argument says how often it may (`…max_attempts`, as all of the amazon provider's triggers
  that wait have one): its next life may look as often as is left.
- What it keeps in its arguments: where `serialize` says something else than it did when the life began, the next one begins
  with that.

What else it keeps in memory, a counter or a deadline, begins anew with each life (docs/adr/0006 and 0026).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import selectors
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

import attrs
import httpx
import structlog
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import DagRun, TaskInstance, TIRunContext
from airflow.sdk.execution_time import comms, task_runner
from airflow.sdk.serde import deserialize, serialize
from airflow.serialization.decoders import smart_decode_trigger_kwargs
from airflow.serialization.serialized_objects import BaseSerialization
from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent

from gust.airflow_bridge import compat, orphans
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.execute import GONE, enter_child
from gust.airflow_bridge.pipe import Pipe
from gust.airflow_bridge.supervised import Signs, SupervisedChild
from gust.airflow_bridge.task_log import Sink, try_logger
from gust.airflow_bridge.transport import EXECUTION_API, Invoke, LambdaTransport
from gust.airflow_bridge.trigger_questions import answered, what_a_trigger_is_told
from gust.aws.queues import RENEWED_EVERY
from gust.errors import StaleTaskInstance, Unopenable
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import TriggerWorkload
from gust.ports.objects import Objects

PARK_FROM: Final = 5.0
"""Seconds of sleep from which parking is worth it. Starting again costs some 100 ms of a function, waiting in place
costs all the time waited."""

FEW_SLEEPS: Final = 5
"""A trigger that looks at the world is passed through as many sleeps; one that has more is a poller."""

MOST_ATTEMPTS: Final = "max_attempts"
"""How the names of arguments end that say how often a trigger may look."""

IN_ATTRIBUTES: Final = ("attempts", "waiter_max_attempts", "max_attempts")
"""Where triggers that have such an argument keep it."""

TIGHT: Final = 1.0
"""Seconds that a poller sleeps at least. Some sleep for none, and would look as often as the processor can."""

STOP_BEFORE_LIMIT: Final = 15.0
"""Seconds before the function's end at which a trigger that still runs is parked."""

CLEANUP_TIME: Final = 5.0
"""Seconds for a trigger's `cleanup` after it fired."""

STILL_WANTED_EVERY: Final = 60.0
"""Seconds between two looks at whether the try still waits for the trigger."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Where a trigger's next life goes on."""

    delay: float
    """Seconds to wait."""
    sleeps_passed: int
    is_poller: bool
    looks: int = 0
    """How often all lives together have looked and slept at the place where it sleeps."""
    place: str = ""
    kwargs: dict[str, Any] | None = None
    """Its arguments, where they are others now."""

    def to_payload(self, now: datetime) -> dict[str, Any]:
        return {
            "wake_at": (now + timedelta(seconds=self.delay)).isoformat(),
            "sleeps_passed": self.sleeps_passed,
            "is_poller": self.is_poller,
            "looks": self.looks,
            "place": self.place,
            **({} if self.kwargs is None else {"kwargs": self.kwargs}),
        }


Report = Mapping[str, Any]
"""What the execution API is told: `event`, `error` and `traceback`, or `state` and `xcoms`."""


class End(StrEnum):
    """How one life of a trigger ended."""

    REPORTED = "reported"
    PARKED = "parked"


def run_trigger(
    workload: TriggerWorkload,
    *,
    invoke: Invoke,
    objects: Objects,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    hide: Callable[[], object] = lambda: None,
    hide_every: float = RENEWED_EVERY,
) -> End:
    """Run the trigger and report how it ended, or have it parked. `remaining` is the time in seconds that the function
    has left. `hide` is called every `hide_every` seconds: the message stays hidden from other functions.

    Raises StaleTaskInstance where the try no longer waits for it."""
    transport = LambdaTransport(invoke, objects)
    client = Client(base_url=EXECUTION_API, token=workload.token, transport=transport)
    url = f"gust/triggers/{workload.id}"
    try:
        if workload.wake_at is not None and workload.wake_at > now() + timedelta(seconds=1):
            end: Parked | Report = _as_it_was(workload, (workload.wake_at - now()).total_seconds())
        else:
            trigger = client.get(url).json()
            ask_every = STILL_WANTED_EVERY
            signs = Signs(hide=hide, hide_every=hide_every, ask=lambda: client.get(url), ask_every=ask_every)
            end = _run(workload, trigger, client, transport, signs, bundles=bundles, sink=sink, remaining=remaining)
        if isinstance(end, Parked):
            parked = {**end.to_payload(now()), "relative_fileloc": workload.relative_fileloc}
            client.post(f"{url}/park", content=json.dumps(parked))
            return End.PARKED
        client.post(f"{url}/event", content=json.dumps(end))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in GONE:
            raise
        raise StaleTaskInstance(f"{workload.key} waits for this trigger no more", None) from error
    finally:
        sink.flush()
    return End.REPORTED


def _run(
    workload: TriggerWorkload,
    trigger: Mapping[str, Any],
    client: Client,
    transport: LambdaTransport,
    signs: Signs,
    *,
    bundles: BundleFolder,
    sink: Sink,
    remaining: float,
) -> Parked | Report:
    try:
        bundle = bundles.fetch(workload.bundle_version) if workload.bundle_version else None
        environment = bundles.fetch_environment(bundle, workload.relative_fileloc) if bundle else None
    except Unopenable as error:
        return {"error": str(error)}
    ti = _task_instance(workload)
    time_left = max(1.0, remaining - STOP_BEFORE_LIMIT)
    pace = Pace(
        skip=workload.sleeps_passed,
        is_poller=workload.is_poller,
        end=time.monotonic() + max(0.5, time_left - 5),
        looks=workload.looks,
        place=workload.place,
    )
    orphans.adopt()
    reads, writes = os.pipe()
    workspace = Path(tempfile.mkdtemp(prefix="gust-trigger-"))
    try:
        process = SupervisedTrigger.start(
            what=ti,
            dag_rel_path="",
            bundle_info=None,
            client=client,
            transport=transport,
            logger=try_logger(sink.of_stream(workload.log_stream), str(ti.id)),
            target=lambda: _trigger_main(trigger, ti, pace, bundle, environment, workspace=workspace, writes=writes),
            deadline=time.monotonic() + time_left,
            said=Pipe(reads),
            signs=signs,
        )
        os.close(writes)
        exit_code = process.wait()
        return _end(process, exit_code, workload)
    finally:
        os.close(reads)
        shutil.rmtree(workspace, ignore_errors=True)


def _as_it_was(workload: TriggerWorkload, delay: float) -> Parked:
    return Parked(delay, workload.sleeps_passed, workload.is_poller, workload.looks, workload.place)


def _end(process: SupervisedTrigger, exit_code: int, workload: TriggerWorkload) -> Parked | Report:
    said = process.said.rest()
    if said is not None:
        return Parked(**said["parked"]) if "parked" in said else said
    if process.was_stopped:
        return _as_it_was(workload, 0.0)
    return {"error": f"The trigger's process ended without a word (exit code {exit_code})"}


def _task_instance(workload: TriggerWorkload) -> TaskInstance:
    return TaskInstance(
        id=workload.id,
        task_id=workload.task_id,
        dag_id=workload.dag_id,
        run_id=workload.run_id,
        try_number=workload.try_number,
        map_index=workload.map_index,
        dag_version_id=TASK_INSTANCE_NAMESPACE,
    )


# --- the supervisor ---------------------------------------------------------------------------------------------------


@attrs.define(kw_only=True)
class SupervisedTrigger(SupervisedChild):
    """Answers what only triggers ask: connections, variables, states of other tasks."""

    def _handle_request(self, msg: Any, log: Any, req_id: int) -> None:
        if (told := answered(self.client, msg)) is not None:
            self.send_msg(told, request_id=req_id, error=None)
            return
        super()._handle_request(msg, log, req_id)


# --- the child --------------------------------------------------------------------------------------------------------


def _trigger_main(
    trigger: Mapping[str, Any],
    ti: TaskInstance,
    pace: Pace,
    bundle: Path | None,
    environment: Path | None,
    *,
    workspace: Path,
    writes: int,
) -> None:
    enter_child(bundle, workspace, environment)
    log = structlog.get_logger(logger_name="trigger")
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(log=log, body_decoder=what_a_trigger_is_told())
    structlog.contextvars.bind_contextvars(
        dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, try_number=ti.try_number, map_index=ti.map_index
    )
    loop = paced_loop(pace)
    asyncio.set_event_loop(loop)
    said = loop.run_until_complete(_first_of(trigger, ti, pace, log))
    with os.fdopen(writes, "w") as pipe:
        json.dump(said, pipe)


async def _first_of(trigger: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """The trigger's end, or where it is parked. What still runs then is left as it stands: the process ends."""
    loop = asyncio.get_running_loop()
    pace.parked = loop.create_future()
    pace.task = asyncio.create_task(_until_it_fires(trigger, ti, pace, log))
    loop.call_later(max(0.0, pace.end - time.monotonic()), pace.park, 0.0)
    ends: list[asyncio.Future[Any]] = [pace.task, pace.parked]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if pace.task.done():
        said: dict[str, Any] = pace.task.result()
        return said
    return {"parked": asdict(pace.parked.result())}


async def _until_it_fires(parked: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """What to report. Airflow's rule: only the first event resumes a task, and to end without one is an error."""
    try:
        trigger = made_trigger(parked, ti)
    except Exception as error:
        log.exception("The trigger cannot be made", classpath=parked["classpath"])
        return _broken(error)
    try:
        if template := parked.get("template"):
            _render(trigger, ti, template)
        pace.begin(trigger, keeps_arguments=template is not None)
        async for event in trigger.run():
            log.info("Trigger fired event", result=repr(event))
            return _fired(event)
    except Exception as error:
        log.exception("The trigger broke", classpath=parked["classpath"])
        return _broken(error)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(trigger.cleanup(), CLEANUP_TIME)
    log.error("Trigger exited without sending an event. The task will be failed.", classpath=parked["classpath"])
    return {"error": "The trigger ended without an event"}


def made_trigger(parked: Mapping[str, Any], ti: TaskInstance) -> BaseTrigger:
    trigger_class = import_string(parked["classpath"])
    kwargs = {name: smart_decode_trigger_kwargs(value) for name, value in _decoded(parked["kwargs"]).items()}
    trigger = trigger_class(**kwargs)
    trigger.task_instance = ti
    trigger.trigger_id = ti.id.int >> 96
    trigger.triggerer_job_id = None
    trigger.timeout_after = datetime.fromisoformat(at) if (at := parked.get("timeout_at")) else None
    return trigger


def _render(trigger: BaseTrigger, ti: TaskInstance, template: Mapping[str, Any]) -> None:
    """The arguments that the scheduler took from the DAG file as they are, rendered as a worker would have."""
    task = compat.deserialized(dict(template["serialized_dag"])).get_task(ti.task_id)
    context = TIRunContext.model_construct(
        dag_run=DagRun.model_validate(template["dag_run"]), max_tries=template["max_tries"]
    )
    runtime_ti = task_runner.RuntimeTaskInstance.model_construct(
        **ti.model_dump(exclude_unset=True), task=task, _ti_context_from_server=context
    )
    trigger.task_instance = runtime_ti
    trigger.render_template_fields(context=runtime_ti.get_template_context())


def _decoded(kwargs: dict[str, Any] | str) -> dict[str, Any]:
    """Airflow writes a trigger's arguments with serde; what `start_trigger_args` says comes in the older encoding."""
    raw = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
    try:
        decoded = deserialize(raw)
    except (ImportError, KeyError, AttributeError, TypeError):
        decoded = BaseSerialization.deserialize(raw)
    return dict(decoded)


def _fired(event: TriggerEvent) -> dict[str, Any]:
    if isinstance(event, BaseTaskEndEvent):
        xcoms = {name: serialize(value) for name, value in (event.xcoms or {}).items()}
        return {"state": str(event.task_instance_state.value), "xcoms": xcoms}
    return {"event": serialize(event.payload)}


def _broken(error: Exception) -> dict[str, Any]:
    return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exception(error)}


@dataclass(slots=True)
class Pace:
    """A trigger's way through its sleeps."""

    skip: int
    """How many sleeps earlier lives have slept."""
    is_poller: bool
    end: float
    """On the monotonic clock: when to park it at the latest."""
    looks: int = 0
    """How often it has looked and slept at `place`, in earlier lives too."""
    place: str = ""
    task: asyncio.Task[Any] | None = None
    parked: asyncio.Future[Parked] | None = None
    trigger: BaseTrigger | None = None
    arguments: Arguments | None = None
    """What it began with."""
    sleeps: int = 0
    """How many sleeps this life has come to."""
    leading: int = 0
    """How many of them before it looked at the world."""
    has_looked: bool = False
    tight_sleeps: int = 0

    def begin(self, trigger: BaseTrigger, *, keeps_arguments: bool = False) -> None:
        """`keeps_arguments`: they are rendered anew for each life."""
        self.trigger = trigger
        self.arguments = Arguments.of(trigger)
        if self.arguments is not None:
            self.arguments.are_kept = keeps_arguments
            self.arguments.use_up(trigger, self.looks)

    def look(self) -> None:
        """The trigger uses a socket or a thread."""
        self.has_looked = True

    def start_afresh(self) -> None:
        """A watcher fired: its next life begins after the sleeps that it comes to from here."""
        self.skip = self.sleeps = self.leading = 0

    def sleep(self, delay: float, frame: FrameType | None = None) -> float:
        """The trigger wants to sleep so long, at `frame`; returns how long it shall."""
        self.sleeps += 1
        if not self.has_looked:
            self.leading = self.sleeps
        if self.sleeps <= self.skip:
            return 0.0
        if self.has_looked:
            self._count(place_of(frame))
        if delay >= PARK_FROM:
            self.park(delay)
        elif delay <= TIGHT and self.sleeps > FEW_SLEEPS and self._changed() is not None:
            self.park(PARK_FROM)
        return delay

    def tight_sleep(self, frame: FrameType) -> float:
        """The trigger itself wants to sleep for no time; returns how long it shall. A few times it may."""
        if self.trigger is None or frame.f_code.co_filename not in _files_of(type(self.trigger)):
            return 0.0
        self.tight_sleeps += 1
        return TIGHT if self.is_poller or self.tight_sleeps > FEW_SLEEPS else 0.0

    def _count(self, place: str) -> None:
        """Attempts are counted for each thing that is waited for: a trigger may wait for several, one after the other."""
        self.looks = self.looks + 1 if place == self.place else 1
        self.place = place

    def _changed(self) -> dict[str, Any] | None:
        return self.arguments.changed(self.trigger) if self.arguments and self.trigger else None

    def park(self, delay: float) -> None:
        """End this life; the sleep that is being slept counts as slept once the delay is over."""
        if self.parked is None or self.parked.done():
            return
        passed = self.sleeps if delay else max(self.skip, self.sleeps - 1)
        counts = self.arguments is not None and self.arguments.say_how_often
        is_poller = self.has_looked and (self.is_poller or counts or passed > FEW_SLEEPS)
        self.parked.set_result(
            Parked(
                delay,
                self.leading if is_poller else passed,
                is_poller,
                self.looks,
                self.place,
                self._changed() if is_poller else None,
            )
        )


@dataclass(slots=True)
class Arguments:
    """A trigger's arguments as `serialize` gave them when its life began, in Airflow's encoding."""

    encoded: dict[str, Any]
    are_kept: bool = False

    @classmethod
    def of(cls, trigger: BaseTrigger) -> Self | None:
        try:
            encoded = serialize(trigger.serialize()[1])
            json.dumps(encoded)
        except Exception:  # strangers' code; a trigger that cannot say its arguments begins with those it has
            return None
        return cls(encoded) if isinstance(encoded, dict) else None

    @property
    def say_how_often(self) -> bool:
        return any(name.endswith(MOST_ATTEMPTS) for name in self.encoded)

    def use_up(self, trigger: BaseTrigger, looks: int) -> None:
        """Leave the trigger as many attempts as earlier lives have left."""
        if not self.say_how_often:
            return
        for name in IN_ATTRIBUTES:
            most = getattr(trigger, name, None)
            if isinstance(most, (int, str)) and str(most).isdecimal():
                setattr(trigger, name, type(most)(max(0, int(most) - looks)))

    def changed(self, trigger: BaseTrigger) -> dict[str, Any] | None:
        """What `serialize` says now, where that is something else; but for how often it may look, of which the looks are
        taken off again."""
        now = None if self.are_kept else type(self).of(trigger)
        if now is None:
            return None
        now.encoded |= {name: value for name, value in self.encoded.items() if name.endswith(MOST_ATTEMPTS)}
        return now.encoded if now.encoded != self.encoded else None


def place_of(frame: FrameType | None) -> str:
    """Names where the trigger waits, and of Airflow's own loop around a waiter also what for."""
    where: list[str] = []
    while frame is not None and frame.f_code.co_filename != _LOOP:
        where.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        if frame.f_code.co_name == "async_wait":
            where.append(repr(frame.f_locals.get("args")))
        frame = frame.f_back
    return hashlib.sha256("\n".join(where).encode()).hexdigest()[:12]


def _files_of(kind: type[BaseTrigger]) -> set[str]:
    """Where the trigger's own code lies."""
    modules = (sys.modules.get(base.__module__) for base in kind.__mro__ if base is not BaseTrigger)
    return {file for module in modules if (file := getattr(module, "__file__", None))}


_SLEEP: Final = asyncio.sleep
_LOOP: Final = asyncio.events.__file__


def paced_loop(pace: Pace) -> asyncio.SelectorEventLoop:
    """For a process that runs this trigger and nothing else: `asyncio.sleep` tells no loop of sleeps that take no time."""

    async def sleep(delay: float, result: Any = None) -> Any:
        if delay <= 0 and asyncio.current_task() is pace.task:
            delay = pace.tight_sleep(sys._getframe(1))
        return await _SLEEP(delay, result)

    vars(asyncio)["sleep"] = vars(asyncio.tasks)["sleep"] = sleep
    return _PacedLoop(pace)


class _PacedLoop(asyncio.SelectorEventLoop):
    """An event loop that knows when the trigger itself (not a task it started) goes to sleep, and what it looks at."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._selector_of_trigger = _WatchedSelector()
        super().__init__(self._selector_of_trigger)
        self._selector_of_trigger.on_register = pace.look

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        asks = sys._getframe(1)
        if asks.f_code is _SLEEP.__code__ and asyncio.current_task(self) is self._pace.task:
            delay = self._pace.sleep(0.0 if math.isnan(delay) else delay, asks.f_back)
        return super().call_later(delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        self._pace.look()
        return super().run_in_executor(executor, func, *args)


class _WatchedSelector(selectors.DefaultSelector):
    on_register: Callable[[], None] = staticmethod(lambda: None)

    def register(self, *args: Any, **kwargs: Any) -> selectors.SelectorKey:
        self.on_register()
        return super().register(*args, **kwargs)
