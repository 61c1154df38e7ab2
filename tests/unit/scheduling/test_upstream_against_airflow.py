"""The same DAG in the same states: Gust's verdict on an instance is that of Airflow's own dependency classes.

DAGs are drawn at random (trigger rules, setups and teardowns, mapping over literals and XComs, a mapped task group) and
put into random states; then every instance that the scheduler could move is judged by both. Airflow counts instances in
its database, so it is given one: SQLite in memory with the rows it asks for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dep_context import DepContext
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep
from airflow.utils.state import TaskInstanceState as AirflowState
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from gust.airflow_bridge.dag_spec import build_spec
from gust.model.dag_spec import DagSpec
from gust.model.state import FINISHED, SCHEDULABLE, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.scheduling.run_view import RunView
from gust.scheduling.trigger_rule import Verdict
from gust.scheduling.upstream import Upstream
from tests.unit.scheduling.given import NOW, run_of, ti

STATES = [None, S.RUNNING, S.UP_FOR_RETRY, *sorted(FINISHED)]
MOODS = [STATES, [None, S.SUCCESS], [None, S.SUCCESS, S.REMOVED], [None, S.FAILED, S.UPSTREAM_FAILED, S.REMOVED]]
"""Where any state is as likely as any other, most rules are settled by a failure and their finer points never seen."""
KINDS = [["plain"], ["plain", "mapped"], ["plain", "setup", "teardown"], ["plain", "mapped", "setup", "teardown"]]
Instances = Mapping[tuple[str, int], S | None]


class Work(BaseOperator):
    def __init__(self, *, value: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value


# --- a DAG and its states, drawn --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    dag: Any
    """Airflow's DAG as its scheduler has it."""
    spec: DagSpec
    states: Instances
    lengths: dict[str, int] = field(default_factory=dict)
    """Of the XComs that were pushed, by task id."""

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        tasks = "; ".join(
            f"{t.task_id}({t.trigger_rule}{' setup' * t.is_setup}{' teardown' * t.is_teardown}"
            f"{' over ' + repr(t.expansion.kwargs) if t.expansion else ''}{' in g' if t.group_id else ''})"
            f" after {','.join(t.upstream_task_ids) or 'nothing'}"
            for t in self.spec.tasks.values()
        )
        return f"Scene<{tasks} | {self.lengths} | { {k: str(v) for k, v in self.states.items()} }>"


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    count = draw(st.integers(2, 6))
    kinds = draw(st.sampled_from(KINDS))
    first, last = sorted((draw(st.integers(0, count)), draw(st.integers(0, count))))
    with DAG("dag", schedule=None) as authored:
        tasks: list[Any] = []
        group: TaskGroup | None = None
        for i in range(count):
            if i == first and last > first:
                group = MappedTaskGroup(group_id="g", expand_input=DictOfListsExpandInput({"x": source(draw, tasks)}))
            tasks.append(draw_task(draw, f"t{i}", kinds, tasks, group if first <= i < last else None))
            for upstream in draw(st.sets(st.sampled_from(range(i)), min_size=1, max_size=3)) if i else ():
                tasks[upstream] >> tasks[i]
        if group is not None:
            for operator, _ in group._expand_input.iter_references():
                group.set_upstream(operator)
    authored.relative_fileloc = "dag.py"
    serialized = DagSerialization.to_dict(authored)
    spec, _ = build_spec(json.dumps(serialized), bundle_name="b")
    return with_states(draw, DagSerialization.from_dict(serialized), spec)


def draw_task(draw: st.DrawFn, task_id: str, kinds: list[str], before: list[Any], group: TaskGroup | None) -> Any:
    kind = draw(st.sampled_from(kinds)) if group is None else "plain"
    rule = draw(st.sampled_from(list(TriggerRule)))
    if (kind == "mapped" or group is not None) and rule is TriggerRule.ALWAYS:
        rule = TriggerRule.ALL_DONE
    if kind == "mapped":
        return Work.partial(task_id=task_id, trigger_rule=rule.value).expand(value=source(draw, before))
    task = Work(task_id=task_id, trigger_rule=rule.value, task_group=group)
    if kind == "setup":
        return task.as_setup()
    if kind == "teardown":
        task.trigger_rule = TriggerRule.ALL_DONE_SETUP_SUCCESS.value
        return task.as_teardown()
    return task


def source(draw: st.DrawFn, before: list[Any]) -> Any:
    """What to map over: a literal, or the XCom of a plain task before."""
    plain = [task for task in before if isinstance(task, Work) and task.task_group.group_id is None]
    if plain and draw(st.booleans()):
        return draw(st.sampled_from(plain)).output
    return list(range(draw(st.integers(1, 3))))


def with_states(draw: st.DrawFn, dag: Any, spec: DagSpec) -> Scene:
    states: dict[tuple[str, int], S | None] = {}
    lengths: dict[str, int] = {}
    any_state = st.sampled_from(draw(st.sampled_from(MOODS)))
    for task in spec.tasks.values():
        if not task.is_mapped:
            states[task.task_id, -1] = draw(any_state)
            if states[task.task_id, -1] is S.SUCCESS:
                lengths[task.task_id] = draw(st.integers(1, 3))
            continue
        expansion = task.expansion or spec.task_groups["g"].expansion
        assert expansion is not None
        sources = expansion.upstream_task_ids()
        if not sources:
            length = expansion.kwargs[0].length.length  # type: ignore[union-attr]
        elif sources <= lengths.keys() and draw(st.booleans()):
            length = lengths[next(iter(sources))]
        else:
            states[task.task_id, -1] = draw(any_state)
            continue
        states.update({(task.task_id, index): draw(any_state) for index in range(length)})
    return Scene(dag, spec, states, lengths)


# --- the test ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes())
def test_verdicts_are_airflows(database: Session, scene: Scene) -> None:
    fill(database, scene)
    judge = Upstream(RunView(scene.spec, run_of(scene.spec), stored(scene), NOW))
    for (task_id, map_index), state in scene.states.items():
        if state not in SCHEDULABLE:
            continue
        ours = judge.evaluate(scene.spec.tasks[task_id], ti(task_id, state, map_index))
        theirs = airflow_verdicts(database, scene, task_id, map_index, state)
        assert ours.verdict in theirs, f"{task_id}[{map_index}]: {ours}, Airflow {theirs}"


def stored(scene: Scene) -> dict[tuple[str, int], Any]:
    return {
        (task_id, index): ti(
            task_id,
            state,
            index,
            try_number=1,
            xcom_lengths={"return_value": scene.lengths[task_id]} if index == -1 and task_id in scene.lengths else {},
        )
        for (task_id, index), state in scene.states.items()
    }


# --- the oracle -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database() -> Iterator[Session]:
    import_all_models()
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session


def fill(session: Session, scene: Scene) -> None:
    tables = Base.metadata.tables
    for name in ("task_instance", "task_map", "dag_run"):
        session.execute(tables[name].delete())
    common = {"dag_id": "dag", "run_id": "run"}
    session.execute(insert(tables["dag_run"]).values(**common, id=1, run_type="manual", state="running", run_after=NOW))
    for (task_id, index), state in scene.states.items():
        session.execute(
            insert(tables["task_instance"]).values(
                **common, task_id=task_id, map_index=index, state=state and state.value, pool="p", pool_slots=1
            )
        )
    for task_id, length in scene.lengths.items():
        session.execute(
            insert(tables["task_map"]).values(**common, task_id=task_id, map_index=-1, length=length, keys=None)
        )


def airflow_verdicts(session: Session, scene: Scene, task_id: str, map_index: int, state: S | None) -> set[Verdict]:
    """What Airflow may decide: it asks its dependencies in no defined order, and the last to set a state wins."""
    return {
        airflow_verdict(session, scene, judged(scene, task_id, map_index, state), deps)
        for deps in permutations([TriggerRuleDep(), MappedTaskUpstreamDep()])
    }


def airflow_verdict(session: Session, scene: Scene, instance: Any, deps: Any) -> Verdict:
    finished = [
        judged(scene, task_id, index, state) for (task_id, index), state in scene.states.items() if state in FINISHED
    ]
    context = DepContext(flag_upstream_failed=True, ignore_unmapped_tasks=True, finished_tis=finished)
    before = instance.state
    statuses = [status for dep in deps for status in dep.get_dep_statuses(instance, context, session=session)]
    if instance.state != before:
        return {
            AirflowState.SKIPPED: Verdict.SKIP,
            AirflowState.UPSTREAM_FAILED: Verdict.UPSTREAM_FAIL,
            AirflowState.REMOVED: Verdict.REMOVE,
        }[instance.state]
    return Verdict.RUN if all(status.passed for status in statuses) else Verdict.WAIT


def judged(scene: Scene, task_id: str, map_index: int, state: S | None) -> Any:
    """As much of a TaskInstance as the dependencies touch; setting its state only notes it."""
    from airflow.models.taskinstance import TaskInstance as AirflowTaskInstance

    instance = SimpleNamespace(
        dag_id="dag",
        run_id="run",
        task_id=task_id,
        map_index=map_index,
        state=state and AirflowState(state.value),
        task=scene.dag.get_task(task_id),
        get_dagrun=lambda session: None,
    )

    def set_state(new: AirflowState, session: Session) -> bool:
        changed = instance.state != new
        instance.state = new
        return changed

    def get_relevant_upstream_map_indexes(**kwargs: Any) -> Any:
        return AirflowTaskInstance.get_relevant_upstream_map_indexes(instance, **kwargs)

    instance.set_state = set_state
    instance.get_relevant_upstream_map_indexes = get_relevant_upstream_map_indexes
    return instance
