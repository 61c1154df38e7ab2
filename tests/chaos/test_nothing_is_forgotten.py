"""The tick finds a run again after any loss between two writes: each way to lose it, one by one.

Lost for good: a stream and a queue deliver a record again after a function's death, and drop it only after hours or many
deaths. Every run keeps its `due_at`.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from gust.errors import ServiceUnavailable, StaleDagRun
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.model.workload import WakeRun
from gust.scheduling import transition
from gust.services.scheduler.advance import advance
from gust.services.scheduler.tick import tick
from gust.services.worker import report_trigger
from gust.services.worker.start_task_instance import start_task_instance
from tests.world import QUEUED, RUNNING, SUCCESS, World, chain


@pytest.fixture
def world() -> World:
    return World()


def pass_minutes(world: World, minutes: int) -> None:
    """The clock goes on, a tick a minute; wake-ups arrive in their time. No stream: its words are lost."""
    until = world.clock.now() + timedelta(minutes=minutes)
    while world.clock.now() < until:
        world.pass_time(minutes=1)
        tick(world.services)
        now = world.clock.now()
        arrived = [wake for wake, _ in world.queues.wakes if isinstance(wake, WakeRun) and wake.at <= now]
        world.queues.wakes = [(wake, delay) for wake, delay in world.queues.wakes if wake not in arrived]
        for wake in arrived:
            advance(world.services, wake.key)


def given_retries(world: World, *task_ids: str, retries: int = 3) -> None:
    spec = chain(*task_ids)
    tasks = {name: task.model_copy(update={"retries": retries}) for name, task in spec.tasks.items()}
    world.given_dag(spec.model_copy(update={"tasks": tasks}))


def instance(world: World, key: DagRunKey, task_id: str) -> TaskInstance:
    found = world.store.get_instance(key.task_instance(task_id))
    assert found is not None
    return found


def dies(*_: object, **__: object) -> None:
    raise ServiceUnavailable("the scheduler was killed here")


class TestWhatIsLostBetweenTwoWrites:
    def test_a_new_run_whose_record_is_lost_starts(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        pass_minutes(world, 2)
        assert (world.run(run).state, world.state(run, "extract")) == (RUNNING, S.QUEUED)

    def test_a_scheduler_that_dies_after_starting_the_run(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        move_all, world.store.move_all = world.store.move_all, dies  # type: ignore[method-assign, assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(run)
        world.store.move_all = move_all  # type: ignore[method-assign]
        assert (world.run(run).state, world.state(run, "extract")) == (RUNNING, None)
        pass_minutes(world, 2)
        assert world.state(run, "extract") is S.QUEUED

    def test_a_scheduler_that_dies_before_it_has_sent(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        world.queues.refuses = dies  # type: ignore[assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(run)
        world.queues.refuses = lambda _: False
        assert world.state(run, "extract") is None
        pass_minutes(world, 2)
        assert world.state(run, "extract") is S.QUEUED
        assert len(world.queues.tasks) == 1

    def test_a_scheduler_that_dies_between_sending_and_writing_sends_twice_and_the_second_one_starts(
        self, world: World
    ) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        move_all = world.store.move_all

        def dies_at_the_write(moves: list[transition.Transition]) -> list[transition.Transition]:
            return dies() if moves else []  # type: ignore[no-any-return, func-returns-value]

        world.store.move_all = dies_at_the_write  # type: ignore[method-assign, assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(run)
        world.store.move_all = move_all  # type: ignore[method-assign]
        pass_minutes(world, 2)
        now = world.clock.now()
        first, second = (world.services.tokens.dispatch_of(sent.token, now=now) for sent in world.queues.tasks)
        assert [first.dispatch_count, second.dispatch_count] == [1, 1]
        with pytest.raises(Exception, match="was not in a state where it could be marked as running"):
            start_task_instance(world.services, first, hostname="one", pid=1, at=now)
        start_task_instance(world.services, second, hostname="another", pid=2, at=now)

    def test_a_scheduler_that_dies_between_sending_and_noting_it_sends_twice_and_one_starts(self, world: World) -> None:
        """What SQS refused at first is written before it is sent again."""
        world.given_dag(chain("extract"))
        run = world.trigger()
        world.queues.refuses = lambda _: True
        world.advance(run)
        assert world.state(run, "extract") is S.SCHEDULED
        world.queues.refuses = lambda _: False
        move_all = world.store.move_all

        def dies_at_the_note(moves: list[transition.Transition]) -> list[transition.Transition]:
            if any(move.edge == "queue" for move in moves):
                dies()
            return move_all(moves)

        world.store.move_all = dies_at_the_note  # type: ignore[method-assign, assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(run)
        world.store.move_all = move_all  # type: ignore[method-assign]
        pass_minutes(world, 2)
        assert [sent.dispatch_count for sent in world.queues.tasks] == [1, 1]
        dispatch = Dispatch(run.task_instance("extract"), 1, 1)
        start_task_instance(world.services, dispatch, hostname="one", pid=1, at=world.clock.now())
        with pytest.raises(Exception, match="was not in a state where it could be marked as running"):
            start_task_instance(world.services, dispatch, hostname="another", pid=2, at=world.clock.now())

    def test_a_message_that_is_lost_is_sent_again_and_the_first_one_is_stale(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        world.advance(run)
        pass_minutes(world, 9)
        assert len(world.queues.tasks) == 1, "it may still lie in the queue"
        pass_minutes(world, 3)
        assert [(sent.try_number, sent.dispatch_count) for sent in world.queues.tasks] == [(1, 1), (1, 2)]
        with pytest.raises(Exception, match="was not in a state"):
            start_task_instance(
                world.services, Dispatch(run.task_instance("extract"), 1, 1), hostname="w", pid=1, at=world.clock.now()
            )

    def test_a_worker_that_is_gone_costs_one_try(self, world: World) -> None:
        given_retries(world, "extract")
        run = world.trigger()
        world.advance(run)
        world.store.move(transition.start(instance(world, run, "extract"), at=world.clock.now(), hostname="w", pid=1))
        pass_minutes(world, 2)
        assert world.state(run, "extract") is S.UP_FOR_RETRY
        assert "silent for more than 0:01:00" in (instance(world, run, "extract").reason or "")
        pass_minutes(world, 6)
        assert (instance(world, run, "extract").state, instance(world, run, "extract").try_number) == (S.QUEUED, 2)
        assert [each.state for each in world.store.list_tries(run.task_instance("extract"))] == [S.FAILED]

    def test_a_report_whose_record_is_lost_is_seen(self, world: World) -> None:
        world.given_dag(chain("extract", "load"))
        run = world.trigger()
        world.advance(run)
        world.succeed(run, "extract")
        pass_minutes(world, 2)
        assert world.state(run, "load") is S.QUEUED

    def test_a_last_report_whose_record_is_lost_ends_the_run(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        world.advance(run)
        world.succeed(run, "extract")
        pass_minutes(world, 2)
        assert world.run(run).state is SUCCESS
        assert world.dag().running_runs == 0

    def test_a_scheduler_that_dies_before_it_ends_the_run(self, world: World) -> None:
        world.given_dag(chain("extract"))
        run = world.trigger()
        world.advance(run)
        world.succeed(run, "extract")
        finish_run, world.store.finish_run = world.store.finish_run, dies  # type: ignore[method-assign, assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(run)
        world.store.finish_run = finish_run  # type: ignore[method-assign]
        pass_minutes(world, 2)
        assert (world.run(run).state, world.dag().running_runs) == (SUCCESS, 0)

    def test_a_scheduler_that_dies_before_it_wakes_the_next_run(self, world: World) -> None:
        world.given_dag(chain("extract", max_active_runs=1))
        first, second = world.trigger("first"), world.trigger("second")
        world.advance(first)
        world.advance(second)
        world.succeed(first, "extract")
        wake, world.queues.wake = world.queues.wake, dies  # type: ignore[method-assign, assignment]
        with pytest.raises(ServiceUnavailable):
            world.advance(first)
        world.queues.wake = wake  # type: ignore[method-assign]
        assert (world.run(first).state, world.run(second).state) == (SUCCESS, QUEUED)
        pass_minutes(world, 62)
        # It started; no worker is there to take its task, which may have failed by now.
        assert world.run(second).start_date is not None

    def test_a_retry_whose_wake_up_is_lost_happens_at_the_next_tick(self, world: World) -> None:
        given_retries(world, "extract")
        run = world.trigger()
        world.advance(run)
        due = world.clock.now() + timedelta(seconds=20)
        world.work(run, "extract", lambda ti: transition.retry(ti, at=world.clock.now(), due_at=due))
        world.advance(run)
        world.queues.wakes.clear()
        pass_minutes(world, 1)
        assert (instance(world, run, "extract").state, instance(world, run, "extract").try_number) == (S.QUEUED, 2)

    def test_a_report_of_a_run_that_waits_for_a_far_moment_is_seen_within_minutes(self, world: World) -> None:
        spec = chain("waits")
        other = TaskSpec(task_id="works", downstream_task_ids=("follows",))
        follows = TaskSpec(task_id="follows", upstream_task_ids=("works",))
        world.given_dag(spec.model_copy(update={"tasks": {**spec.tasks, "works": other, "follows": follows}}))
        run = world.trigger()
        world.advance(run)
        tomorrow = world.clock.now() + timedelta(days=1)
        world.work(run, "waits", lambda ti: transition.reschedule(ti, at=world.clock.now(), due_at=tomorrow))
        world.store.move(transition.start(instance(world, run, "works"), at=world.clock.now(), hostname="w", pid=1))
        world.advance(run)
        world.store.move(transition.succeed(instance(world, run, "works"), at=world.clock.now()))
        pass_minutes(world, 12)
        assert world.state(run, "follows") is S.QUEUED

    def test_a_trigger_whose_message_is_lost_is_sent_again(self, world: World) -> None:
        world.given_dag(chain("waits"))
        run = world.trigger()
        world.advance(run)
        trigger = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go")
        world.work(run, "waits", lambda ti: transition.defer(ti, trigger=trigger))
        world.advance(run)
        assert len(world.queues.triggers) == 1
        pass_minutes(world, 50)
        assert len(world.queues.triggers) == 1
        pass_minutes(world, 30)
        assert len(world.queues.triggers) == 2

    def test_a_trigger_that_is_parked_again_and_again_is_not_sent_a_second_time(self, world: World) -> None:
        world.given_dag(chain("waits"))
        run = world.trigger()
        world.advance(run)
        trigger = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go")
        world.work(run, "waits", lambda ti: transition.defer(ti, trigger=trigger))
        world.advance(run)
        for _ in range(8):
            pass_minutes(world, 15)
            report_trigger.park(
                world.services,
                Dispatch.of(instance(world, run, "waits")),
                wake_at=world.clock.now() + timedelta(minutes=15),
                sleeps_passed=1,
                is_poller=True,
            )
        assert [delay for _, delay in world.queues.triggers] == [0, *[900.0] * 8]


class TestWhoStandsStill:
    def test_a_trigger_that_sleeps_for_hours_is_sent_a_second_time_only_where_it_does_not_wake(
        self, world: World
    ) -> None:
        world.given_dag(chain("waits"))
        run = world.trigger()
        world.advance(run)
        trigger = ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go")
        world.work(run, "waits", lambda ti: transition.defer(ti, trigger=trigger))
        world.advance(run)
        report_trigger.park(
            world.services,
            Dispatch.of(instance(world, run, "waits")),
            wake_at=world.clock.now() + timedelta(minutes=170),
            sleeps_passed=1,
            is_poller=True,
        )
        sent = len(world.queues.triggers)
        pass_minutes(world, 180)
        assert len(world.queues.triggers) == sent
        pass_minutes(world, 30)
        assert len(world.queues.triggers) == sent + 1

    def test_the_tick_is_not_busy_with_a_paused_dag(self, world: World) -> None:
        world.given_dag(chain("extract"), is_paused=True)
        run = world.trigger()
        pass_minutes(world, 3)
        world.queues.wakes.clear()
        for _ in range(30):
            world.pass_time(minutes=1)
            tick(world.services)
        assert world.queues.wakes == []
        assert world.run(run).state is QUEUED

    def test_a_dag_that_was_unpaused_behind_our_back_goes_on_within_the_hour(self, world: World) -> None:
        world.given_dag(chain("extract"), is_paused=True)
        run = world.trigger()
        pass_minutes(world, 3)
        world.store.put_dag(world.dag(), replace(world.dag(), is_paused=False))
        pass_minutes(world, 61)
        assert world.run(run).state is RUNNING

    def test_runs_that_wait_their_turn_cost_a_look_an_hour(self, world: World) -> None:
        world.given_dag(chain("extract", max_active_runs=1))
        first = world.trigger("first")
        world.advance(first)
        waiting = [world.trigger(f"waiting-{n}") for n in range(5)]
        for key in waiting:
            world.advance(key)
        pass_minutes(world, 3)
        looked_at = {world.run(key).due_at for key in waiting}
        assert all(due and due > world.clock.now() + timedelta(minutes=50) for due in looked_at)


class TestTwoSchedulers:
    def test_one_that_has_not_seen_a_timer_does_not_take_it_back(self, world: World) -> None:
        """Both decide at the same time; the one that saw less commits last."""
        given_retries(world, "extract")
        run = world.trigger()
        world.advance(run)
        seen_before = world.run(run)
        due = world.clock.now() + timedelta(seconds=5)
        world.work(run, "extract", lambda ti: transition.retry(ti, at=world.clock.now(), due_at=due))
        world.advance(run)
        assert world.run(run).due_at == due

        with pytest.raises(StaleDagRun):
            world.store.update_run(seen_before, replace(seen_before, due_at=world.clock.now() + timedelta(minutes=9)))
        assert world.run(run).due_at == due
