"""One task instance: an item of at most 1 KB, so that every transition costs one write unit."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gust.model.hitl import ParkedQuestion
from gust.model.keys import UNMAPPED, TaskInstanceKey
from gust.model.state import TaskInstanceState


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedTrigger:
    """What a deferred instance waits for. `kwargs` is Airflow's encoding of the trigger's arguments, untouched."""

    classpath: str
    kwargs: dict[str, Any] | str
    next_method: str
    next_kwargs: dict[str, Any] | str | None = None
    timeout_at: datetime | None = None
    queue: str | None = None
    rests_until: datetime | None = None
    """It sleeps for so long that no message waits with it: the scheduler sends it then, to go on as the rest says (see
    `TriggerWorkload`)."""
    sleeps_passed: int = 0
    is_poller: bool = False
    looks: int = 0
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInstance:
    """An instance without an item in the store equals `TaskInstance(key…)`: state `None`, try 0. Moments are UTC."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = UNMAPPED
    state: TaskInstanceState | None = None
    try_number: int = 0
    """Of the try that runs or ran last; 0 before the first, as in Airflow."""
    max_tries: int = 0
    """The task's retries; a person's clear adds to it."""
    dispatch_count: int = 0
    """How many times the instance was sent to a worker. Fences: a message or report of an earlier dispatch is stale,
    also where the try is the same (reschedule, resuming from a trigger)."""
    times_requeued: int = 0
    """How often it was sent again because no worker had started it; none since one did."""
    is_try_kept: bool = False
    """The try of that number is in the history already, and no other has begun: it was cleared. Whatever becomes of the
    instance until the next one begins is no try."""
    scheduled_at: datetime | None = None
    queued_at: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    heartbeat_at: datetime | None = None
    due_at: datetime | None = None
    """When a waiting state is left (retry, reschedule, trigger timeout)."""
    hostname: str | None = None
    """The worker's own log stream: with start and end it tells where the try's log lies, unless `log_stream` does."""
    log_stream: str | None = None
    """Of a try that goes on after it has given its worker back: the stream in which its log began, and goes on."""
    pid: int | None = None
    operator: str | None = None
    version_number: int | None = None
    """DAG version of the try, where it is not its run's (cleared onto a newer one)."""
    xcom_lengths: dict[str, int] = field(default_factory=dict)
    """Length of what was pushed, by key, where a downstream maps over it."""
    pushed_keys: tuple[str, ...] = ()
    """XCom keys pushed with a value other than None, kept where a downstream maps over this (mapped) task."""
    map_length: int | None = None
    """How many instances its task was expanded to when this one was made, where the DAG file alone does not tell: one
    of them tells of all, and later lengths of what is mapped over do not count until they are looked at again."""
    is_deleted: bool = False
    """Of one without a state: a person deleted it. A run that has finished shows it no more; any other runs it again."""
    stopped_others: bool = False
    """Of a failed one in a DAG with fail_fast: the others have been ended for it, or need not be."""
    skip_decision: dict[str, Any] = field(default_factory=dict)
    """What a branch or short circuit decided, as its XCom `skipmixin_key` says it: `{"followed": […]}` of the tasks
    directly downstream, or `{"skipped": […]}`. It holds for them whenever they are looked at, after a clear too."""
    rendered_map_index: str | None = None
    trigger: ParkedTrigger | None = None
    """Set while deferred; its `next_method` and `next_kwargs` go on with the resumed try."""
    next_method: str | None = None
    """Where the try goes on when it is resumed; set while it awaits input, and from its resumption on."""
    next_kwargs: dict[str, Any] | str | None = None
    question: ParkedQuestion | None = None
    """Set while it awaits input, if it has asked anything at all."""
    reschedule_count: int = 0
    first_start_date: datetime | None = None
    """Start of the try before its first reschedule: sensors count their timeout from it."""
    retry_delay_override: float | None = None
    """Seconds, from a retry policy, for this try only."""
    waits_for: str | None = None
    """While scheduled: the limit that it waits for (`model.pool`), `THE_RUN` where that is its run's. Without one it
    may be sent, or was."""
    waiting_order: str | None = None
    """Its place among those who wait for a limit that crosses runs; sorts as text."""
    holds: dict[str, int] = field(default_factory=dict)
    """Slots it holds, by limit: given back by the very transition that ends its claim to them."""
    holds_pool_deferred: bool = False
    """Its pool counts it while it is deferred too."""
    reason: str | None = None
    """Why it is in its state, in a person's words; the API shows it."""
    note: str | None = None

    @property
    def key(self) -> TaskInstanceKey:
        return TaskInstanceKey(self.dag_id, self.run_id, self.task_id, self.map_index)

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
