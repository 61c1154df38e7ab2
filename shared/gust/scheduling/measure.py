"""What a stored change is to the metrics: ends of tries and of runs.

Metrics follow the write, and the store adds them once a conditional write was accepted: a decision that another writer
overtook is not counted. A function that dies between the write and the end of its invocation loses what it would have
printed; no decision depends on a metric.
"""

from __future__ import annotations

from typing import Final

from gust.model.dag_run import DagRun
from gust.model.measurement import Measurement, Name
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.scheduling.transition import Transition

FAILED_TRY: Final = frozenset({"fail", "retry", "lose", "fail_trigger", "refuse", "time_out", "time_out_trigger"})
"""Edges that end a try as failed, whether or not another follows; as Airflow's `ti_failures`. A person who marks an
instance fails no try."""


def of_move(moved: Transition) -> list[Measurement]:
    """Empty for a move that ends no try."""
    after, dag_id = moved.after, moved.after.key.dag_id
    if moved.edge == "succeed":
        found = [Measurement("TaskInstanceSuccesses", 1, dag_id=dag_id)]
        if after.start_date is not None and after.end_date is not None:
            seconds = (after.end_date - after.start_date).total_seconds()
            found.append(Measurement("TaskInstanceDuration", seconds, "Seconds", dag_id))
        if after.start_date is not None and after.queued_at is not None:
            seconds = (after.start_date - after.queued_at).total_seconds()
            found.append(Measurement("TaskInstanceQueuedDuration", max(0.0, seconds), "Seconds", dag_id))
        return found
    if moved.edge in FAILED_TRY and after.state in {S.FAILED, S.UP_FOR_RETRY}:
        found = [Measurement("TaskInstanceFailures", 1, dag_id=dag_id)]
        if moved.edge == "lose":
            found.append(Measurement("ZombiesKilled", 1, dag_id=dag_id))
        return found
    return []


def of_finished_run(run: DagRun) -> list[Measurement]:
    """Its duration from its start; the number of values is the number of runs. Of a scheduled run, how long after its time
    it started, too."""
    if run.start_date is None or run.end_date is None:
        return []
    name: Name = "DAGDurationSuccess" if run.state is DagRunState.SUCCESS else "DAGDurationFailed"
    found = [Measurement(name, (run.end_date - run.start_date).total_seconds(), "Seconds", run.dag_id)]
    if run.run_type is DagRunType.SCHEDULED:
        late = (run.start_date - run.run_after).total_seconds()
        found.append(Measurement("DAGScheduleDelay", max(0.0, late), "Seconds", run.dag_id))
    return found
