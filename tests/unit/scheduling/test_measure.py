"""What is measured of a move, and of a run that finished."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.scheduling import measure, transition
from gust.scheduling.transition import Transition
from tests.unit.scheduling.given import NOW, dag, run_of, ti

STARTED = ti("a", S.RUNNING, queued_at=NOW, start_date=NOW + timedelta(seconds=2))
LATER = NOW + timedelta(seconds=5)


def names(moved: Transition) -> dict[str, float]:
    return {each.name: each.value for each in measure.of_move(moved)}


def test_a_success_tells_how_long_the_task_ran_and_waited() -> None:
    assert names(transition.succeed(STARTED, at=LATER)) == {
        "TaskInstanceSuccesses": 1,
        "TaskInstanceDuration": 3,
        "TaskInstanceQueuedDuration": 2,
    }


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        (transition.fail(STARTED, at=LATER), {"TaskInstanceFailures": 1}),
        (transition.retry(STARTED, at=LATER, due_at=LATER), {"TaskInstanceFailures": 1}),
        (transition.stop(STARTED, state=S.SKIPPED, at=LATER), {}),
        (transition.mark(STARTED, state=S.FAILED, at=LATER), {}),
        (transition.upstream_fail(ti("a", None), at=LATER, reason="r"), {}),
        (transition.queue(ti("a", S.SCHEDULED), at=LATER), {}),
    ],
)
def test_a_try_that_failed_is_one_failure_and_a_persons_mark_is_none(
    moved: Transition, expected: dict[str, float]
) -> None:
    assert names(moved) == expected


def test_a_lost_try_counts_as_killed_zombie_too() -> None:
    lost = transition.lose(STARTED, at=LATER, retry_at=None, reason="no heartbeat")
    assert names(lost) == {"TaskInstanceFailures": 1, "ZombiesKilled": 1}


def test_a_finished_run_tells_its_duration_and_how_late_it_began() -> None:
    began = NOW + timedelta(seconds=1)
    run = run_of(dag("a"), run_type=DagRunType.SCHEDULED, run_after=NOW, start_date=began, end_date=LATER)
    of_success = measure.of_finished_run(replace(run, state=DagRunState.SUCCESS))
    assert {each.name: each.value for each in of_success} == {"DAGDurationSuccess": 4, "DAGScheduleDelay": 1}
    by_hand = replace(run, state=DagRunState.FAILED, run_type=DagRunType.MANUAL)
    assert [each.name for each in measure.of_finished_run(by_hand)] == ["DAGDurationFailed"]
