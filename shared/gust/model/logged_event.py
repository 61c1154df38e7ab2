"""An entry of the event log: Airflow's Log."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TICK: Final = timedelta(microseconds=1)

KEPT_FOR: Final = timedelta(days=365)
"""Airflow keeps events until its operator runs `airflow db clean`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    when: datetime
    """Aware, UTC. No two events have the same moment: it is also the event's id."""
    event: str
    owner: str | None = None
    owner_display_name: str | None = None
    extra: str | None = None
    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    logical_date: datetime | None = None

    @property
    def event_log_id(self) -> int:
        """Microseconds since 1970: grows as Airflow's does, and any JSON reader holds it exactly until 2255."""
        return id_of(self.when)


def id_of(when: datetime) -> int:
    return (when - EPOCH) // TICK


def moment_of(event_log_id: int) -> datetime:
    """Raises OverflowError if the id belongs to no moment of the calendar."""
    return EPOCH + event_log_id * TICK
