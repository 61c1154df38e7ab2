"""load → decide → send → commit → perform, and the state after a crash in between."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gust.errors import Conflict, NotFound, ServiceUnavailable
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.pool import DEFAULT_POOL, RUN_LIMIT, Pool
from gust.model.state import DagRunState, DagRunType, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger
from gust.model.workload import TaskWorkload, WakeRun
from gust.scheduling import transition
from gust.scheduling.transition import Transition
from gust.services.people.clear_task_instances import clear_dag_run
from gust.services.people.pause_dag import set_paused
from gust.services.scheduler.advance import advance
from gust.services.scheduler.explain import explain
from gust.services.scheduler.tick import tick
from gust.services.worker.report_trigger import park
from gust.services.worker.start_task_instance import start_task_instance
from gust.store.memory import MemoryStore
from tests.world import QUEUED, RUNNING, SUCCESS, World, chain


def test_a_run_goes_from_its_first_task_to_its_end(world: World) -> None:
    world.given_dag(chain("extract", "load"))
    run = world.trigger()

    assert world.advance(run).state is RUNNING
    assert world.state(run, "extract") is S.QUEUED
    world.succeed(run, "extract")
    world.advance(run)
    assert world.state(run, "load") is S.QUEUED
    world.succeed(run, "load")

    assert world.advance(run).state is SUCCESS
    assert [sent.task_id for sent in world.queues.tasks] == ["extract", "load"]
    assert world.dag().running_runs == 0


def test_looking_again_sends_nothing_again(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    for _ in range(3):
        world.advance(run)
    assert len(world.queues.tasks) == 1


def test_what_sqs_refuses_stays_scheduled_and_is_sent_by_the_next_look(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.queues.refuses = lambda _: True
    world.advance(run)
    assert world.state(run, "extract") is S.SCHEDULED
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["r"]

    world.queues.refuses = lambda _: False
    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED
    assert len(world.queues.tasks) == 1


def test_a_scheduler_that_dies_before_sqs_answers_is_made_good_by_the_repeated_record(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()

    def die(_: TaskWorkload) -> bool:
        raise ServiceUnavailable("killed before SQS answered")

    world.queues.refuses = die
    with pytest.raises(ServiceUnavailable):
        world.advance(run)
    assert world.state(run, "extract") is None

    world.queues.refuses = lambda _: False
    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED


def test_a_scheduler_that_dies_after_sending_sends_anew(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    dies_after_sending(world, run)
    assert world.state(run, "extract") is None

    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED
    assert [(sent.try_number, sent.dispatch_count) for sent in world.queues.tasks] == [(1, 1), (1, 1)]
    assert [starts(world, sent) for sent in world.queues.tasks] == [False, True]


def starts(world: World, message: TaskWorkload) -> bool:
    """A worker takes the message."""
    now = world.clock.now()
    caller = world.services.tokens.dispatch_of(message.token, now=now)
    try:
        start_task_instance(world.services, caller, hostname=f"worker of {caller.scheduled_at}", pid=1, at=now)
    except (Conflict, NotFound):
        return False
    return True


def dies_after_sending(world: World, run: DagRunKey) -> None:
    move_all = world.store.move_all

    def die(transitions: list[Transition]) -> list[Transition]:
        if transitions:
            raise ServiceUnavailable("killed before the first write")
        return []

    world.store.move_all = die  # type: ignore[method-assign, assignment]
    with pytest.raises(ServiceUnavailable):
        world.advance(run)
    world.store.move_all = move_all  # type: ignore[method-assign]
    world.pass_time(seconds=1)


def test_a_message_that_nothing_was_written_of_starts_none_that_waits_for_room(world: World) -> None:
    """The next decision lets others go first, and has this one wait under the same numbers."""
    urgent = {"upstream_task_ids": ("second",), "priority_weight": 10}
    tasks = {
        "first": TaskSpec(task_id="first", downstream_task_ids=("later",)),
        "later": TaskSpec(task_id="later", upstream_task_ids=("first",)),
        "second": TaskSpec(task_id="second", downstream_task_ids=("urgent", "too")),
        "urgent": TaskSpec(task_id="urgent", **urgent),
        "too": TaskSpec(task_id="too", **urgent),
    }
    world.given_dag(chain(tasks=tasks, max_active_tasks=2))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "first")
    dies_after_sending(world, run)
    world.succeed(run, "second")
    world.advance(run)
    waiting = world.store.get_instance(run.task_instance("later"))
    assert waiting is not None
    assert (waiting.state, waiting.blocked_by_limit) == (S.SCHEDULED, RUN_LIMIT)
    started = {sent.task_id: starts(world, sent) for sent in world.queues.tasks[2:]}
    assert started == {"later": False, "urgent": True, "too": True}


def test_a_message_that_nothing_was_written_of_takes_no_slot(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    dies_after_sending(world, run)
    world.store.put_pool(None, Pool(name=DEFAULT_POOL, slots=0))
    world.advance(run)
    assert [starts(world, sent) for sent in world.queues.tasks] == [False]
    assert world.state(run, "extract") is S.SCHEDULED


def test_a_message_that_nothing_was_written_of_runs_no_older_version(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    dies_after_sending(world, run)
    world.objects.put("specs/v2.json", chain("extract", relative_fileloc="v2.py").model_dump_json().encode())
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, version_number=2, spec_key="specs/v2.json", bundle_version="b2"))
    clear_dag_run(world.services, run, on_latest_version=True)
    world.advance(run)
    assert [(sent.bundle_version, starts(world, sent)) for sent in world.queues.tasks] == [("b1", False), ("b2", True)]


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_written_late_is_sent_again(world: World, fails: bool) -> None:
    """Its worker may have given up waiting for the write; also where another write of the step failed in the end."""
    world.given_dag(chain("extract"))
    run = world.trigger()
    move_all = world.store.move_all

    def slowly(transitions: list[Transition]) -> list[Transition]:
        if not world.queues.tasks:
            return move_all(transitions)
        world.clock.advance(3)
        stale = move_all(transitions)
        if fails and transitions[0].edge == "schedule":
            raise ServiceUnavailable("throttled")
        return stale

    world.store.move_all = slowly  # type: ignore[method-assign, assignment]
    with pytest.raises(ServiceUnavailable) if fails else nullcontext():
        world.advance(run)
    world.store.move_all = move_all  # type: ignore[method-assign]
    assert world.state(run, "extract") is S.SCHEDULED
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["r"]

    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED
    assert [starts(world, sent) for sent in world.queues.tasks] == [False, True]


def test_a_worker_that_is_faster_than_the_mark_keeps_its_start(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.queues.refuses = lambda _: True
    world.advance(run)
    assert world.state(run, "extract") is S.SCHEDULED

    def start_at_once(workload: TaskWorkload) -> bool:
        scheduled = world.store.get_instance(workload.key)
        assert scheduled is not None
        world.store.move(transition.start(scheduled, at=world.clock.now(), hostname="worker", pid=1))
        return False

    world.queues.refuses = start_at_once
    world.advance(run)
    assert world.state(run, "extract") is S.RUNNING


def test_losing_a_race_means_deciding_again(world: World) -> None:
    """Somebody moves the instance between load and commit: nothing follows from what was decided on the old state. Its
    message is out already, and starts nothing."""
    world.given_dag(chain("extract", "load"))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "extract")
    moved_all = world.store.move_all
    raced: list[str] = []

    def somebody_is_first(transitions: list[Transition]) -> list[Transition]:
        if not raced and transitions:
            raced.append(transitions[0].before.task_id)
            world.store.move(transition.skip(transitions[0].before, at=world.clock.now(), reason="a person skipped it"))
        return moved_all(transitions)

    world.store.move_all = somebody_is_first  # type: ignore[method-assign, assignment]
    finished = world.advance(run)
    assert raced == ["load"]
    assert world.state(run, "load") is S.SKIPPED
    assert finished.state is SUCCESS
    assert [sent.task_id for sent in world.queues.tasks] == ["extract", "load"]
    with pytest.raises(Conflict):
        start_task_instance(
            world.services,
            Dispatch(run.task_instance("load"), 1, 1),
            hostname="worker",
            pid=1,
            at=world.clock.now(),
        )


def test_a_retry_is_woken_at_its_exact_second(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.advance(run)
    due = world.clock.now() + timedelta(seconds=20)
    world.work(run, "extract", lambda ti: transition.retry(ti, at=world.clock.now(), due_at=due))
    world.advance(run)
    assert (WakeRun(dag_id="etl", run_id="r", at=due, is_timer=True), 20.0) in world.queues.wakes

    world.pass_time(seconds=20)
    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED
    assert [sent.try_number for sent in world.queues.tasks] == [1, 2]


def test_runs_beyond_max_active_runs_wait_their_turn(world: World) -> None:
    world.given_dag(chain("extract", max_active_runs=1))
    first, second = world.trigger("first"), world.trigger("second")
    assert world.advance(first).state is RUNNING
    assert world.advance(second).state is QUEUED
    world.succeed(first, "extract")
    assert world.advance(first).state is SUCCESS
    woken = [wake for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)]
    assert [wake.run_id for wake in woken] == ["second"]
    assert world.advance(second).state is RUNNING


def test_runs_start_in_order_also_where_the_first_one_is_heard_of_last(world: World) -> None:
    world.given_dag(chain("extract", max_active_runs=1))
    first, second = world.trigger("first"), world.trigger("second")
    assert world.advance(second).state is QUEUED
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["first"]
    assert world.advance(first).state is RUNNING


def test_a_run_does_not_wait_for_one_that_is_for_later(world: World) -> None:
    world.given_dag(chain("extract", max_active_runs=1))
    world.trigger("a-first-by-name", run_after=world.clock.now() + timedelta(hours=1))
    assert world.advance(world.trigger("now")).state is RUNNING


def test_a_run_for_later_waits_for_its_run_after(world: World) -> None:
    world.given_dag(chain("extract"))
    later = world.clock.now() + timedelta(seconds=90)
    run = world.trigger(run_after=later)
    assert world.advance(run).state is QUEUED
    assert world.queues.wakes == [], "the tick will see it"

    world.pass_time(seconds=60)
    assert tick(world.services) == 1
    assert world.queues.wakes == [(WakeRun(dag_id="etl", run_id="r", at=later, is_timer=True), 30.0)]
    world.pass_time(seconds=30)
    assert world.advance(run).state is RUNNING


def test_nothing_runs_before_the_logical_date(world: World) -> None:
    """Airflow starts the run and says "Logical date is in future" until it comes (`_schedule_dag_run`)."""
    world.given_dag(chain("extract"))
    date = world.clock.now() + timedelta(seconds=150)
    run = world.trigger(logical_date=date)
    assert world.advance(run).state is RUNNING
    assert (world.state(run, "extract"), world.queues.tasks) == (None, [])
    [objection] = explain(world.services, run, "extract", -1)
    assert "logical date is in the future" in objection.reason

    world.pass_time(seconds=100)
    assert world.advance(run).due_at == date
    world.queues.wakes.clear()
    tick(world.services)
    assert world.queues.wakes == [(WakeRun(dag_id="etl", run_id="r", at=date, is_timer=True), 50.0)]
    world.pass_time(seconds=50)
    world.advance(run)
    assert world.state(run, "extract") is S.QUEUED


def test_a_paused_dag_stands_still(world: World) -> None:
    world.given_dag(chain("extract"), is_paused=True)
    run = world.trigger()
    assert world.advance(run).state is QUEUED
    assert world.queues.tasks == []


class TestPausedWhileItRuns:
    """Airflow's `_update_dag_run_state_for_paused_dags`: nothing is sent any more, what has ended has its consequences."""

    def given(self, world: World, *task_ids: str, **fields: object) -> DagRunKey:
        world.given_dag(chain(*task_ids, **fields))
        run = world.trigger()
        world.advance(run)
        set_paused(world.services, "etl", True)
        world.queues.tasks.clear()
        return run

    def test_the_last_task_ends_the_run(self, world: World) -> None:
        run = self.given(world, "extract")
        world.succeed(run, "extract")
        ended = world.advance(run)
        assert (ended.state, ended.end_date) == (SUCCESS, world.clock.now())

    def test_what_follows_from_a_failure_is_settled_and_the_run_over(self, world: World) -> None:
        run = self.given(world, "extract", "load")
        world.work(run, "extract", lambda instance: transition.fail(instance, at=world.clock.now()))
        assert world.advance(run).state is DagRunState.FAILED
        assert world.state(run, "load") is S.UPSTREAM_FAILED

    def test_what_may_go_waits_until_the_dag_is_unpaused(self, world: World) -> None:
        run = self.given(world, "extract", "load")
        world.succeed(run, "extract")
        assert world.advance(run).state is RUNNING
        assert (world.state(run, "load"), world.queues.tasks) == (None, [])
        set_paused(world.services, "etl", False)
        world.advance(run)
        assert world.state(run, "load") is S.QUEUED

    def test_empty_tasks_wait_too(self, world: World) -> None:
        spec = chain("extract", "end")
        end = spec.tasks["end"].model_copy(update={"is_empty": True})
        run = self.given(world, "extract", "end", tasks={**spec.tasks, "end": end})
        world.succeed(run, "extract")
        assert world.advance(run).state is RUNNING
        assert world.state(run, "end") is None

    def test_the_runs_timeout_waits_too(self, world: World) -> None:
        run = self.given(world, "extract", "load", dagrun_timeout=60.0)
        world.pass_time(seconds=61)
        assert world.advance(run).state is RUNNING
        set_paused(world.services, "etl", False)
        assert world.advance(run).state is DagRunState.FAILED

    def test_a_task_that_defers_has_its_trigger_run(self, world: World) -> None:
        run = self.given(world, "extract")
        trigger = ParkedTrigger(classpath="my.Trigger", kwargs={}, next_method="resume")
        world.work(run, "extract", lambda instance: transition.defer(instance, trigger=trigger))
        world.advance(run)
        assert len(world.queues.triggers) == 1
        world.advance(run)
        assert len(world.queues.triggers) == 1, "once"

    def test_looking_again_sends_nothing_and_moves_nothing(self, world: World) -> None:
        run = self.given(world, "extract", "load")
        world.succeed(run, "extract")
        before = world.advance(run)
        world.queues.wakes.clear()
        assert world.advance(run) == before
        assert (world.queues.wakes, world.queues.tasks) == ([], [])


def test_a_run_that_is_not_there_is_no_error(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    advance(world.services, type(run)("etl", "another"))


def test_a_task_that_depends_on_the_past_waits_for_the_run_before(world: World) -> None:
    spec = chain("extract")
    extract = spec.tasks["extract"].model_copy(update={"depends_on_past": True})
    world.given_dag(spec.model_copy(update={"tasks": {"extract": extract}}))
    now = world.clock.now()
    first = world.trigger("first", logical_date=now - timedelta(days=1))
    second = world.trigger("second", logical_date=now)
    world.advance(first)
    world.advance(second)
    assert (world.state(first, "extract"), world.state(second, "extract")) == (S.QUEUED, None)

    world.queues.wakes.clear()
    world.succeed(first, "extract")
    world.advance(first)
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == ["second"]
    world.advance(second)
    assert world.state(second, "extract") is S.QUEUED


class LateIndex:
    """A store whose index still shows the runs that are queued no more."""

    def __init__(self, store: MemoryStore, shown: list[DagRunKey]) -> None:
        self._store = store
        self._shown = shown

    def queued_runs(self, dag_id: str, *, limit: int) -> list[DagRunKey]:
        now = self._store.queued_runs(dag_id, limit=1000)
        return [*(key for key in self._shown if key not in now), *now][:limit]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_free_place_is_not_given_to_a_run_that_started_a_moment_ago(world: World) -> None:
    """The index `by_state` lags: the place would stay empty until another run ends."""
    world.given_dag(chain("extract", max_active_runs=2))
    first, second, third, fourth = [world.trigger(f"r{n}") for n in range(4)]
    for run in (first, second):
        world.advance(run)
    world.succeed(first, "extract")
    world.advance(first)
    world.advance(third)
    world.succeed(second, "extract")
    world.queues.wakes.clear()
    advance(replace(world.services, store=LateIndex(world.store, [third])), second)
    assert [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)] == [fourth.run_id]


def test_with_catchup_a_persons_run_does_not_stand_between_two_of_the_timetable(world: World) -> None:
    """The later one looks back at the timetable's run and not at the person's: it is told when that has moved."""
    spec = chain("extract", catchup=True)
    extract = spec.tasks["extract"].model_copy(update={"depends_on_past": True})
    world.given_dag(spec.model_copy(update={"tasks": {"extract": extract}}))
    now = world.clock.now()
    dated = [
        world.trigger(
            run_id,
            logical_date=now + timedelta(days=day),
            run_after=now,
            run_type=DagRunType(run_id.partition("__")[0]),
        )
        for day, run_id in enumerate(("scheduled__1", "manual__2", "scheduled__3", "scheduled__4"))
    ]
    for run in dated:
        world.advance(run)
    world.queues.wakes.clear()
    world.succeed(dated[0], "extract")
    world.advance(dated[0])
    told = [wake.run_id for wake, _ in world.queues.wakes if isinstance(wake, WakeRun)]
    assert told == ["manual__2", "scheduled__3"]


def test_the_past_of_a_run_is_not_looked_for_in_its_whole_history(world: World) -> None:
    """Nor who comes after it: of a hundred finished runs on either side, the next ones are read."""
    spec = chain("extract")
    extract = spec.tasks["extract"].model_copy(update={"depends_on_past": True})
    world.given_dag(spec.model_copy(update={"tasks": {"extract": extract}}))
    now = world.clock.now()
    middle = world.trigger("middle", logical_date=now)
    for day in [*range(-100, 0), *range(1, 101)]:
        finished = replace(world.run(middle), run_id=f"r{day}", logical_date=now + timedelta(days=day), state=SUCCESS)
        world.store.create_run(finished)
    read: list[str] = []
    world.services = replace(world.services, store=Reading(world.store, read))
    advance(world.services, middle)
    assert read == ["r-1", "r1"]


class Reading:
    """A store that notes which runs beside a run are read, and has no list of them all."""

    def __init__(self, store: MemoryStore, read: list[str]) -> None:
        self._store = store
        self._read = read

    def runs_before(self, dag_id: str, logical_date: datetime | None) -> Iterator[DagRun]:
        return self._noted(self._store.runs_before(dag_id, logical_date))

    def runs_after(self, dag_id: str, logical_date: datetime) -> Iterator[DagRun]:
        return self._noted(self._store.runs_after(dag_id, logical_date))

    def _noted(self, runs: Iterator[DagRun]) -> Iterator[DagRun]:
        for run in runs:
            self._read.append(run.run_id)
            yield run

    def __getattr__(self, name: str) -> Any:
        if name == "list_runs":
            raise AssertionError("the whole history is read")
        return getattr(self._store, name)


class TestWithoutBundleVersioning:
    """A run goes on with what the DAG's file says now (Airflow's `_verify_integrity_if_dag_changed`)."""

    def edit(self, world: World, *task_ids: str) -> None:
        spec = chain(*task_ids, disable_bundle_versioning=True)
        key = f"specs/edited-{'-'.join(task_ids)}.json"
        world.objects.put(key, spec.model_dump_json().encode())
        dag = world.dag()
        world.store.put_dag(dag, replace(dag, spec_key=key, version_number=dag.version_number + 1))

    def given(self, world: World, *task_ids: str) -> DagRunKey:
        world.given_dag(chain(*task_ids, disable_bundle_versioning=True))
        run = world.trigger()
        world.advance(run)
        world.succeed(run, task_ids[0])
        return run

    def test_new_tasks_run_and_those_that_are_gone_are_removed(self, world: World) -> None:
        run = self.given(world, "extract", "load")
        world.advance(run)
        assert world.state(run, "load") is S.QUEUED
        self.edit(world, "extract", "transform")
        assert world.advance(run).version_number == 2
        assert (world.state(run, "load"), world.state(run, "transform")) == (S.REMOVED, S.QUEUED)
        extract = world.store.get_instance(run.task_instance("extract"))
        assert extract is not None
        assert (extract.state, extract.version_number) == (S.SUCCESS, 1), "what has ended stays what it was"
        world.succeed(run, "transform")
        assert world.advance(run).state is SUCCESS

    def test_what_comes_back_runs(self, world: World) -> None:
        run = self.given(world, "extract", "load")
        world.advance(run)
        self.edit(world, "extract", "transform")
        world.advance(run)
        self.edit(world, "extract", "load")
        world.advance(run)
        assert (world.state(run, "load"), world.state(run, "transform")) == (S.QUEUED, S.REMOVED)

    def test_a_run_that_is_pinned_to_its_bundle_goes_on_as_it_was(self, world: World) -> None:
        world.given_dag(chain("extract", "load"))
        run = world.trigger()
        world.advance(run)
        self.edit(world, "extract", "transform")
        world.succeed(run, "extract")
        assert world.advance(run).version_number == 1
        assert world.state(run, "load") is S.QUEUED


def test_without_bundle_versioning_the_newest_files_run(world: World) -> None:
    world.given_dag(chain("extract", disable_bundle_versioning=True))
    run = world.trigger()
    dag = world.dag()
    world.store.put_dag(dag, replace(dag, bundle_version="b2"))
    world.advance(run)
    assert [sent.bundle_version for sent in world.queues.tasks] == ["b2"]

    waits = ParkedTrigger(classpath="plugins.of_the_folder.Trigger", kwargs={}, next_method="go")
    world.work(run, "extract", lambda instance: transition.defer(instance, trigger=waits))
    world.advance(run)
    deferred = world.store.get_instance(run.task_instance("extract"))
    assert deferred is not None
    park(world.services, Dispatch.of(deferred), wake_at=world.clock.now(), sleeps_passed=1, is_poller=False)
    assert [sent.bundle_version for sent, _ in world.queues.triggers] == ["b2", "b2"]


def test_the_runs_of_a_dag_without_a_file_stand_still(world: World) -> None:
    """As in Airflow, whose scheduler examines no run of a stale DAG."""
    world.given_dag(chain("extract", "load", max_active_runs=1))
    run = world.trigger()
    world.advance(run)
    waiting = world.trigger("waiting")
    world.store.put_dag(world.dag(), replace(world.dag(), is_stale=True))
    world.succeed(run, "extract")
    world.pass_time(minutes=2)
    world.advance(run)
    assert world.state(run, "load") is None
    assert world.run(run).due_at > world.clock.now()
    world.advance(waiting)
    assert world.run(waiting).state is QUEUED
    world.store.put_dag(world.dag(), replace(world.dag(), is_stale=False))
    world.advance(run)
    assert world.state(run, "load") is S.QUEUED


def side_by_side(count: int) -> DagSpec:
    tasks = {f"part_{n:03d}": TaskSpec(task_id=f"part_{n:03d}") for n in range(count)}
    return chain(tasks=tasks, max_active_tasks=1_000)


def test_the_first_of_many_are_written_before_all_are_sent(world: World) -> None:
    world.given_dag(side_by_side(60))
    run = world.trigger()
    written_when_sent: list[int] = []

    def note(_: TaskWorkload) -> bool:
        state = world.store.load_run(run)
        assert state is not None
        written_when_sent.append(len(state.instances))
        return False

    world.queues.refuses = note
    world.advance(run)

    assert written_when_sent == [0] * 10 + [10] * 20 + [30] * 30
    assert len({sent.task_id for sent in world.queues.tasks}) == 60
    assert {world.state(run, f"part_{n:03d}") for n in range(60)} == {S.QUEUED}


def test_a_scheduler_that_dies_among_many_is_made_good_by_the_repeated_record(world: World) -> None:
    world.given_dag(side_by_side(60))
    run = world.trigger()
    sent: list[str] = []

    def die_at_the_twentieth(workload: TaskWorkload) -> bool:
        sent.append(workload.task_id)
        if len(sent) == 20:
            raise ServiceUnavailable("killed in the second step")
        return False

    world.queues.refuses = die_at_the_twentieth
    with pytest.raises(ServiceUnavailable):
        world.advance(run)

    world.queues.refuses = lambda _: False
    world.advance(run)
    assert {sent.task_id for sent in world.queues.tasks} == {f"part_{n:03d}" for n in range(60)}
    assert {world.state(run, f"part_{n:03d}") for n in range(60)} == {S.QUEUED}
    assert world.run(run).due_at is not None


def test_what_the_many_follow_from_is_written_before_the_first_is_sent(world: World) -> None:
    spec = side_by_side(30)
    branch = TaskSpec(task_id="aside", downstream_task_ids=tuple(spec.tasks), upstream_task_ids=("root",))
    root = TaskSpec(task_id="root", downstream_task_ids=("aside",))
    rule = {"upstream_task_ids": ("aside",), "trigger_rule": TriggerRule.ALL_DONE}
    others = {task_id: task.model_copy(update=rule) for task_id, task in spec.tasks.items()}
    world.given_dag(spec.model_copy(update={"tasks": {"root": root, "aside": branch, **others}}))
    run = world.trigger()
    world.advance(run)
    world.work(run, "root", lambda ti: transition.fail(ti, at=world.clock.now()))
    move_all = world.store.move_all
    moved: list[list[str]] = []

    def note(transitions: list[Transition]) -> list[Transition]:
        moved.append([one.before.task_id for one in transitions])
        return move_all(transitions)

    world.store.move_all = note  # type: ignore[method-assign, assignment]
    world.advance(run)
    assert next(those for those in moved if those) == ["aside"]
    assert len(world.queues.tasks) == 31


# --- what no worker takes ---------------------------------------------------------------------------------------------


def test_a_message_that_no_worker_takes_is_given_up_after_three_times_as_in_airflow(world: World) -> None:
    spec = chain("extract")
    world.given_dag(
        spec.model_copy(update={"tasks": {"extract": spec.tasks["extract"].model_copy(update={"retries": 3})}})
    )
    run = world.trigger()
    world.advance(run)
    for times in (1, 2):
        world.clock.advance(600)
        world.advance(run)
        assert world.state(run, "extract") is S.QUEUED
        assert len(world.queues.tasks) == 1 + times
    world.clock.advance(600)
    assert world.advance(run).state is DagRunState.FAILED
    given_up = world.store.get_instance(run.task_instance("extract"))
    assert given_up is not None
    assert (given_up.state, given_up.try_number) == (S.FAILED, 1)
    assert given_up.reason == "Task was requeued more than 2 times and will be failed."


def test_what_waits_for_a_free_worker_is_never_given_up(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.queues.is_busy = True
    world.advance(run)
    for _ in range(6):
        world.clock.advance(600)
        world.advance(run)
    assert world.state(run, "extract") is S.QUEUED
    assert len(world.queues.tasks) == 7


def test_a_worker_that_begins_ends_the_count(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.advance(run)
    world.clock.advance(600)
    world.advance(run)
    again = world.store.get_instance(run.task_instance("extract"))
    assert again is not None
    assert again.times_requeued == 1
    assert transition.start(again, at=world.clock.now()).after.times_requeued == 0
