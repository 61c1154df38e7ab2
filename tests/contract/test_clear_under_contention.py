"""A clear among workers that report, a scheduler that looks and another clear: on both stores, with real threads."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.errors import Conflict, Gone, NotFound, StaleDagRun
from gust.model.dag import Dag
from gust.model.dag_spec import DagSpec, Expansion, TaskSpec, TimetableSpec
from gust.model.dispatch import Dispatch
from gust.model.state import DagRunState, DagRunTriggeredByType
from gust.model.state import TaskInstanceState as S
from gust.ports.clock import SystemClock
from gust.ports.store import Store
from gust.services.context import Services
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.runs.create_dag_run import create_dag_run
from gust.services.scheduler.advance import advance
from gust.services.worker.report_task_instance import report_lost, report_success
from gust.services.worker.start_task_instance import start_task_instance

WIDTH = 40


class NoLogs:
    def read_try(self, *_: object, **__: object) -> tuple[list[dict[str, object]], None]:
        return [], None

    def where(self, _: object) -> list[str]:
        return []


def test_nothing_is_lost_and_nothing_half_done(store: Store) -> None:
    services = given_wide_dag(store)
    run = create_dag_run(services, "wide", run_id="r", triggered_by=DagRunTriggeredByType.REST_API).key
    advance(services, run)
    said: list[tuple[int, int]] = []
    """(map_index, try_number) of every success that was accepted."""
    pids = count(1)

    def work(index: int) -> None:
        found = store.get_instance(run.task_instance("many", index))
        if found is None or found.state is not S.QUEUED:
            return
        dispatch = Dispatch.of(found)
        with suppress(Conflict, Gone, NotFound):
            start_task_instance(services, dispatch, hostname="w", pid=next(pids), at=services.clock.now())
            try:
                report_success(services, dispatch, at=services.clock.now())
                said.append((index, dispatch.try_number))
            except Gone:
                report_lost(services, dispatch, at=services.clock.now(), reason="ended")

    def look() -> None:
        with suppress(StaleDagRun):
            advance(services, run)

    def clear() -> None:
        with suppress(Conflict):
            clear_task_instances(services, [run], Clear())

    acts = [lambda index=index: work(index) for index in range(WIDTH) for _ in range(2)] + [look] * 12 + [clear] * 3
    random.Random(7).shuffle(acts)  # noqa: S311 - an order to try
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(act) for act in acts]:
            done.result()
    for _ in range(10):
        look()
        for index in range(WIDTH):
            work(index)

    ended = store.get_run(run)
    assert ended is not None
    assert (ended.state, ended.held_until) == (DagRunState.SUCCESS, None)
    dag = store.get_dag("wide")
    assert dag is not None
    assert dag.running_runs == 0
    assert len(said) == len(set(said))
    for index in range(WIDTH):
        key = run.task_instance("many", index)
        instance = store.get_instance(key)
        assert instance is not None
        tries = [*store.list_tries(key), instance]
        assert [t.try_number for t in tries] == list(range(1, instance.try_number + 1))
        # Every success that a worker was told to be accepted is there, and no other.
        assert {t.try_number for t in tries if t.state is S.SUCCESS} == {number for i, number in said if i == index}


def given_wide_dag(store: Store) -> Services:
    objects = MemoryObjects()
    task = TaskSpec(
        task_id="many",
        expansion=Expansion.model_validate(
            {"kwargs": [{"kwarg": "x", "length": {"kind": "literal", "length": WIDTH}}]}
        ),
    )
    timetable = TimetableSpec(type="airflow.timetables.simple.NullTimetable", can_be_scheduled=False)
    spec = DagSpec(dag_id="wide", timetable=timetable, max_active_tasks=1000, tasks={"many": task})
    objects.put("specs/wide.json", spec.model_dump_json().encode())
    store.put_dag(
        None,
        Dag(dag_id="wide", version_number=1, spec_key="specs/wide.json", bundle_version="b", max_active_tasks=1000),
    )
    return Services(
        store=store,
        objects=objects,
        queues=MemoryQueues(),
        tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
        clock=SystemClock(),
        logs=NoLogs(),
    )
