"""Run the trigger of one deferred try until it fires, breaks, or would sleep; then it is parked in SQS and costs
nothing.

A trigger runs in a forked child, as a task does: one that blocks, leaks or crashes harms itself alone, and parking it
is the end of a process, without the cancellation that some triggers answer by killing what they watch.

Airflow lets a trigger start again from its arguments at any time (a triggerer that restarts does just that), but one
that were to start again at each of its sleeps might never get past the first. So the sleeps that a trigger has slept
are counted, and the next life passes through them without waiting: `await sleep(60); yield TriggerEvent(…)` fires after
a minute, wherever it runs. A trigger that looked at the world between its sleeps (a socket, a thread) is taken for a
poller after a few of them: it starts afresh, looks once, and is parked again. What a poller must not forget by that:

- How often it has looked, where an argument says how often it may (`…max_attempts`, as all of the amazon provider's
  triggers that wait have one): its next life may look as often as is left.
- What it keeps in its arguments: where `serialize` says something else than it did when the life began, the next one
  begins with that.

What else it keeps in memory, a counter or a deadline, begins anew with each life (docs/adr/0006 and 0026).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import selectors
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import FrameType
from typing import Any, Final, Self

import httpx
import structlog
from airflow.sdk.module_loading import import_string
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent

from gust.airflow_bridge import compat
from gust.airflow_bridge.supervisor import (
    GONE,
    STOP_BEFORE_LIMIT,
    Ended,
    ExecutionApiClient,
    Lease,
    TaskInstance,
    run_supervised,
)
from gust.airflow_bridge.task_log import try_logger
from gust.airflow_bridge.trigger_questions import replies_to_triggers, reply_to_question
from gust.airflow_bridge.worker_ports import WorkerPorts
from gust.aws.queues import RENEWED_EVERY
from gust.errors import StaleTaskInstance, Unopenable
from gust.model.execution_paths import PARK_TRIGGER, TRIGGER, TRIGGER_EVENT
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.workload import TriggerWorkload

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
    ports: WorkerPorts,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    hide_every: float = RENEWED_EVERY,
) -> End:
    """Run the trigger and report how it ended, or have it parked. The message is hidden again every `hide_every`
    seconds.

    Raises StaleTaskInstance where the try no longer waits for the trigger."""
    client = ExecutionApiClient(ports, workload.token)
    try:
        if workload.wake_at is not None and workload.wake_at > now() + timedelta(seconds=1):
            end: Parked | Report = _as_it_was(workload, (workload.wake_at - now()).total_seconds())
        else:
            end = _run(workload, client, hide_every)
        if isinstance(end, Parked):
            client.post(_url(PARK_TRIGGER, workload), content=json.dumps(end.to_payload(now())))
            return End.PARKED
        client.post(_url(TRIGGER_EVENT, workload), content=json.dumps(end))
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in GONE:
            raise
        raise StaleTaskInstance(f"{workload.key} does not wait for this trigger", None) from error
    finally:
        ports.sink.flush()
    return End.REPORTED


def _url(path: str, workload: TriggerWorkload) -> str:
    return path.format(task_instance_id=workload.id)


def _run(workload: TriggerWorkload, client: ExecutionApiClient, hide_every: float) -> Parked | Report:
    ports, url = client.ports, _url(TRIGGER, workload)
    definition = client.get(url).json()
    lease = Lease(
        hide=ports.hide, hide_every=hide_every, confirm=lambda: client.get(url), confirm_every=STILL_WANTED_EVERY
    )
    try:
        bundle = ports.bundles.fetch(workload.bundle_version) if workload.bundle_version else None
    except Unopenable as error:
        return {"error": str(error)}
    ti = _task_instance(workload)
    seconds = ports.seconds_before(STOP_BEFORE_LIMIT)
    pace = Pace(
        skip=workload.sleeps_passed,
        is_poller=workload.is_poller,
        end=time.monotonic() + max(0.5, seconds - 5),
        looks=workload.looks,
        place=workload.place,
    )
    ended = run_supervised(
        lambda log: _live(definition, ti, pace, log),
        kind="trigger",
        ti=ti,
        client=client,
        log=try_logger(ports.sink.of_stream(workload.log_stream), str(ti.id)),
        lease=lease,
        seconds=seconds,
        bundle=bundle,
        replies=replies_to_triggers(),
        answer=reply_to_question,
    )
    return _end(ended, workload)


def _as_it_was(workload: TriggerWorkload, delay: float) -> Parked:
    return Parked(delay, workload.sleeps_passed, workload.is_poller, workload.looks, workload.place)


def _end(ended: Ended, workload: TriggerWorkload) -> Parked | Report:
    if ended.answer is not None:
        return Parked(**ended.answer["parked"]) if "parked" in ended.answer else ended.answer
    if ended.was_stopped:
        return _as_it_was(workload, 0.0)
    return {"error": f"The trigger's process ended without a word (exit code {ended.exit_code})"}


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


# --- the child --------------------------------------------------------------------------------------------------------


def _live(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    structlog.contextvars.bind_contextvars(
        dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, try_number=ti.try_number, map_index=ti.map_index
    )
    loop = paced_loop(pace)
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(_first_of(definition, ti, pace, log))


async def _first_of(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """The trigger's report, or where it is parked. A trigger that is parked is not cancelled: the process ends."""
    loop = asyncio.get_running_loop()
    pace.parked = loop.create_future()
    pace.task = asyncio.create_task(_until_it_fires(definition, ti, pace, log))
    loop.call_later(max(0.0, pace.end - time.monotonic()), pace.park, 0.0)
    ends: list[asyncio.Future[Any]] = [pace.task, pace.parked]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if pace.task.done():
        report: dict[str, Any] = pace.task.result()
        return report
    return {"parked": asdict(pace.parked.result())}


async def _until_it_fires(definition: Mapping[str, Any], ti: TaskInstance, pace: Pace, log: Any) -> dict[str, Any]:
    """What to report. As in Airflow, the first event resumes a task, and an end without an event is an error."""
    try:
        trigger = made_trigger(definition, ti)
    except Exception as error:
        log.exception("The trigger cannot be made", classpath=definition["classpath"])
        return _broken(error)
    try:
        if template := definition.get("template"):
            compat.render_trigger(trigger, ti, template)
        pace.begin(trigger, keeps_arguments=template is not None)
        async for event in trigger.run():
            log.info("Trigger fired event", result=repr(event))
            return _fired(event)
    except Exception as error:
        log.exception("The trigger broke", classpath=definition["classpath"])
        return _broken(error)
    finally:
        with suppress(Exception):
            await asyncio.wait_for(trigger.cleanup(), CLEANUP_TIME)
    log.error("Trigger exited without sending an event. The task will be failed.", classpath=definition["classpath"])
    return {"error": "The trigger ended without an event"}


def made_trigger(definition: Mapping[str, Any], ti: TaskInstance) -> BaseTrigger:
    trigger_class = import_string(definition["classpath"])
    trigger = trigger_class(**compat.trigger_arguments(_decoded(definition["kwargs"])))
    trigger.task_instance = ti
    trigger.trigger_id = ti.id.int >> 96
    trigger.triggerer_job_id = None
    trigger.timeout_after = datetime.fromisoformat(at) if (at := definition.get("timeout_at")) else None
    return trigger


def _decoded(kwargs: dict[str, Any] | str) -> dict[str, Any]:
    """Airflow writes a trigger's arguments with serde; `start_trigger_args` come in the older encoding."""
    raw = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
    try:
        decoded = deserialize(raw)
    except (ImportError, KeyError, AttributeError, TypeError):
        decoded = compat.decoded_values(raw)
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
        """The trigger sleeps `delay` seconds at `frame`; returns the seconds it really sleeps."""
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
        """The trigger's own code sleeps zero seconds; returns the seconds it really sleeps: 0 for the first few
        times."""
        if self.trigger is None or frame.f_code.co_filename not in _files_of(type(self.trigger)):
            return 0.0
        self.tight_sleeps += 1
        return TIGHT if self.is_poller or self.tight_sleeps > FEW_SLEEPS else 0.0

    def _count(self, place: str) -> None:
        """Attempts are counted for each thing that is waited for: a trigger may wait for several, one after the
        other."""
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
        except Exception:  # a DAG author's code; a trigger without `serialize` begins with the arguments it has
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
            limit = getattr(trigger, name, None)
            if isinstance(limit, (int, str)) and str(limit).isdecimal():
                setattr(trigger, name, type(limit)(max(0, int(limit) - looks)))

    def changed(self, trigger: BaseTrigger) -> dict[str, Any] | None:
        """What `serialize` says now, where that is something else; but for how often it may look, of which the looks
        are taken off again."""
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
    """For a process that runs this trigger and nothing else: `asyncio.sleep` tells no loop of sleeps that take no
    time."""

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
        caller = sys._getframe(1)
        if caller.f_code is _SLEEP.__code__ and asyncio.current_task(self) is self._pace.task:
            delay = self._pace.sleep(0.0 if math.isnan(delay) else delay, caller.f_back)
        return super().call_later(delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        self._pace.look()
        return super().run_in_executor(executor, func, *args)


class _WatchedSelector(selectors.DefaultSelector):
    on_register: Callable[[], None] = staticmethod(lambda: None)

    def register(self, *args: Any, **kwargs: Any) -> selectors.SelectorKey:
        self.on_register()
        return super().register(*args, **kwargs)
