"""In which order a decision is written and sent. What each order protects from stands in docs/adr/0022 and 0011."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.pool import Pool
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling.decide import decide
from gust.scheduling.decision import Decision, SendCallback, StartNextRun
from gust.scheduling.stages import (
    GiveOutSlots,
    Moves,
    RunWrite,
    SendCallbacks,
    SendThenMark,
    SendThenWrite,
    Stage,
    WakeFollowingRuns,
    stages,
)
from tests.unit.scheduling.given import NOW, Play, dag


def decided(spec: DagSpec, *, now: datetime = NOW, **known: Any) -> tuple[DagRun, Decision]:
    play = Play(spec)
    return play.run, decide(spec, play.run, play.instances, now=now, **known)


def kinds(found: list[Stage]) -> list[type[Stage]]:
    return [type(stage) for stage in found]


def test_many_are_sent_before_they_are_written_ten_at_first():
    spec = dag(tasks={f"t{i:03d}": {} for i in range(100)}, max_active_tasks=1000)
    run, decision = decided(spec)
    found = stages(spec, run, decision)
    sent = [stage for stage in found if isinstance(stage, SendThenWrite)]
    assert [len(stage.moves) for stage in sent] == [10, 20, 40, 30]
    assert [moved for stage in sent for moved in stage.moves] == list(decision.transitions)
    assert kinds(found)[len(sent) :] == [RunWrite], "what was sent first is not sent again"


def test_where_the_run_lets_instances_go_all_is_written_before_anything_is_sent():
    spec = dag(tasks={f"t{i}": {} for i in range(3)}, max_active_tasks=2)
    run, decision = decided(spec)
    assert kinds(stages(spec, run, decision)) == [Moves, RunWrite, SendThenMark]


def test_an_instance_stands_in_line_only_after_its_run_is_written():
    spec = dag(tasks={"a": {"pool": "p"}, "b": {}})
    run, decision = decided(spec, pools={"p": Pool(name="p", slots=1)})
    found = stages(spec, run, decision)
    assert kinds(found) == [Moves, RunWrite, Moves, SendThenMark, GiveOutSlots]
    assert [moved.after.task_id for moved in found[2].moves] == ["a"]  # type: ignore[union-attr]


def test_where_runs_look_back_at_this_one_each_move_is_written_first():
    spec = dag(tasks={"a": {"depends_on_past": True}, "b": {}})
    run, decision = decided(spec)
    assert kinds(stages(spec, run, decision)) == [Moves, RunWrite, SendThenMark, WakeFollowingRuns]


def test_the_end_of_a_run_is_written_before_anything_follows_from_it():
    spec = dag("a")
    play = Play(spec)
    done = TaskInstance(dag_id=play.run.dag_id, run_id=play.run.run_id, task_id="a", state=S.SUCCESS)
    decision = decide(spec, play.run, {("a", -1): done}, now=NOW)
    owed = Callback(
        dag_id=play.run.dag_id,
        run_id=play.run.run_id,
        callback_id="run/success",
        kind=CallbackKind.DAG,
        event="success",
        state=CallbackState.PENDING,
        created_at=NOW,
        updated_at=NOW,
    )
    decision = replace(decision, effects=(SendCallback(owed), *decision.effects))
    found = stages(spec, play.run, decision)
    assert kinds(found) == [RunWrite, SendCallbacks, StartNextRun]
    assert found[0] == RunWrite(decision.run, decision.callbacks, is_complete=True)  # type: ignore[arg-type]


def test_nothing_to_do_is_no_stage():
    spec = dag("a")
    assert stages(spec, Play(spec).run, Decision()) == []
