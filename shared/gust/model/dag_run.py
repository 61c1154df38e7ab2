"""One DagRun."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gust.model.keys import DagRunKey
from gust.model.state import FINISHED_RUN, DagRunState, DagRunTriggeredByType, DagRunType


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
    """The moment that the partition key stands for, where the timetable knows it."""
    backfill_id: int | None = None
    """The backfill that made the run, or ran it again: under its limit it starts, and in its order."""
    backfill_ordinal: int = 0
    """The run's place in that backfill, from 1."""
    version_number: int
    """The DAG version the run was made from, 1, 2, …; it keeps it to its end."""
    spec_key: str
    """Where in the bucket that version's `DagSpec` lies."""
    bundle_version: str | None = None
    """Hash of the bundle its workers load; `None` where the DAG disables bundle versioning (then: the active one)."""
    clear_number: int = 0
    due_at: datetime | None = None
    """The earliest moment at which time alone changes something in this run; `None` when nothing waits for time."""
    calls_back: bool = False
    """Callbacks of the run are not known to have ended: it keeps its `due_at` although it has finished."""
    admitted: tuple[str, ...] = ()
    """Instances among those that waited for the run's own limits which may be sent now (`slots.written`), some of them
    sent already. Whoever lets more go must have seen this: so two never let the same room be used twice."""
    let_go: int = 0
    """How many instances `admitted` has ever held: who knows an earlier one knows by this whether all that were let go since
    are in it."""
    keeps_back: bool = False
    """Instances of the run wait for a limit, its own or another, or once did: a success may let another instance go. Never
    unset: see docs/adr/0029."""
    instance_states: dict[str, int] = field(default_factory=dict)
    """How many of its instances are in each state (`no_status`: `None`), for who counts many runs. Written when it ends,
    or was changed by a person afterwards; empty where something may still move, meaningless in a run that has not ended."""
    reason: str | None = None
    """Why the run is in its state or is not moving, in a person's words."""
    stumbles: int = 0
    """How often in a row a look at the run failed for what is in the run itself, and would fail again: see `give_up`."""
    held_by: str | None = None
    """The action of a person that is changing many instances of the run, or was the last to: nobody decides about half of
    it, nor by what was before it."""
    held_until: datetime | None = None
    """When the hold ends by itself, should its holder have died; `None` where nobody holds the run."""
    edit: str | None = None
    """What that action has still to do, where it is more than one request has time for: JSON of
    `services/people/edit_run.py`. The run is held until it is done; after `held_until` (`None`: at once) the scheduler
    goes on with it."""

    @property
    def key(self) -> DagRunKey:
        return DagRunKey(self.dag_id, self.run_id)

    def is_held(self, now: datetime) -> bool:
        return self.edit is not None or self.is_in_hands(now)

    def is_in_hands(self, now: datetime) -> bool:
        """Whether somebody is at it right now."""
        return self.held_until is not None and now < self.held_until

    @property
    def can_be_due(self) -> bool:
        """A run that has ended waits for nothing but its callbacks, and the rest of a person's action."""
        return not self.is_finished or self.calls_back or self.edit is not None

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED_RUN
