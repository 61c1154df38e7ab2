"""A run with its task instances, as one read saw it, and what lists and counts need of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.model.logged_event import LoggedEvent
from gust.model.state import DagRunState
from gust.model.task_instance import TaskInstance


@dataclass(frozen=True, slots=True)
class RunState:
    """A run with its instances and callbacks, as one strongly consistent read returned them. Instances without an item are
    not in it."""

    run: DagRun
    instances: Mapping[tuple[str, int], TaskInstance]
    """By (task_id, map_index)."""
    callbacks: tuple[Callback, ...] = ()


class RunSummary(NamedTuple):
    """The part of a run that counting and sorting many runs needs."""

    key: DagRunKey
    state: DagRunState
    start_date: datetime | None
    end_date: datetime | None
    instance_states: dict[str, int]


@dataclass(frozen=True, slots=True)
class LastRuns:
    """What the scheduler saw of the lane when a run failed, for a DAG that is paused after so many failures in a row."""

    running_runs: int
    """The lane's `running_runs` as the scheduler saw it; `finish_run` checks it."""
    pauses: LoggedEvent | None = None
    """Pause the DAG and store this event."""
