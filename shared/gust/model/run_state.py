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
    """A run's partition as one strongly consistent read saw it. Instances that have no item are not in it."""

    run: DagRun
    instances: Mapping[tuple[str, int], TaskInstance]
    """By (task_id, map_index)."""
    callbacks: tuple[Callback, ...] = ()


class RunSummary(NamedTuple):
    """As much of a run as who counts or sorts many of them needs."""

    key: DagRunKey
    state: DagRunState
    start_date: datetime | None
    end_date: datetime | None
    instance_states: dict[str, int]


@dataclass(frozen=True, slots=True)
class LastRuns:
    """What was seen of a DAG's last runs when one of them failed, for a DAG that is paused after so many."""

    running_runs: int
    """Of the DAG, or of the run's backfill: as many must still be running when the run ends."""
    pauses: LoggedEvent | None = None
    """The DAG is paused, and this is kept of it."""
