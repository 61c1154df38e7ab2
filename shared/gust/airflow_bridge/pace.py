"""When a trigger that sleeps is parked, and where its next life goes on.

Airflow lets a trigger start again from its arguments at any time (a triggerer that restarts does), but a trigger that
started again at each of its sleeps might never get past the first. So the sleeps that a trigger has slept are counted,
and its next life passes through them without waiting: `await sleep(60); yield TriggerEvent(…)` fires after a minute,
wherever it runs. A trigger that polls between its sleeps (it uses a socket or a thread) counts as a poller after a few
of them: it starts afresh, polls once, and is parked again. A poller keeps this from one life to the next:

- How often it has polled, where an argument limits that (`…max_attempts`, as in all waiting triggers of the amazon
  provider): its next life may poll as often as is left.
- Its arguments: where `serialize` returns others than at the beginning of the life, the next life begins with these.

- Since when it waits for a pod to start, which an argument limits in seconds: its next life has the seconds that are left.
  Once the pod has started, each life has them all.

Everything else in memory, a counter or a deadline, begins anew with each life (docs/adr/0006 and 0026).

A poller of whose resource an event will tell polls seldom, and the polls that it leaves out count (docs/adr/0055). One
that an event has woken polls once and is parked at its next sleep, however short.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Final, Self, TypeVar

from airflow.sdk.serde import serialize
from airflow.triggers.base import BaseTrigger

T = TypeVar("T")

PARK_FROM: Final = 5.0
"""Seconds of sleep from which parking pays. Starting again costs some 100 ms of a function, waiting in place the whole
sleep."""

FEW_SLEEPS: Final = 5
"""A trigger that polls and has more sleeps than this is a poller."""

MOST_ATTEMPTS: Final = "max_attempts"
"""The end of the names of arguments that limit how often a trigger polls."""

IN_ATTRIBUTES: Final = ("attempts", "waiter_max_attempts", "max_attempts")
"""The attributes in which triggers keep such an argument."""

SINCE: Final = "trigger_start_time"
"""The argument with the moment at which a pod's trigger was made."""

IN_SECONDS: Final = ("schedule_timeout", "startup_timeout")
"""The arguments, and attributes, that limit how long a pod may wait for a node, and then for its containers. The trigger
measures from the start of its life."""

RUNS: Final = "_wait_for_container_completion"
"""The function in which the trigger sleeps while its pod runs."""

STARTED: Final = "started/"
"""The beginning of the name of the place, once the pod has run."""

TIGHT: Final = 1.0
"""Seconds that a poller sleeps at least. Some sleep for zero seconds, and would poll as fast as the processor can."""


PATIENCE: Final = 2
"""A trigger that polls seldom polls again after half of the time that it has waited. So where the event does not come, a
task waits half as long again at most."""

MOST_PATIENCE: Final = 3 * 3600.0
"""Seconds between two polls at most."""

EXTRA_LOOKS: Final = 10
"""A trigger that an event has woken may poll this much more often than its argument allows: unexpected polls fail no
task."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Where a trigger's next life goes on."""

    delay: float
    """Seconds to wait."""
    sleeps_passed: int
    is_poller: bool
    looks: int = 0
    """How often all lives together have polled and slept at `place`."""
    place: str = ""
    kwargs: dict[str, Any] | None = None
    """Its arguments, if they have changed."""
    looked_at: str | None = None
    """Of a watcher that has read all that came before this moment."""

    def to_payload(self, now: datetime) -> dict[str, Any]:
        return {
            "wake_at": (now + timedelta(seconds=self.delay)).isoformat(),
            "sleeps_passed": self.sleeps_passed,
            "is_poller": self.is_poller,
            "looks": self.looks,
            "place": self.place,
            **({} if self.kwargs is None else {"kwargs": self.kwargs}),
            **({} if self.looked_at is None else {"looked_at": self.looked_at}),
        }


def _never() -> bool:
    return False


@dataclass(slots=True)
class Pace:
    """A trigger's way through its sleeps."""

    skip: int
    """Sleeps that earlier lives have slept."""
    is_poller: bool
    end: float
    """On the monotonic clock: when to park it at the latest."""
    looks: int = 0
    """How often it has polled and slept at `place`, earlier lives included."""
    place: str = ""
    looks_seldom: bool = False
    """An event will tell of what it waits for."""
    is_woken: bool = False
    """The event has come."""
    stays: Callable[[], bool] = _never
    """Whether its next life would have to begin anew with what this one is in the middle of: it sleeps in place."""
    task: asyncio.Task[Any] | None = None
    parked: asyncio.Future[Parked] | None = None
    trigger: BaseTrigger | None = None
    arguments: Arguments | None = None
    """Its arguments at the beginning of this life."""
    sleeps: int = 0
    """Sleeps of this life so far."""
    leading: int = 0
    """Sleeps of this life before it first polled."""
    has_looked: bool = False
    tight_sleeps: int = 0

    def begin(self, trigger: BaseTrigger, *, keeps_arguments: bool = False) -> None:
        """The trigger is about to run. With `keeps_arguments` each life renders the same arguments, whatever
        `serialize` says."""
        self.trigger = trigger
        self.arguments = Arguments.of(trigger)
        if self.arguments is not None:
            self.arguments.are_kept = keeps_arguments
            self.arguments.use_up(trigger, -EXTRA_LOOKS if self.is_woken else self.looks)
            if (self.looks or self.skip) and not self.place.startswith(STARTED):
                self.arguments.use_up_time(trigger, datetime.now(tz=UTC))

    def look(self) -> None:
        """The trigger uses a socket or a thread."""
        self.has_looked = True

    def start_afresh(self) -> None:
        """A watcher fired: count the sleeps of its next life from here."""
        self.skip = self.sleeps = self.leading = 0

    def sleep(self, delay: float, frame: FrameType | None = None) -> float:
        """The trigger sleeps `delay` seconds at `frame`; returns the seconds it really sleeps."""
        self.sleeps += 1
        if not self.has_looked:
            self.leading = self.sleeps
        if self.sleeps <= self.skip or (self.is_woken and not self.has_looked):
            return 0.0
        if self.has_looked:
            has_started = self.place.startswith(STARTED) or is_called(RUNS, frame)
            self._count((STARTED if has_started else "") + place_of(frame))
        if self.stays():
            return delay
        if delay >= PARK_FROM or (self.has_looked and (self.is_woken or self.looks_seldom)):
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
        """Count a poll. A trigger may wait for several things in turn; each has a count of its own."""
        self.looks = self.looks + 1 if place == self.place else 1
        self.place = place

    def left_out(self, delay: float) -> int:
        """How many polls it leaves out: not so many that it would give up later than without events."""
        if not self.looks_seldom or self.is_woken or not self.has_looked or delay <= 0:
            return 0
        pause = min(MOST_PATIENCE, max(PARK_FROM, self.looks * delay / PATIENCE))
        most = self.arguments.limit if self.arguments else None
        left = math.inf if most is None else most - self.looks - 1
        return int(max(0, min(pause // delay - 1, left)))

    def _changed(self) -> dict[str, Any] | None:
        return self.arguments.changed(self.trigger) if self.arguments and self.trigger else None

    def park(self, delay: float) -> None:
        """End this life. The current sleep counts as slept, because the next life begins after `delay`."""
        if self.parked is None or self.parked.done():
            return
        passed = self.sleeps if delay else max(self.skip, self.sleeps - 1)
        counts = self.looks_seldom or (self.arguments is not None and self.arguments.have_limit)
        left_out = self.left_out(delay)
        is_poller = self.has_looked and (self.is_poller or counts or passed > FEW_SLEEPS)
        self.parked.set_result(
            Parked(
                delay * (1 + left_out),
                self.leading if is_poller else passed,
                is_poller,
                self.looks + left_out,
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
    def have_limit(self) -> bool:
        return any(name.endswith(MOST_ATTEMPTS) for name in self.encoded)

    @property
    def limit(self) -> int | None:
        """How often the trigger may poll in all its lives."""
        for name, value in self.encoded.items():
            if name.endswith(MOST_ATTEMPTS) and str(value).isdecimal():
                return int(value)
        return None

    def use_up(self, trigger: BaseTrigger, looks: int) -> None:
        """Reduce the trigger's limit by the polls of earlier lives."""
        if not self.have_limit:
            return
        for name in IN_ATTRIBUTES:
            limit = getattr(trigger, name, None)
            if isinstance(limit, (int, str)) and str(limit).isdecimal():
                setattr(trigger, name, type(limit)(max(0, int(limit) - looks)))

    def use_up_time(self, trigger: BaseTrigger, now: datetime) -> None:
        """Reduce the trigger's limits in seconds by the time since it was made: the first limit, then the next."""
        made = getattr(trigger, SINCE, None)
        if not isinstance(made, datetime) or made.tzinfo is None:
            return
        passed = (now - made).total_seconds()
        for name in IN_SECONDS:
            limit = getattr(trigger, name, None)
            if isinstance(limit, (int, float)):
                setattr(trigger, name, int(max(0.0, limit - max(0.0, passed))))
                passed -= limit

    def changed(self, trigger: BaseTrigger) -> dict[str, Any] | None:
        """The arguments that `serialize` returns now, if they differ. Limits keep their first value: each life reduces
        them."""
        now = None if self.are_kept else type(self).of(trigger)
        if now is None:
            return None
        is_limit = {name for name in self.encoded if name.endswith(MOST_ATTEMPTS) or name in IN_SECONDS}
        now.encoded |= {name: self.encoded[name] for name in is_limit}
        return now.encoded if now.encoded != self.encoded else None


def place_of(frame: FrameType | None) -> str:
    """A name for the place in the code where the trigger sleeps. In Airflow's own loop around a waiter, the waiter's
    arguments belong to the name."""
    where: list[str] = []
    while frame is not None and frame.f_code.co_filename != _LOOP:
        where.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        if frame.f_code.co_name == "async_wait":
            where.append(repr(frame.f_locals.get("args")))
        frame = frame.f_back
    return hashlib.sha256("\n".join(where).encode()).hexdigest()[:12]


def is_called(name: str, frame: FrameType | None) -> bool:
    """Whether a function of this name is among the callers that lead to `frame`, or is the frame's own."""
    while frame is not None and frame.f_code.co_filename != _LOOP:
        if frame.f_code.co_name == name:
            return True
        frame = frame.f_back
    return False


def _files_of(kind: type[BaseTrigger]) -> set[str]:
    """Files of the trigger's class and its bases."""
    modules = (sys.modules.get(base.__module__) for base in kind.__mro__ if base is not BaseTrigger)
    return {file for module in modules if (file := getattr(module, "__file__", None))}


_SLEEP: Final = asyncio.sleep
_LOOP: Final = asyncio.events.__file__


def paced_loop(pace: Pace) -> asyncio.SelectorEventLoop:
    """An event loop for a process that runs this trigger and nothing else: it replaces `asyncio.sleep`, which calls no
    loop for a sleep of zero seconds."""

    async def sleep(delay: float, result: Any = None) -> Any:
        if delay <= 0 and asyncio.current_task() is pace.task:
            delay = pace.tight_sleep(sys._getframe(1))
        return await _SLEEP(delay, result)

    vars(asyncio)["sleep"] = vars(asyncio.tasks)["sleep"] = sleep
    return _PacedLoop(pace)


async def run_until_parked(life: Coroutine[Any, Any, T], pace: Pace) -> tuple[asyncio.Task[T], asyncio.Future[Parked]]:
    """Run a life until it ends or is parked, at `pace.end` at the latest: one of the two is done. What is parked is not
    cancelled: its process ends."""
    loop = asyncio.get_running_loop()
    parked: asyncio.Future[Parked] = loop.create_future()
    task = asyncio.create_task(life)
    pace.task, pace.parked = task, parked
    loop.call_later(max(0.0, pace.end - time.monotonic()), pace.park, 0.0)
    ends: list[asyncio.Future[Any]] = [task, parked]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    return task, parked


class _PacedLoop(asyncio.SelectorEventLoop):
    """An event loop that notices when the trigger itself (not a task that it started) sleeps, and when it polls."""

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
