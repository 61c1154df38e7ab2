"""One DagRun."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from gust.model.keys import DagRunKey
from gust.model.state import FINISHED_RUN, DagRunState, DagRunTriggeredByType, DagRunType

TOLD_TO_TASKS: Final = (
    *("run_type", "state", "run_after", "logical_date", "data_interval_start", "data_interval_end", "start_date"),
    *("end_date", "conf", "note", "triggering_user_name", "partition_key", "partition_date", "clear_number"),
)
"""The fields that a task's context has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DagRun:
    """All moments are aware datetimes in UTC."""

    dag_id: str
    run_id: str
    run_type: DagRunType
    state: DagRunState
    run_after: datetime
    queued_at: datetime
    logical_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    last_scheduling_decision: datetime | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    note: str | None = None
    triggered_by: DagRunTriggeredByType | None = None
    triggering_user_name: str | None = None
    partition_key: str | None = None
    partition_date: datetime | None = None
    """The moment that the partition key stands for, if the timetable knows it."""
    backfill_id: int | None = None
    """The backfill that made the run or ran it again; its limit and order decide when the run starts."""
    backfill_ordinal: int = 0
    """The run's place in that backfill, from 1."""
    version_number: int
    """The DAG version the run was made from, 1, 2, …; unchanged to the run's end."""
    spec_key: str
    """Key of that version's `DagSpec` in the bucket."""
    bundle_version: str | None = None
    """Hash of the bundle its workers load; `None` if the DAG disables bundle versioning (then: the active one)."""
    clear_number: int = 0
    due_at: datetime | None = None
    """The earliest moment at which time alone changes something in this run; `None` if nothing waits for time."""
    calls_back: bool = False
    """The run may have callbacks that have not ended: it keeps its `due_at` although it has finished."""
    admitted_dispatches: tuple[str, ...] = ()
    """Instances that waited for the run's own limits and may now be sent (`slots.written`); some of them are sent already.
    Adding to it is conditional on the value read, so two schedulers never give the same place away twice."""
    let_go: int = 0
    """How many instances `admitted_dispatches` has ever named. A process that remembers an earlier value can tell whether
    every instance added since is still among them."""
    keeps_back: bool = False
    """Instances of the run wait for a limit, its own or another, or once did: a success may let another instance go. Never
    unset (docs/adr/0029)."""
    instance_states: dict[str, int] = field(default_factory=dict)
    """How many of its instances are in each state (`no_status`: `None`), for counts over many runs. Written when the run
    ends and after each edit of an ended run; empty while an instance may still move; meaningless before the end."""
    reason: str | None = None
    """Why the run is in its state or is not moving, in a person's words."""
    stumbles: int = 0
    """How many looks in a row failed because of the run's own content, and would fail again: see `give_up`."""
    correlation_id: str | None = None
    """Of the request that made the run, or edited it last; one of its own where no request did. The log lines about the run
    have it: see `gust.model.correlation`."""
    held_by: str | None = None
    """Id of the edit session that holds the run, or of the last one that did. Every write of the run checks it, so no
    decision is based on half of an edit or on the state before it."""
    held_until: datetime | None = None
    """When the hold expires, in case its holder died; `None` if the run is not held."""
    edit: str | None = None
    """The rest of an edit that takes longer than its request: JSON of `services/people/edit_run.py`. The run is held until
    the rest is done; after `held_until` (`None`: at once) the scheduler continues it."""

    @property
    def key(self) -> DagRunKey:
        return DagRunKey(self.dag_id, self.run_id)

    @property
    def digest(self) -> str:
        """Equal for a run whose tasks would find the same in their context. The table's own moves, such as a new `due_at`,
        do not change it."""
        told = repr([getattr(self, name) for name in TOLD_TO_TASKS])
        return sha256(told.encode(errors="surrogatepass")).hexdigest()[:16]

    @property
    def names(self) -> dict[str, Any]:
        """What a log line says of it."""
        return {"dag_id": self.dag_id, "run_id": self.run_id, "correlation_id": self.correlation_id}

    def is_held(self, now: datetime) -> bool:
        return self.edit is not None or self.is_in_hands(now)

    def is_in_hands(self, now: datetime) -> bool:
        """Whether an edit session is writing right now."""
        return self.held_until is not None and now < self.held_until

    @property
    def can_be_due(self) -> bool:
        """False for an ended run without open callbacks and without a pending edit: it waits for nothing."""
        return not self.is_finished or self.calls_back or self.edit is not None

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED_RUN
