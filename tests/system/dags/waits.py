"""Triggers and operators of the folder's own, for `deferring.py`; there is no DAG in here, though airflow looks for one."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

PAUSE = 7.0
"""Seconds. Airflow 3.3.2 fails a task that comes back from its trigger before the scheduler has noticed that its worker left
it, and a worker may linger for five seconds."""


class Countdown(BaseTrigger):
    """Counts seconds down, then does what it is told."""

    def __init__(self, seconds: float, end: str = "fire", payload: Any = None):
        super().__init__()
        self.seconds, self.end, self.payload = seconds, end, payload

    def serialize(self):
        return "waits.Countdown", {"seconds": self.seconds, "end": self.end, "payload": self.payload}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(self.seconds)
        match self.end:
            case "fire":
                yield TriggerEvent(self.payload)
            case "raise":
                raise ValueError("the countdown broke")
            case "succeed":
                yield TaskSuccessEvent(xcoms={"return_value": self.payload, "counted": self.seconds})
            case "fail":
                yield TaskFailedEvent(xcoms={"counted": self.seconds})
            case "skip":
                yield TaskSkippedEvent()
            case "nothing":
                return


class CountsDown(BaseOperator):
    """Defers once, and returns what the event said."""

    template_fields = ("payload",)

    def __init__(
        self, *, seconds: float = PAUSE, end: str = "fire", payload: Any = None, patience: float | None = None, **kw
    ):
        super().__init__(**kw)
        self.seconds, self.end, self.payload, self.patience = seconds, end, payload, patience

    def execute(self, context):
        context["ti"].xcom_push("before", context["ti"].try_number)
        timeout = timedelta(seconds=self.patience) if self.patience else None
        trigger = Countdown(self.seconds, self.end, self.payload)
        self.defer(trigger=trigger, method_name="resume", kwargs={"known": [1, 2]}, timeout=timeout)

    def resume(self, context, event=None, known=None):
        context["ti"].xcom_push("after", context["ti"].try_number)
        return {"event": event, "known": known}


class BearsFailures(CountsDown):
    """Is told when its trigger failed, and by what."""

    def resume(self, context, event=None, known=None, error=None, traceback=None):
        return {"event": event, "error": error}

    def resume_execution(self, next_method, next_kwargs, context):
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            return f"{type(error).__name__}: {error}".splitlines()[0]


class Relay(BaseOperator):
    """Defers several times, and carries what it heard."""

    def __init__(self, *, laps: int, **kw):
        super().__init__(**kw)
        self.laps = laps

    def execute(self, context, event=None, heard=()):
        heard = [*heard, *([event] if event is not None else [])]
        if len(heard) == self.laps:
            return heard
        self.defer(
            trigger=Countdown(PAUSE, payload=f"lap {len(heard) + 1}"), method_name="execute", kwargs={"heard": heard}
        )


class StartsInTrigger(BaseOperator):
    """No worker runs it before its trigger has fired."""

    start_trigger_args = StartTriggerArgs(
        trigger_cls="waits.Countdown",
        trigger_kwargs={"seconds": PAUSE, "payload": "started by the scheduler"},
        next_method="resume",
        next_kwargs={"given": "beforehand"},
        timeout=None,
    )
    start_from_trigger = True

    def execute(self, context):
        return "a worker began it"

    def resume(self, context, event=None, given=None):
        return {"event": event, "given": given}


class EndsInTrigger(StartsInTrigger):
    """No worker runs it at all."""

    start_trigger_args = StartTriggerArgs(
        trigger_cls="waits.Countdown",
        trigger_kwargs={"seconds": PAUSE, "end": "succeed", "payload": 42},
        next_method="resume",
        next_kwargs=None,
        timeout=None,
    )


class DeferringSensor(BaseSensorOperator):
    """Looks once, then defers until its `timeout`."""

    def __init__(self, *, seconds: float, **kw):
        super().__init__(**kw)
        self.seconds = seconds

    def execute(self, context):
        self.defer(trigger=Countdown(self.seconds), method_name="resume", timeout=timedelta(seconds=self.timeout))

    def resume(self, context, event=None):
        return "there"
