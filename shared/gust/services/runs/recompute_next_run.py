"""Computes a DAG's next run anew after its latest automated run was deleted, or a backfill made later ones.

Airflow's DAG processor does it whenever it parses the file, every half minute. Here the next-run fields move with each run
that is made, and only these two actions compute them again. An action that dies before this leaves the next run as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from gust.errors import StaleDag
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey
from gust.scheduling.timetable import NextRun
from gust.services.context import Services
from gust.services.runs.load_past import BY_TIMETABLE, info_of, last_automated_run
from gust.services.runs.next_run import with_next_run
from gust.services.specs import load_spec
from gust.services.wake import wake_timetable


def recompute_without(services: Services, deleted: DagRun) -> None:
    """After a run was deleted: if it was the latest one, its moment is free again, and the timetable makes it anew."""
    if deleted.run_type in BY_TIMETABLE:
        _recompute(services, deleted.dag_id, without=deleted)


def recompute_after_backfill(services: Services, dag_id: str, made: Sequence[NextRun]) -> None:
    """After a backfill made the runs: a DAG with catchup continues behind the latest of all, whatever it missed before;
    without catchup nothing changes."""
    if made:
        _recompute(services, dag_id, made=made)


def _recompute(services: Services, dag_id: str, *, without: DagRun | None = None, made: Sequence[NextRun] = ()) -> None:
    """`without` was deleted and `made` were made just now: the index may not show it yet."""
    while (dag := services.store.get_dag(dag_id)) is not None and not dag.is_stale:
        now = services.clock.now()
        spec = load_spec(services.objects, dag.spec_key)
        if made and not spec.catchup:
            return
        gone: DagRunKey | None = without.key if without else None
        last = last_automated_run(services, dag_id, partitioned=spec.timetable.partitioned, but=gone)
        if without is not None and last is not None and _date(last) > _date(info_of(without)):
            return
        last = max([*made, *([last] if last else [])], key=_date, default=None)
        after = with_next_run(services, dag, spec, last=last, now=now)
        if after == dag:
            return
        try:
            services.store.put_dag(dag, after)
        except StaleDag:
            continue
        wake_timetable(services, after, now=now)
        return


def _date(run: NextRun) -> datetime:
    return run.partition_date or run.logical_date or run.run_after
