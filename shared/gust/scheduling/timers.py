"""When time alone changes something in a run. `decide` and the quick look at a run's timers use the same rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.moment import later
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    heartbeat_timeout: timedelta = timedelta(seconds=60)
    """A running worker that was silent for longer is lost."""
    queued_timeout: timedelta = timedelta(seconds=600)
    """A message that no worker took for longer is sent again. Airflow's `[scheduler] task_queued_timeout`."""
    most_requeues: int = 2
    """How often a message is sent again before it is given up. Airflow's `num_stuck_in_queued_retries`."""
    trigger_timeout: timedelta = timedelta(hours=1)
    """A trigger that neither ran nor was parked for longer is sent again. A live trigger reports every half hour, and SQS
    delivers a message again a minute after its function died."""
    look_again: timedelta = timedelta(seconds=600)
    """The longest time between two looks at a waiting run, whatever it waits for: no wake-up may be indispensable."""
    look_again_at_jobs: timedelta = timedelta(hours=1)
    """The same, for a run whose begun tasks all wait for jobs of which events will tell: such a wait may last for days."""


DEFAULTS: Final = Config()


def run_deadline(spec: DagSpec, run: DagRun) -> datetime | None:
    """When the run's `dagrun_timeout` is over."""
    if spec.dagrun_timeout is None or run.start_date is None:
        return None
    return later(run.start_date, spec.dagrun_timeout)


def is_overdue(instance: TaskInstance, *, now: datetime, config: Config) -> bool:
    """Whether its worker is lost, or no worker has taken its message in time."""
    match instance.state:
        case S.RUNNING | S.RESTARTING:
            return _lost_at(instance, now, config) <= now
        case S.QUEUED:
            return _stuck_at(instance, now, config) <= now
        case None | S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE | S.SCHEDULED | S.DEFERRED | S.AWAITING_INPUT:
            return False
        case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
            return False
        case _:
            assert_never(instance.state)


def looked_after_at(instance: TaskInstance, *, now: datetime, config: Config) -> datetime:
    """The earliest moment at which a sent or running instance may be overdue."""
    if instance.state in {S.RUNNING, S.RESTARTING}:
        return _lost_at(instance, now, config)
    # It may be running before the scheduler looks here again: a worker's start does not wake the scheduler.
    soon = now + config.heartbeat_timeout
    return min(_stuck_at(instance, now, config), soon) if instance.state is S.QUEUED else soon


def _lost_at(instance: TaskInstance, now: datetime, config: Config) -> datetime:
    signs = [sign for sign in (instance.start_date, instance.heartbeat_at) if sign is not None]
    return later(max(signs, default=now), config.heartbeat_timeout)


def _stuck_at(instance: TaskInstance, now: datetime, config: Config) -> datetime:
    return (instance.queued_at or instance.scheduled_at or now) + config.queued_timeout
