"""Tasks of queues beside the stack's own: which workers get them, and what becomes of them when the workers are gone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gust.aws.task_roles import StsTaskRoles
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.state import TaskInstanceState as S
from gust.model.worker_group import WorkerGroup
from gust.services.scheduler.explain import explain
from gust.services.worker.start_task_instance import start_task_instance
from tests.world import World, chain

LARGE = WorkerGroup(name="large", queue_url="https://sqs/large", memory=4096)
ONPREM = WorkerGroup(name="onprem", queue_url="https://sqs/onprem")


def given(world: World, queue: str, *, retries: int = 0) -> DagRunKey:
    """A run of a DAG whose first task names the queue; its second names none."""
    spec = chain("first", "second")
    first = spec.tasks["first"].model_copy(update={"queue": queue, "retries": retries})
    tasks = {**spec.tasks, "first": first}
    world.given_dag(spec.model_copy(update={"tasks": tasks, "relative_fileloc": "hr/etl.py"}))
    return world.trigger()


def reason(world: World, run: DagRunKey) -> str:
    instance = world.store.get_instance(run.task_instance("first"))
    assert instance is not None
    return instance.reason or ""


def test_a_task_goes_to_the_group_that_takes_its_queue_and_the_next_one_to_the_default_group(world: World) -> None:
    world.store.register_worker_group(LARGE)
    run = given(world, "large")
    world.advance(run)

    (message,) = world.queues.of_groups["large"]
    assert message.place == "Runs in the worker group 'large' (Lambda, 4096 MB): queue='large'."
    assert world.queues.tasks == []
    assert world.state(run, "first") is S.QUEUED
    world.succeed(run, "first")
    world.advance(run)
    assert [sent.task_id for sent in world.queues.tasks] == ["second"]


def test_a_group_that_was_removed_fails_its_task_at_once_and_names_the_queues(world: World) -> None:
    world.store.register_worker_group(LARGE)
    world.store.register_worker_group(ONPREM)
    world.store.delete_worker_group("large")
    run = given(world, "large", retries=3)
    world.advance(run)

    assert world.state(run, "first") is S.FAILED
    assert reason(world, run) == (
        "No worker takes tasks of the queue 'large'. Write one of 'default', 'fargate', 'onprem', or leave it out."
    )


def test_a_group_that_is_being_removed_takes_no_further_task(world: World) -> None:
    world.store.register_worker_group(LARGE)
    world.store.close_worker_group("large")
    run = given(world, "large")
    world.advance(run)

    assert world.state(run, "first") is S.FAILED
    assert "The workers that take tasks of the queue 'large' are being removed." in reason(world, run)


def test_a_task_that_waits_for_a_group_that_is_being_removed_runs_there_for_ten_minutes_and_then_fails(
    world: World,
) -> None:
    """`./gust workers remove` waits until the workers have done what they have."""
    world.store.register_worker_group(LARGE)
    run = given(world, "large")
    world.advance(run)
    world.store.close_worker_group("large")
    world.queues.busy_groups.add("large")
    world.pass_time(minutes=5)
    world.advance(run)
    assert world.queues.tasks == []

    world.pass_time(minutes=6)
    world.advance(run)
    (told,) = world.queues.tasks
    assert "are being removed. Write another queue" in told.refused


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"queues": [{"queue": "large", "path": "hr/*"}]}, ""),
        ({"queues": [{"queue": "lar*", "dag": "x"}, {"queue": "large", "dag": "etl", "path": "hr/*"}]}, ""),
        ({"queues": [{"queue": "other", "dag": "x"}]}, ""),
        ({"queues": [{"queue": "large", "path": "finance/*"}]}, "does not let this DAG use the queue 'large'"),
        ({"queues": [{"queue": "*", "dag": "x"}]}, "does not let this DAG use the queue 'large'"),
        ({"queues": [{"queue": "large", "dag": "etl", "path": "x"}]}, "does not let this DAG use the queue 'large'"),
        ({"queues": [{"queue": "large"}]}, "now: The access document is invalid: queues.0: names neither dag nor path"),
        ({"queues": [{"queue": "default", "dag": "x"}]}, "invalid: queues.0.queue: is every stack's own queue"),
    ],
)
def test_the_access_document_says_which_dags_may_use_a_groups_queue(
    world: World, document: dict[str, Any], why: str
) -> None:
    world.store.register_worker_group(LARGE)
    roles = StsTaskRoles(None, default="", external_id="", text=lambda: json.dumps(document))
    object.__setattr__(world.services, "task_roles", roles)
    run = given(world, "large", retries=2)
    world.advance(run)

    assert world.state(run, "first") is (S.FAILED if why else S.QUEUED)
    assert why in reason(world, run)
    assert len(world.queues.of_groups.get("large", [])) == (0 if why else 1)


def test_a_document_that_cannot_be_read_opens_no_queue_and_stops_no_other_task(world: World) -> None:
    def text() -> str:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetParameter")

    world.store.register_worker_group(LARGE)
    roles = StsTaskRoles(None, default="", external_id="", text=text)
    object.__setattr__(world.services, "task_roles", roles)
    run = given(world, "large")
    world.advance(run)
    assert world.state(run, "first") is S.FAILED
    assert "No DAG may use the queue 'large' now: The access document cannot be read" in reason(world, run)
    world.given_dag(chain("first", dag_id="other"))
    other = world.trigger(dag_id="other")
    world.advance(other)
    assert world.state(other, "first") is S.QUEUED


def test_a_message_that_the_groups_queue_refuses_for_good_loses_its_try_alone(world: World) -> None:
    world.store.register_worker_group(LARGE)
    world.queues.gone["large"] = "The workers 'large' have been removed: their queue is gone."
    run = given(world, "large", retries=1)
    world.advance(run)

    assert world.state(run, "first") is S.UP_FOR_RETRY
    assert reason(world, run) == "The workers 'large' have been removed: their queue is gone."
    del world.queues.gone["large"]
    world.pass_time(minutes=10)
    world.advance(run)
    assert [sent.try_number for sent in world.queues.of_groups["large"]] == [2]


def test_workers_elsewhere_that_have_never_come_fail_a_task_and_away_ones_make_it_wait(world: World) -> None:
    world.store.register_worker_group(ONPREM)
    run = given(world, "onprem")
    assert explain(world.services, run, "first", -1)
    world.advance(run)
    assert world.state(run, "first") is S.FAILED
    assert "./gust worker --queue onprem" in reason(world, run)

    world.store.hear_of_worker_group("onprem", world.clock.now())
    world.queues.busy_groups.add("onprem")
    run = world.trigger("later")
    world.advance(run)
    for _ in range(30):
        world.pass_time(minutes=15)
        world.advance(run)
    assert world.state(run, "first") is S.QUEUED
    message = world.queues.of_groups["onprem"][-1]
    instance = world.store.get_instance(run.task_instance("first"))
    assert instance is not None
    assert message.dispatch_count == instance.dispatch_count
    start_task_instance(world.services, Dispatch.of(instance), hostname="h", pid=1, at=world.clock.now())
    assert world.state(run, "first") is S.RUNNING
