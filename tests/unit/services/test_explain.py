"""Why a task instance does not run: the scheduler's own words, with all that it would look at."""

from dataclasses import replace
from datetime import timedelta

from gust.model.keys import DagRunKey
from gust.model.pool import Pool
from gust.services.scheduler.explain import explain
from tests.world import START, World, chain


def reasons(world: World, run: DagRunKey, task_id: str) -> dict[str, str]:
    return {each.dependency.value: each.reason for each in explain(world.services, run, task_id, -1)}


def test_upstreams(world: World) -> None:
    world.given_dag(chain("extract", "load"))
    run = world.trigger()
    world.advance(run)
    (reason,) = reasons(world, run, "load").values()
    assert reasons(world, run, "load").keys() == {"Trigger Rule"}
    assert "waits for 1 more of 1 to succeed" in reason
    assert world.state(run, "load") is None, "explaining decides nothing"


def test_the_run_before(world: World) -> None:
    spec = chain("extract")
    tasks = {"extract": spec.tasks["extract"].model_copy(update={"depends_on_past": True})}
    world.given_dag(spec.model_copy(update={"tasks": tasks}))
    first = world.trigger("first", logical_date=START - timedelta(days=1))
    second = world.trigger("second", logical_date=START)
    world.advance(first)
    world.advance(second)
    assert reasons(world, second, "extract").keys() == {"Previous Dagrun State"}
    assert "run first the task has not succeeded" in reasons(world, second, "extract")["Previous Dagrun State"]


def test_a_pool_without_room(world: World) -> None:
    spec = chain("extract")
    tasks = {"extract": spec.tasks["extract"].model_copy(update={"pool": "narrow"})}
    world.given_dag(spec.model_copy(update={"tasks": tasks}))
    world.store.put_pool(None, Pool(name="narrow", slots=0))
    run = world.trigger()
    world.advance(run)
    assert reasons(world, run, "extract") == {
        "Pool Slots Available": "Not scheduling since there are 0 open slots in pool narrow and require 1 pool slots"
    }


def test_the_limit_of_the_run(world: World) -> None:
    spec = chain("extract").model_copy(update={"max_active_tasks": 1})
    other = spec.tasks["extract"].model_copy(update={"task_id": "other"})
    world.given_dag(spec.model_copy(update={"tasks": {**spec.tasks, "other": other}}))
    run = world.trigger()
    world.advance(run)
    assert reasons(world, run, "other").keys() == {"Task Instance Slots Available"}


def test_a_dag_whose_file_is_gone(world: World) -> None:
    dag = world.given_dag(chain("extract"))
    run = world.trigger()
    world.store.put_dag(dag, replace(dag, is_stale=True))
    assert (
        reasons(world, run, "extract")["Dag Not Paused"]
        == f"DAG '{run.dag_id}' is stale: no file defines it any longer"
    )


def test_a_paused_dag_and_a_run_that_waits_for_its_turn(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.store.put_dag(world.dag(), replace(world.dag(), is_paused=True))
    assert reasons(world, run, "extract").keys() == {"Dag Not Paused", "Dagrun Running"}


def test_what_is_under_way_or_unknown_has_no_objection(world: World) -> None:
    world.given_dag(chain("extract"))
    run = world.trigger()
    world.advance(run)
    world.succeed(run, "extract")
    assert reasons(world, run, "extract") == {}
    assert reasons(world, run, "nobody") == {}
