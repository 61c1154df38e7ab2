"""One task instance: an item of at most 1 KB, so that every transition costs one write unit."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gust.model.hitl import ParkedQuestion
from gust.model.keys import OfInstance
from gust.model.place import Limit
from gust.model.state import TaskInstanceState


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedTrigger:
    """The trigger of a deferred instance. `kwargs` is Airflow's encoding of the trigger's arguments, untouched."""

    classpath: str
    kwargs: dict[str, Any] | str
    next_method: str
    next_kwargs: dict[str, Any] | str | None = None
    timeout_at: datetime | None = None
    queue: str | None = None
    rests_until: datetime | None = None
    """It sleeps too long for a delayed message: the scheduler sends it at that moment, and it continues as the other fields
    say (see `TriggerWorkload`)."""
    sleeps_passed: int = 0
    is_poller: bool = False
    looks: int = 0
    place: str = ""
    looks_seldom: bool = False
    """An event will tell of what it waits for, so it polls seldom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInstance(OfInstance):
    """An instance without an item in the store equals `TaskInstance(key…)`: state `None`, try 0. Moments are UTC."""

    state: TaskInstanceState | None = None
    try_number: int = 0
    """Of the running or last try; 0 before the first, as in Airflow."""
    max_tries: int = 0
    """The task's retries; a person's clear adds to it."""
    dispatch_count: int = 0
    """How many times the instance was sent to a worker. Fences: a message or report of an earlier dispatch is stale,
    also where the try is the same (reschedule, resuming from a trigger)."""
    times_requeued: int = 0
    """How often it was sent again because no worker had started it; 0 again once a worker starts it."""
    is_try_kept: bool = False
    """The instance was cleared: its last try is in the history already, and no other has begun. A move before the next try
    begins adds nothing to the history."""
    scheduled_at: datetime | None = None
    queued_at: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    heartbeat_at: datetime | None = None
    due_at: datetime | None = None
    """When a waiting state is left (retry, reschedule, trigger timeout)."""
    hostname: str | None = None
    """The worker's own log stream. With start and end it locates the try's log, unless `log_stream` is set."""
    log_stream: str | None = None
    """Of a try that continues after it released its worker: the stream in which its log began and continues."""
    pid: int | None = None
    operator: str | None = None
    version_number: int | None = None
    """DAG version of the try, if it differs from its run's (cleared onto a newer one)."""
    xcom_lengths: dict[str, int] = field(default_factory=dict)
    """XCom key → length of its value, if a downstream task maps over it."""
    pushed_keys: tuple[str, ...] = ()
    """XCom keys pushed with a value other than None, kept if a downstream task maps over this (mapped) task."""
    map_length: int | None = None
    """How many instances its task had when this one was made, unless the DAG file alone gives the number. One instance
    speaks for all; a later length of the mapped value counts only when one of the instances moves on."""
    is_deleted: bool = False
    """Of an instance without a state: an API user deleted it. A finished run hides it; any other run runs it again."""
    stopped_others: bool = False
    """Of a failed instance in a DAG with fail_fast: the others have been ended because of it, or need not be."""
    skip_decision: dict[str, Any] = field(default_factory=dict)
    """The decision of a branch or short circuit, as in its XCom `skipmixin_key`: `{"followed": […]}` of the tasks directly
    downstream, or `{"skipped": […]}`. It stays in force for them, also after a clear."""
    rendered_map_index: str | None = None
    rendered_fields: dict[str, Any] = field(default_factory=dict)
    """Short ones that came with the report of a dispatch's end; all others are stored beside the instance."""
    rendered_by: int = 0
    """The `dispatch_count` of that dispatch. 0: no report brought any."""
    trigger: ParkedTrigger | None = None
    """Set while deferred; the resumed try gets its `next_method` and `next_kwargs`."""
    next_method: str | None = None
    """The method that the resumed try calls; set while it awaits input, and from its resumption on."""
    next_kwargs: dict[str, Any] | str | None = None
    question: ParkedQuestion | None = None
    """Set while it awaits input, if it has asked a question."""
    reschedule_count: int = 0
    first_start_date: datetime | None = None
    """Start of the try before its first reschedule: sensors count their timeout from it."""
    retry_delay_override: float | None = None
    """Seconds, from a retry policy, for this try only."""
    blocked_by_limit: str | None = None
    """While scheduled: the limit that it waits for (`model.pool`), `RUN_LIMIT` for a limit of its run. `None`: it may be
    sent or was sent."""
    waiting_order: str | None = None
    """Its place in the line of a limit across runs; sorts as text."""
    holds: dict[str, int] = field(default_factory=dict)
    """Slots it holds, by limit. The transition that ends its claim gives them back in the same write."""
    holds_pool_deferred: bool = False
    """Its pool counts it also while it is deferred."""
    reason: str | None = None
    """Why it is in its state, in a person's words; the API shows it."""
    outgrew: Limit | None = None
    """The limit of Lambda that ended an earlier try. The next tries run on Fargate, if the stack has it."""
    note: str | None = None

    @property
    def last_heard_of(self) -> datetime:
        """The last sign of its worker: start, heartbeat or end."""
        signs = [sign for sign in (self.start_date, self.heartbeat_at, self.end_date) if sign is not None]
        return max(signs, default=datetime.min.replace(tzinfo=UTC))

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; `None` while either is missing."""
        if self.start_date is None or self.end_date is None:
            return None
        return (self.end_date - self.start_date).total_seconds()
