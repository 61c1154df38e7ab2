"""Properties of every decision, over random DAGs, states and workers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gust.model.dag_spec import DagSpec, TaskGroupSpec, TaskSpec, TimetableSpec
from gust.model.state import FINISHED, DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import slots
from gust.scheduling.decide import decide
from gust.scheduling.decision import SendTask
from tests.unit.scheduling.given import NOW, SECOND, Play, over_literal, over_xcom, run_of, ti

RETURNING = {S.UP_FOR_RETRY, S.UP_FOR_RESCHEDULE}


@st.composite
def specs(draw: st.DrawFn) -> DagSpec:
    count = draw(st.integers(1, 7))
    first, last = sorted((draw(st.integers(0, count)), draw(st.integers(0, count))))
    grouped = range(first, last) if draw(st.booleans()) else range(0)
    tasks: dict[str, dict[str, Any]] = {}
    plain: list[str] = []
    group_source = None
    if grouped and first and draw(st.booleans()):
        group_source = f"t{draw(st.integers(0, first - 1))}"
    for i in range(count):
        task_id = f"t{i}"
        upstream = draw(st.sets(st.sampled_from([f"t{j}" for j in range(i)]), max_size=3)) if i else set()
        fields: dict[str, Any] = {
            "trigger_rule": draw(st.sampled_from([*TriggerRule, *[TriggerRule.ALL_SUCCESS] * 6])),
            "retries": draw(st.sampled_from([0, 0, 1, 2])),
            "retry_delay": draw(st.sampled_from([0.0, 5.0])),
            "is_empty": draw(st.sampled_from([False, False, False, True])),
            "queue": draw(st.sampled_from(["default"] * 9 + ["fargate"])),
            "max_active_tis_per_dagrun": draw(st.sampled_from([None, None, 1])),
        }
        if i in grouped:
            fields |= {"group_id": "g", "mapped_groups": ("g",)}
            if group_source:
                upstream.add(group_source)
        else:
            kind = draw(st.sampled_from(["plain", "plain", "literal", "xcom", "setup", "teardown"]))
            if kind == "literal":
                fields["expansion"] = over_literal(draw(st.integers(0, 3)))
            elif kind == "xcom" and plain:
                source = draw(st.sampled_from(plain))
                upstream.add(source)
                fields["expansion"] = over_xcom(source)
            else:
                plain.append(task_id)
                fields |= {"is_setup": kind == "setup", "is_teardown": kind == "teardown"}
        tasks[task_id] = {**fields, "upstream_task_ids": tuple(sorted(upstream))}
    if group_source is not None and group_source not in plain:
        group_source = None
    expansion = over_xcom(group_source) if group_source else over_literal(draw(st.integers(0, 3)))
    return DagSpec(
        dag_id="dag",
        timetable={"type": "airflow.timetables.simple.NullTimetable"},
        tasks={
            task_id: TaskSpec(
                task_id=task_id,
                downstream_task_ids=tuple(t for t, f in tasks.items() if task_id in f["upstream_task_ids"]),
                **fields,
            )
            for task_id, fields in tasks.items()
        },
        task_groups={"g": TaskGroupSpec(group_id="g", expansion=expansion)} if grouped else {},
        max_active_tasks=draw(st.sampled_from([1, 2, 16])),
        fail_fast=draw(st.sampled_from([False, False, True])),
    )


@st.composite
def stored_states(draw: st.DrawFn, spec: DagSpec) -> dict[tuple[str, int], TaskInstance]:
    """Any state at all, also such as no run comes to by itself: people clear and mark."""
    found: dict[tuple[str, int], TaskInstance] = {}
    for task in spec.tasks.values():
        expanded = task.is_mapped and draw(st.booleans())
        for index in draw(st.sets(st.integers(0, 3) if expanded else st.just(-1), max_size=4)):
            # A placeholder never goes to a worker.
            possible = [None, *FINISHED] if task.is_mapped and not expanded else [None, *S]
            state = draw(st.sampled_from(sorted(possible, key=str)))
            found[task.task_id, index] = ti(
                task.task_id,
                state,
                index,
                try_number=draw(st.integers(0, 2)),
                max_tries=task.retries,
                start_date=NOW,
                queued_at=NOW,
                due_at=NOW + draw(st.integers(-5, 5)) * SECOND
                if state in {S.UP_FOR_RETRY, S.UP_FOR_RESCHEDULE, S.AWAITING_INPUT}
                else None,
                xcom_lengths=draw(st.sampled_from([{}, {"return_value": 0}, {"return_value": 2}])),
            )
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), spec=specs(), later=st.sampled_from([0, 61, 601]))
def test_one_decision_says_all(data: st.DataObject, spec: DagSpec, later: int) -> None:
    """The scheduler's own writes do not wake it: what follows from a decision has to be in it, or to have a time."""
    play = Play(spec)
    play.instances = data.draw(stored_states(spec))
    play.now = NOW + later * SECOND
    first = play.decide()
    assert_well_formed(first.transitions)
    if play.run.is_finished or (first.due_at is not None and first.due_at <= play.now + SECOND):
        return
    if any(moved.edge == "lose" for moved in first.transitions):
        # What is lost and waits to be tried again is judged anew when that is due, or by the next thing to happen.
        return
    again = play.decide()
    assert again.transitions == ()
    assert again.run is None
    assert again.effects == ()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), spec=specs())
def test_limits_hold(data: st.DataObject, spec: DagSpec) -> None:
    stored = data.draw(stored_states(spec))
    decision = decide(spec, run_of(spec), stored, now=NOW)
    after = {**stored, **{(m.after.task_id, m.after.map_index): m.after for m in decision.transitions}}
    newly = [e.instance for e in decision.effects if isinstance(e, SendTask) and _id(e.instance) not in stored]
    if not newly:
        return
    admitted = slots.admissions(decision.run) if decision.run else ()
    in_flight = [i for i in after.values() if i.state in slots.HAS_A_WORKER or slots.is_on_its_way(i, admitted)]
    assert len(in_flight) <= spec.max_active_tasks or slots.can_never_be_full(
        spec, run_of(spec), spec.max_active_tasks, after.values()
    )
    for task in spec.tasks.values():
        if any(i.task_id == task.task_id for i in newly) and task.max_active_tis_per_dagrun is not None:
            active = [
                i for i in after.values() if i.task_id == task.task_id and (i in in_flight or i.state in slots.PARKED)
            ]
            assert len(active) <= task.max_active_tis_per_dagrun


@st.composite
def tangled(draw: st.DrawFn) -> DagSpec:
    """Any upstreams and rules, and as many places as there are chains, or one."""
    above: dict[str, tuple[str, ...]] = {}
    for number in range(draw(st.integers(2, 8))):
        upstream = draw(st.sets(st.sampled_from(sorted(above)), min_size=number > 3, max_size=2)) if above else set()
        above[f"t{number}"] = tuple(sorted(upstream))
    rules = st.one_of(st.just(TriggerRule.ALL_SUCCESS), st.sampled_from(TriggerRule))
    spec = DagSpec(
        dag_id="dag",
        timetable={"type": "airflow.timetables.simple.NullTimetable"},
        tasks={
            task_id: TaskSpec(
                task_id=task_id,
                upstream_task_ids=upstream,
                downstream_task_ids=tuple(below for below, its in above.items() if task_id in its),
                trigger_rule=draw(rules),
            )
            for task_id, upstream in above.items()
        },
    )
    return spec.model_copy(update={"max_active_tasks": draw(st.sampled_from([1, spec.chains, spec.chains]))})


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=tangled(), chance=st.randoms(use_true_random=False))
def test_no_more_are_active_than_may_be_at_any_moment_of_a_run(spec: DagSpec, chance: Any) -> None:
    """Whatever ends first and however, also where the run never looks, because its chains are as few as may be active."""
    play = Play(spec)
    for _ in range(100):
        decision = play.decide()
        admitted = slots.admissions(play.run)
        active = [
            each
            for each in play.instances.values()
            if each.state in slots.HAS_A_WORKER or slots.is_on_its_way(each, admitted)
        ]
        assert len(active) <= spec.max_active_tasks
        if play.run.is_finished:
            return
        if spec.chains <= spec.max_active_tasks < len(spec.tasks):
            assert not play.run.keeps_back
            assert not any(each.blocked_by_limit for each in play.instances.values())
        queued = [each for each in active if each.state is S.QUEUED]
        if not queued:
            assert decision.due_at is not None
            play.now = max(play.now + SECOND, decision.due_at)
            continue
        ends = chance.choice(queued).task_id
        match chance.choice(["success", "branch", "fail"]):
            case "fail":
                play.fail(ends)
            case "branch":
                play.skip(*(t for t in spec.tasks[ends].downstream_task_ids if (t, -1) not in play.instances))
                play.succeed(ends)
            case _:
                play.succeed(ends)


@given(
    st.sets(st.builds(slots.Admission, st.sampled_from(["a", "b/c", "d..e"]), st.integers(1, 3), st.integers(-1, 9)))
)
def test_whom_a_run_let_go_reads_as_it_was_written(admitted: set[slots.Admission]) -> None:
    run = replace(
        run_of(
            DagSpec(
                dag_id="d",
                dag_display_name="d",
                fileloc="d.py",
                relative_fileloc="d.py",
                timetable=TimetableSpec(type="t"),
                tasks={},
            )
        ),
        admitted_dispatches=slots.written(admitted),
    )
    assert slots.admissions(run) == admitted
    assert slots.written(slots.admissions(run)) == run.admitted_dispatches


def _id(instance: TaskInstance) -> tuple[str, int]:
    return instance.task_id, instance.map_index


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs(), luck=st.integers(1, 5))
def test_every_run_ends(spec: DagSpec, luck: int) -> None:
    """And ends as its leaves do; what is left without a state can only be a deadlock's."""
    play = Play(spec)
    state = work(play, luck)
    unfinished = [i for i in play.instances.values() if i.state not in FINISHED]
    if unfinished or (play.run.reason or "").startswith("Deadlock"):
        assert state is DagRunState.FAILED
        assert all(i.state is None for i in unfinished)
        return
    leaves = [t for t in spec.leaves if not spec.tasks[t].is_teardown]
    failed = {t for (t, _), i in play.instances.items() if i.state in {S.FAILED, S.UPSTREAM_FAILED}}
    if failed.intersection(leaves):
        assert state is DagRunState.FAILED
    if not failed:
        assert state is DagRunState.SUCCESS


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(spec=specs(), luck=st.integers(1, 5), crashes=st.randoms(use_true_random=False))
def test_a_crash_in_the_middle_of_a_commit_changes_no_outcome(spec: DagSpec, luck: int, crashes: Any) -> None:
    spec = spec.model_copy(update={"fail_fast": False})
    calm, stormy = Play(spec), Stormy(spec, crashes)
    outcomes = work(calm, luck), work(stormy, luck)
    first = next((t for t in spec.tasks if calm.states().get(t) != stormy.states().get(t)), None)
    if first is None:
        assert outcomes[0] is outcomes[1]
    else:
        assert without_order(calm.states()[first]) == without_order(stormy.states()[first])


def without_order(states: Any) -> Any:
    """What is skipped by one upstream and upstream_failed by another is what the nearer says; which one is nearer after
    a crash depends on which of the decision's writes were made. What is downstream of it follows from that."""
    if isinstance(states, list):
        return [without_order(state) for state in states]
    return "never ran" if states in {S.SKIPPED.value, S.UPSTREAM_FAILED.value} else states


class Stormy(Play):
    """Its scheduler dies now and then, with a part of its transitions written and nothing performed; then it is woken
    again, as the stream does."""

    def __init__(self, spec: DagSpec, crashes: Any) -> None:
        super().__init__(spec)
        self.crashes = crashes

    def decide(self) -> Any:
        while self.crashes.random() < 0.5:
            decision = decide(self.spec, self.run, self.instances, now=self.now)
            for moved in decision.transitions:
                if self.crashes.random() < 0.5:
                    self.commit(moved)
            for effect in decision.effects:
                if isinstance(effect, SendTask) and self.crashes.random() < 0.2:
                    self.sent.append(effect.instance)
        return super().decide()


def work(play: Play, luck: int) -> DagRunState:
    """Workers whose success is a matter of the instance and not of the order, and that push two values."""
    for _ in range(300):
        play.decide()
        if play.run.is_finished:
            return play.run.state
        for (task_id, index), instance in sorted(play.instances.items()):
            if instance.state is not S.QUEUED:
                continue
            if (sum(map(ord, task_id)) * 31 + index * 7 + instance.try_number * 3) % luck == 0 and luck > 1:
                play.fail(task_id, index)
            else:
                play.succeed(task_id, index, length=2 if index < 0 else None, pushed=True)
        due = [i.due_at for i in play.instances.values() if i.due_at is not None]
        play.now = max([play.now + SECOND, *due])
    raise AssertionError(f"The run did not end: {play.states()} {dict(play.last.reasons)}")


def assert_well_formed(transitions: Any) -> None:
    """Each instance moves once, and keeps its name."""
    moved = Counter((t.after.task_id, t.after.map_index) for t in transitions)
    assert set(moved.values()) <= {1}
    for t in transitions:
        assert t.before.key == t.after.key
        assert t.edge == "expand" or replace(t.after, reason=None) != replace(t.before, reason=None)
