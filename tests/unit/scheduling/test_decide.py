"""Runs from their first decision to their end, as the scheduler sees them."""

import sys
from dataclasses import replace
from datetime import timedelta
from types import FrameType

import pytest

from gust.model.dag_spec import ConcatLength, LiteralLength, TaskGroupSpec, XComLength, ZipLength
from gust.model.moment import MOST_SECONDS
from gust.model.place import Limit, Workers
from gust.model.state import DagRunState, TriggerRule
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.scheduling import transition
from gust.scheduling.decide import decide
from gust.scheduling.decision import Decision, SendTask, SendTrigger, StartNextRun
from gust.scheduling.past import Past, is_needed
from gust.scheduling.pure_wait import encoded_moment
from gust.scheduling.timers import Config
from tests.unit.scheduling.given import NOW, Play, dag, over, over_literal, over_xcom, run_of, ti

SUCCESS, FAILED = DagRunState.SUCCESS, DagRunState.FAILED


class TestChains:
    def test_a_chain_runs_one_after_the_other(self):
        play = Play(dag("a >> b >> c"))
        play.decide()
        assert play.states() == {"a": "queued"}
        play.succeed("a")
        play.decide()
        assert play.states() == {"a": "success", "b": "queued"}
        play.succeed("b")
        play.decide()
        play.succeed("c")
        decision = play.decide()
        assert play.run.state is SUCCESS
        assert play.run.end_date == play.now
        assert play.run.due_at is None
        assert decision.effects == (StartNextRun("dag"),)

    def test_a_fan_out_starts_together_and_joins(self):
        play = Play(dag("a >> b >> d", "a >> c >> d"))
        play.decide()
        play.succeed("a")
        play.decide()
        assert play.states() == {"a": "success", "b": "queued", "c": "queued"}
        play.succeed("b")
        play.decide()
        assert "d" not in play.states()
        assert play.last.reasons["d", -1].startswith("Trigger rule all_success waits for 1 more of 2 to succeed")
        play.succeed("c")
        play.decide()
        assert play.states()["d"] == "queued"

    def test_the_first_try_carries_the_tasks_retries(self):
        play = Play(dag("a", tasks={"a": {"retries": 3}}))
        sent = play.decide().effects[0]
        assert sent == SendTask(ti("a", S.SCHEDULED, try_number=1, max_tries=3, dispatch_count=1, scheduled_at=NOW))

    def test_a_dag_without_tasks_succeeds(self):
        play = Play(dag())
        play.decide()
        assert play.run.state is SUCCESS

    def test_empty_operators_need_no_worker(self):
        play = Play(
            dag("a >> b >> c", tasks={"a": {"is_empty": True}, "b": {"is_empty": True}, "c": {"is_empty": True}})
        )
        decision = play.decide()
        assert play.states() == {"a": "success", "b": "success", "c": "success"}
        assert play.run.state is SUCCESS
        assert {m.edge for m in decision.transitions} == {"complete_empty"}
        assert play.instances["a", -1].try_number == 1

    def test_nothing_is_decided_for_a_queued_run(self):
        spec = dag("a")
        assert decide(spec, run_of(spec, state=DagRunState.QUEUED), {}, now=NOW) == Decision()

    def test_a_finished_run_only_makes_room(self):
        spec = dag("a")
        decision = decide(spec, run_of(spec, state=FAILED), {}, now=NOW)
        assert decision == Decision(effects=(StartNextRun("dag"),))


class TestFailure:
    def test_a_failure_travels_to_the_end_in_one_decision(self):
        play = Play(dag("a >> b >> c >> d"))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {
            "a": "failed",
            "b": "upstream_failed",
            "c": "upstream_failed",
            "d": "upstream_failed",
        }
        assert play.run.state is FAILED
        assert play.run.reason == "Leaf tasks did not succeed: d."

    def test_a_failure_that_a_leaf_tolerates_is_none(self):
        play = Play(dag("a >> b", tasks={"b": {"trigger_rule": TriggerRule.ALL_DONE}}))
        play.decide()
        play.fail("a")
        play.decide()
        play.succeed("b")
        play.decide()
        assert play.run.state is SUCCESS

    def test_the_run_waits_for_all_tasks_before_it_fails(self):
        play = Play(dag("a", "b"))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.run.state is DagRunState.RUNNING
        play.succeed("b")
        play.decide()
        assert play.run.state is FAILED

    def test_fail_fast_ends_the_others(self):
        spec = dag("a", "b >> c", "d", "t", tasks={"t": {"is_teardown": True}}, fail_fast=True)
        play = Play(spec)
        play.decide()
        play.start("b")
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed", "b": "failed", "c": "skipped", "d": "skipped", "t": "queued"}

    def test_deadlock_fails_the_run(self):
        spec = dag("a >> b", tasks={"a": {"start_date": NOW + timedelta(days=1)}})
        play = Play(spec)
        play.decide()
        assert play.run.state is FAILED
        assert play.run.reason.startswith("Deadlock")

    def test_a_task_for_fargate_fails_with_the_reason(self):
        play = Play(dag("a", tasks={"a": {"retries": 2, "executor_config": {"gust": {"compute": "fargate"}}}}))
        play.decide()
        assert play.states() == {"a": "failed"}
        assert "Fargate" in play.instances["a", -1].reason
        play.decide()
        assert play.run.state is FAILED


class TestRetries:
    def test_a_failed_try_is_tried_again_when_its_delay_is_over(self):
        play = Play(dag("a", tasks={"a": {"retries": 1, "retry_delay": 30}}))
        play.decide()
        play.fail("a")
        decision = play.decide()
        assert play.states() == {"a": "up_for_retry"}
        assert decision.due_at == NOW + timedelta(seconds=30)
        assert play.run.due_at == NOW + timedelta(seconds=30)
        assert "retried at" in decision.reasons["a", -1]
        play.wait(seconds=29)
        assert play.decide().transitions == ()
        play.wait(seconds=1)
        play.decide()
        assert play.instances["a", -1].try_number == 2
        assert play.instances["a", -1].max_tries == 1
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed"}
        assert play.run.state is FAILED

    def test_every_finished_try_is_kept_once(self):
        play = Play(dag("a", tasks={"a": {"retries": 2, "retry_delay": 1}}))
        assert play.play(lambda instance: instance.try_number == 3) is SUCCESS
        assert [(t.try_number, t.state) for t in play.tries] == [(1, S.FAILED), (2, S.FAILED)]
        assert play.instances["a", -1].try_number == 3

    def test_a_rescheduled_sensor_goes_on_with_the_same_try(self):
        play = Play(dag("a"))
        play.decide()
        play.start("a")
        play.commit(transition.reschedule(play.instances["a", -1], at=play.now, due_at=NOW + timedelta(seconds=60)))
        assert play.decide().due_at == NOW + timedelta(seconds=60)
        play.wait(seconds=60)
        play.decide()
        again = play.instances["a", -1]
        assert (again.try_number, again.dispatch_count, again.reschedule_count) == (1, 2, 1)
        play.start("a")
        assert play.instances["a", -1].first_start_date == NOW
        assert play.instances["a", -1].start_date == NOW + timedelta(seconds=60)
        assert play.tries == []


class TestSkips:
    def test_a_branch_joins_behind_the_path_not_taken(self):
        spec = dag(
            "branch >> left >> join",
            "branch >> right >> after_right >> join",
            tasks={"join": {"trigger_rule": TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS}},
        )
        play = Play(spec)
        play.decide()
        play.skip("right")
        play.succeed("branch")
        play.decide()
        assert play.states() == {"branch": "success", "left": "queued", "right": "skipped", "after_right": "skipped"}
        play.succeed("left")
        play.decide()
        play.succeed("join")
        play.decide()
        assert play.run.state is SUCCESS

    def test_a_skip_goes_through_fifty_tasks_in_one_decision(self):
        spec = dag(" >> ".join(f"t{i}" for i in range(50)))
        play = Play(spec)
        play.skip("t0")
        play.decide()
        assert set(play.states().values()) == {"skipped"}
        assert play.run.state is SUCCESS


class TestMapping:
    def test_over_a_literal_from_the_start(self):
        play = Play(dag("a >> m", tasks={"m": {"expansion": over_literal(3)}}))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed", "m": ["upstream_failed"] * 3}

    def test_over_an_xcom_when_it_is_there(self):
        play = Play(dag("a >> m >> z", tasks={"m": {"expansion": over_xcom("a")}}))
        decision = play.decide()
        assert "m" not in play.states()
        assert ("m", -1) in decision.reasons
        play.succeed("a", length=3)
        play.decide()
        assert play.states() == {"a": "success", "m": ["queued"] * 3}
        play.succeed("m", 0)
        play.succeed("m", 2)
        play.decide()
        assert "z" not in play.states()
        play.succeed("m", 1)
        play.decide()
        assert play.states()["z"] == "queued"

    def test_an_instance_that_goes_at_once_is_written_once(self):
        play = Play(dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}}, max_active_tasks=2))
        play.decide()
        play.succeed("a", length=5)
        decision = play.decide()
        assert [m.edge for m in decision.transitions] == ["schedule"] * 5
        assert play.states()["m"] == ["queued", "queued", "scheduled", "scheduled", "scheduled"]

    def test_over_nothing_is_skipped(self):
        play = Play(dag("a >> m >> z", tasks={"m": {"expansion": over_xcom("a")}}))
        play.decide()
        play.succeed("a", length=0)
        play.decide()
        assert play.states() == {"a": "success", "m": "skipped", "z": "skipped"}
        assert play.run.state is SUCCESS

    def test_over_an_empty_literal_is_skipped(self):
        play = Play(dag("m", tasks={"m": {"expansion": over_literal(0)}}))
        play.decide()
        assert play.states() == {"m": "skipped"}

    def test_over_a_failed_task_fails_the_placeholder(self):
        play = Play(dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}}))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed", "m": "upstream_failed"}

    @pytest.mark.parametrize("rule", [TriggerRule.ALL_DONE, TriggerRule.ALWAYS, TriggerRule.ONE_FAILED])
    def test_no_trigger_rule_maps_over_a_failed_task(self, rule):
        play = Play(dag("a >> m", tasks={"m": {"expansion": over_xcom("a"), "trigger_rule": rule}}))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed", "m": "upstream_failed"}

    def test_over_a_task_that_pushed_nothing(self):
        play = Play(dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}}))
        play.decide()
        play.succeed("a")
        play.decide()
        assert play.states() == {"a": "success", "m": "upstream_failed"}

    def test_chained_mapping_counts_the_instances_that_pushed(self):
        spec = dag(
            "a >> m >> n",
            tasks={
                "m": {"expansion": over_xcom("a")},
                "n": {"expansion": over_xcom("m"), "trigger_rule": TriggerRule.ALL_DONE},
            },
        )
        play = Play(spec)
        play.decide()
        play.succeed("a", length=3)
        play.decide()
        play.succeed("m", 0, pushed=True)
        play.succeed("m", 1)
        play.decide()
        assert "n" not in play.states()
        play.succeed("m", 2, pushed=True)
        play.decide()
        assert play.states()["n"] == ["queued", "queued"]

    def test_product_zip_and_concat(self):
        a, b = XComLength(task_id="a"), XComLength(task_id="b")
        spec = dag(
            "a >> product",
            "b >> product",
            "a >> zip",
            "b >> zip",
            "a >> filled",
            "b >> filled",
            "a >> concat",
            "b >> concat",
            tasks={
                "product": {"expansion": over(x=a, y=b, z=LiteralLength(length=2))},
                "zip": {"expansion": over(x=ZipLength(parts=(a, b)))},
                "filled": {"expansion": over(x=ZipLength(parts=(a, b), has_fillvalue=True))},
                "concat": {"expansion": over(x=ConcatLength(parts=(a, b)))},
            },
            max_active_tasks=100,
        )
        play = Play(spec)
        play.decide()
        play.succeed("a", length=2)
        play.succeed("b", length=3)
        play.decide()
        counts = {t: len(states) for t, states in play.states().items() if isinstance(states, list)}
        assert counts == {"product": 12, "zip": 2, "filled": 3, "concat": 5}

    def test_a_crash_in_the_middle_of_expanding_is_made_good(self):
        spec = dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}})
        stored = {
            ("a", -1): ti("a", S.SUCCESS, try_number=1, xcom_lengths={"return_value": 4}),
            ("m", 1): ti("m", S.RUNNING, 1, try_number=1, dispatch_count=1, start_date=NOW),
        }
        decision = decide(spec, run_of(spec), stored, now=NOW)
        assert {(m.edge, m.after.map_index) for m in decision.transitions} == {
            ("schedule", 0),
            ("schedule", 2),
            ("schedule", 3),
        }

    def test_instances_that_a_crash_left_without_an_item_get_one(self):
        spec = dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}}, max_active_tasks=1)
        stored = {
            ("a", -1): ti("a", S.SUCCESS, try_number=1, xcom_lengths={"return_value": 3}),
            ("m", 1): ti("m", S.RUNNING, 1, try_number=1, dispatch_count=1, start_date=NOW),
        }
        decision = decide(spec, run_of(spec), stored, now=NOW)
        assert {(m.edge, m.after.map_index) for m in decision.transitions} == {("schedule", 0), ("schedule", 2)}
        assert decision.effects == ()

    def test_instances_that_a_shorter_xcom_no_longer_has_are_removed(self):
        spec = dag("a >> m", tasks={"m": {"expansion": over_xcom("a")}})
        stored = {
            ("a", -1): ti("a", S.SUCCESS, try_number=2, xcom_lengths={"return_value": 1}),
            ("m", 0): ti("m", None, 0, try_number=1),
            ("m", 1): ti("m", S.SUCCESS, 1, try_number=1),
        }
        decision = decide(spec, run_of(spec), stored, now=NOW)
        assert {(m.edge, m.after.map_index) for m in decision.transitions} == {("schedule", 0), ("remove", 1)}

    @pytest.mark.parametrize(
        ("length", "moved"),
        [
            (1, {("complete_empty", 0), ("remove", 1)}),
            (3, {("complete_empty", 0), ("complete_empty", 1), ("complete_empty", 2)}),
        ],
    )
    def test_what_needs_no_worker_has_its_length_revised_too(self, length, moved):
        spec = dag("a >> m", tasks={"m": {"expansion": over_xcom("a"), "is_empty": True}})
        stored = {
            ("a", -1): ti("a", S.SUCCESS, try_number=2, xcom_lengths={"return_value": length}),
            ("m", 0): ti("m", None, 0, try_number=1, map_length=2),
            ("m", 1): ti("m", None, 1, try_number=1, map_length=2),
        }
        decision = decide(spec, run_of(spec), stored, now=NOW)
        assert {(m.edge, m.after.map_index) for m in decision.transitions} == moved


def mapped_group(expansion, *children):
    return {"g": TaskGroupSpec(group_id="g", children=children, expansion=expansion)}


class TestMappedGroups:
    GROUPED = {"group_id": "g", "mapped_groups": ("g",)}

    def test_each_turn_goes_on_by_itself(self):
        spec = dag(
            "a >> g.x >> g.y >> z",
            groups=mapped_group(over_xcom("a"), "g.x", "g.y"),
            tasks={"g.x": self.GROUPED, "g.y": self.GROUPED},
        )
        play = Play(spec)
        play.decide()
        play.succeed("a", length=2)
        play.decide()
        assert play.states() == {"a": "success", "g.x": ["queued"] * 2, "g.y": [None, None]}
        play.succeed("g.x", 1)
        play.decide()
        assert play.states()["g.y"] == [None, "queued"]
        play.fail("g.x", 0)
        play.decide()
        assert play.states()["g.y"] == ["upstream_failed", "queued"]
        play.succeed("g.y", 1)
        play.decide()
        assert play.states()["z"] == "upstream_failed"
        assert play.run.state is FAILED

    def test_a_placeholder_with_a_rule_that_some_can_meet_waits_for_them(self):
        spec = dag(
            "a >> g.x >> g.y",
            groups=mapped_group(over_xcom("a"), "g.x", "g.y"),
            tasks={"g.x": self.GROUPED, "g.y": {**self.GROUPED, "trigger_rule": TriggerRule.ONE_FAILED}},
        )
        play = Play(spec)
        play.decide()
        play.succeed("a", length=2)
        play.decide()
        assert "g.y" not in play.states()
        play.fail("g.x", 0)
        play.decide()
        assert play.states()["g.y"] == ["queued", None]
        play.succeed("g.x", 1)
        play.decide()
        assert play.states()["g.y"] == ["queued", "skipped"]

    def test_groups_over_a_literal_are_there_from_the_start(self):
        spec = dag(
            "a >> g.x",
            groups=mapped_group(over_literal(2), "g.x"),
            tasks={"g.x": self.GROUPED},
        )
        play = Play(spec)
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states()["g.x"] == ["upstream_failed"] * 2

    def test_nested_groups_multiply(self):
        groups = {
            "o": TaskGroupSpec(group_id="o", expansion=over_literal(2)),
            "o.i": TaskGroupSpec(group_id="o.i", parent_group_id="o", expansion=over_literal(3)),
        }
        inner = {"group_id": "o.i", "mapped_groups": ("o", "o.i")}
        outer = {"group_id": "o", "mapped_groups": ("o",)}
        spec = dag(
            "o.first >> o.i.x >> o.last", groups=groups, tasks={"o.first": outer, "o.i.x": inner, "o.last": outer}
        )
        play = Play(spec)
        play.decide()
        play.succeed("o.first", 0)
        play.decide()
        assert play.states() == {"o.first": ["success", "queued"], "o.i.x": ["queued"] * 3}
        for i in range(3):
            play.succeed("o.i.x", i)
        play.decide()
        # Airflow's count: an instance waits for as many of the inner ones as it has itself in a turn, which is one.
        assert play.states()["o.last"] == ["queued", "queued"]
        assert ("o.last", 0) in play.instances

    def test_a_group_over_a_failed_task_never_expands(self):
        spec = dag(
            "a >> g.x >> g.y",
            groups=mapped_group(over_xcom("a"), "g.x", "g.y"),
            tasks={"g.x": self.GROUPED, "g.y": self.GROUPED},
        )
        play = Play(spec)
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {"a": "failed", "g.x": "upstream_failed", "g.y": "upstream_failed"}


class TestSetupAndTeardown:
    SETUP_AND_TEARDOWN = {
        "s": {"is_setup": True},
        "t": {"is_teardown": True, "trigger_rule": TriggerRule.ALL_DONE_SETUP_SUCCESS},
    }

    def test_the_teardown_runs_after_a_failure_and_does_not_hide_it(self):
        play = Play(dag("s >> a >> b >> t", "s >> t", tasks=self.SETUP_AND_TEARDOWN))
        play.decide()
        play.succeed("s")
        play.decide()
        play.fail("a")
        play.decide()
        assert play.states() == {"s": "success", "a": "failed", "b": "upstream_failed", "t": "queued"}
        play.succeed("t")
        play.decide()
        assert play.run.state is FAILED

    def test_a_failed_teardown_is_not_the_runs(self):
        play = Play(dag("s >> a >> t", "s >> t", tasks=self.SETUP_AND_TEARDOWN))
        assert play.play(lambda instance: instance.task_id != "t") is SUCCESS

    def test_unless_it_says_so(self):
        tasks = {**self.SETUP_AND_TEARDOWN, "t": {**self.SETUP_AND_TEARDOWN["t"], "on_failure_fail_dagrun": True}}
        play = Play(dag("s >> a >> t", "s >> t", tasks=tasks))
        assert play.play(lambda instance: instance.task_id != "t") is FAILED

    def test_the_teardown_waits_for_everything_after_its_setup(self):
        play = Play(dag("s >> a >> t", "s >> t", "s >> slow >> x >> t", tasks=self.SETUP_AND_TEARDOWN))
        play.decide()
        play.succeed("s")
        play.decide()
        play.succeed("a")
        play.decide()
        assert "t" not in play.states()

    def test_work_waits_for_a_setup_further_up(self):
        spec = dag(
            "s >> a >> b >> t",
            "s >> t",
            tasks={**self.SETUP_AND_TEARDOWN, "b": {"trigger_rule": TriggerRule.ALL_DONE}},
        )
        play = Play(spec)
        play.decide()
        play.fail("s")
        play.decide()
        assert play.states() == {"s": "failed", "a": "upstream_failed", "b": "upstream_failed", "t": "upstream_failed"}


def under_way(play: Play) -> list[str]:
    return [task_id for (task_id, _), each in play.instances.items() if each.state is S.QUEUED]


class TestLimits:
    def test_max_active_tasks_takes_the_most_important_first(self):
        spec = dag("a", "b", "c", tasks={"b": {"priority_weight": 5}, "c": {"priority_weight": 9}}, max_active_tasks=2)
        play = Play(spec)
        play.decide()
        assert play.states() == {"a": "scheduled", "b": "queued", "c": "queued"}
        assert "max_active_tasks is 2" in play.last.reasons["a", -1]
        play.succeed("c")
        play.decide()
        assert play.states()["a"] == "queued"

    def test_a_run_with_as_many_places_as_chains_keeps_nothing_back(self):
        """More tasks than may be active, but each of a chain waits for the success of the one before."""
        play = Play(dag("a >> b >> c", "a >> d", "e >> c", "e >> f", max_active_tasks=3))
        play.decide()
        assert play.states() == {"a": "queued", "e": "queued"}
        for task_id in "aebdcf":
            play.succeed(task_id)
            play.decide()
            assert len(under_way(play)) <= 3
            assert not play.run.keeps_back
            assert not play.run.admitted_dispatches
        assert play.run.state is SUCCESS

    def test_a_run_that_follows_the_newest_version_counts_all_instances(self):
        """Its former version had them side by side, and left bundles without a version; this one does not."""
        play = Play(dag("a >> b", "c >> d", max_active_tasks=2), bundle_version=None)
        play.instances = {(task_id, -1): ti(task_id, S.RUNNING, start_date=NOW) for task_id in "ab"}
        play.decide()
        assert play.states() == {"a": "running", "b": "running", "c": "scheduled"}
        assert play.run.keeps_back

    @pytest.mark.parametrize(
        ("edges", "rules", "skips", "fails", "ends"),
        [
            pytest.param(["a >> b"], {"b": "always"}, "", "", "", id="the second does not wait"),
            pytest.param(["a >> c", "b >> c", "b >> d"], {"c": "one_success"}, "", "", "b", id="it waits for another"),
            pytest.param(
                ["a >> c >> d", "b >> c", "b >> e"],
                {"d": "all_done", "e": "all_done"},
                "",
                "b",
                "",
                id="the one between fails",
            ),
            pytest.param(
                ["a >> c >> d", "b >> c", "b >> e"], {"d": "none_failed"}, "c", "", "b", id="a branch skips it"
            ),
        ],
    )
    def test_tasks_that_may_be_active_together_form_no_chain(self, edges, rules, skips, fails, ends):
        tasks = {task_id: {"trigger_rule": rule} for task_id, rule in rules.items()}
        places = len({edge[0] for edge in edges})
        play = Play(dag(*edges, tasks=tasks, max_active_tasks=places))
        play.decide()
        play.skip(*skips)
        for task_id in fails:
            play.fail(task_id)
        for task_id in ends:
            play.succeed(task_id)
        play.decide()
        assert len(under_way(play)) == places
        assert play.run.keeps_back

    @pytest.mark.parametrize("of_run", [{"held_by": "a person"}, {"clear_number": 1}, {"bundle_version": None}])
    def test_a_person_or_another_version_breaks_a_chain(self, of_run):
        """`b` is marked while `a` runs."""
        play = Play(dag("a >> b >> c", max_active_tasks=1), **of_run)
        play.decide()
        play.instances["b", -1] = ti("b", S.SUCCESS)
        play.decide()
        assert under_way(play) == ["a"]
        assert play.states()["c"] == "scheduled"

    def test_max_active_tis_per_dagrun(self):
        spec = dag("m", tasks={"m": {"expansion": over_literal(4), "max_active_tis_per_dagrun": 2}})
        play = Play(spec)
        play.decide()
        assert play.states() == {"m": ["queued", "queued", "scheduled", "scheduled"]}
        play.succeed("m", 0)
        play.decide()
        assert play.states() == {"m": ["success", "queued", "queued", "scheduled"]}

    def test_waiting_for_a_slot_is_no_deadlock(self):
        play = Play(dag("a", "b", max_active_tasks=1))
        assert play.play() is SUCCESS

    def test_dagrun_timeout_ends_everything(self):
        play = Play(dag("a >> b", "c", dagrun_timeout=60))
        play.decide()
        play.start("a")
        assert play.decide().due_at == NOW + timedelta(seconds=60)
        play.wait(seconds=60)
        play.decide()
        assert play.states() == {"a": "skipped", "b": "skipped", "c": "skipped"}
        assert play.run.state is FAILED
        assert "dagrun_timeout" in play.run.reason


class TestHealing:
    def test_what_is_found_scheduled_is_sent_again(self):
        spec = dag("a")
        lost = ti("a", S.SCHEDULED, try_number=1, dispatch_count=1, scheduled_at=NOW)
        decision = decide(spec, run_of(spec), {("a", -1): lost}, now=NOW)
        assert decision.effects == (SendTask(lost),)
        assert decision.transitions == ()

    def test_a_silent_worker_fails_its_try_once(self):
        play = Play(dag("a", tasks={"a": {"retries": 1, "retry_delay": 10}}))
        play.decide()
        play.start("a")
        play.wait(seconds=59)
        assert play.decide().transitions == ()
        play.wait(seconds=1)
        decision = play.decide()
        assert [m.edge for m in decision.transitions] == ["lose"]
        assert play.states() == {"a": "up_for_retry"}
        assert play.instances["a", -1].due_at == play.now + timedelta(seconds=10)
        play.wait(seconds=10)
        play.decide()
        play.start("a")
        play.wait(seconds=60)
        play.decide()
        assert play.states() == {"a": "failed"}
        assert play.run.state is FAILED

    def test_a_heartbeat_keeps_the_worker(self):
        spec = dag("a")
        running = ti("a", S.RUNNING, try_number=1, start_date=NOW, heartbeat_at=NOW + timedelta(seconds=50))
        assert decide(spec, run_of(spec), {("a", -1): running}, now=NOW + timedelta(seconds=109)).transitions == ()

    @pytest.mark.parametrize(
        ("lived", "fields", "outgrew"),
        [
            (865, {}, Limit.TIME),
            (860, {}, Limit.TIME),
            (855, {}, None),
            (50, {}, None),
            (865, {"hostname": "fargate/x/y"}, None),
            (5000, {"hostname": "elsewhere/onprem/h/1"}, None),
            (865, {"next_method": "execute_complete"}, None),
        ],
    )
    def test_a_worker_that_falls_silent_at_its_time_limit_is_followed_by_a_container(self, lived, fields, outgrew):
        spec = dag("a", tasks={"a": {"retries": 1}})
        heard = NOW + timedelta(seconds=lived)
        running = ti("a", S.RUNNING, try_number=1, max_tries=1, start_date=NOW, heartbeat_at=heard, **fields)
        later = heard + timedelta(seconds=60)
        decision = decide(
            spec, run_of(spec), {("a", -1): running}, now=later, workers=Workers(has_fargate=True, memory=2048)
        )
        (lost,) = decision.transitions
        assert (lost.edge, lost.after.outgrew) == ("lose", outgrew)
        assert ("The next try runs on Fargate (1 vCPU, 2 GB)." in lost.after.reason) is (outgrew is Limit.TIME)

    def test_what_no_worker_takes_is_sent_once_more(self):
        play = Play(dag("a"))
        play.decide()
        play.wait(seconds=600)
        play.decide()
        assert [i.dispatch_count for i in play.sent] == [1, 2]
        assert play.instances["a", -1].try_number == 1

    def test_deciding_again_on_a_committed_decision_changes_nothing(self):
        play = Play(dag("a >> b", "a >> c"))
        play.decide()
        play.succeed("a")
        play.decide()
        again = play.decide()
        assert again.transitions == ()
        assert again.effects == ()
        assert again.run is None


class TestWhenToLookAgain:
    def test_one_write_serves_a_whole_minute_of_work(self):
        play = Play(dag(" >> ".join(f"t{i}" for i in range(20))))
        writes = 0
        for i in range(20):
            writes += play.decide().run is not None
            play.succeed(f"t{i}")
            play.wait(seconds=1)
        assert writes == 1

    def test_none_at_all_where_the_run_starts_with_it(self):
        play = Play(dag("a >> b"), due_at=NOW + timedelta(seconds=60))
        assert play.decide().run is None
        play.succeed("a")
        assert play.decide().run is None

    def test_a_running_task_is_looked_after_within_its_heartbeat(self):
        play = Play(dag("a"))
        play.decide()
        assert play.run.due_at == NOW + timedelta(seconds=60)
        play.start("a")
        play.wait(seconds=60)
        play.instances["a", -1] = transition.replace(play.instances["a", -1], heartbeat_at=play.now)
        play.decide()
        assert play.run.due_at == NOW + timedelta(seconds=120)

    def test_an_exact_time_replaces_a_later_one(self):
        play = Play(dag("a", tasks={"a": {"retries": 1, "retry_delay": 5}}))
        play.decide()
        play.fail("a")
        play.decide()
        assert play.run.due_at == NOW + timedelta(seconds=5)

    def test_a_run_that_waits_for_no_moment_is_looked_at_again_all_the_same(self):
        spec = dag("a")
        decision = decide(spec, run_of(spec, due_at=NOW), {("a", -1): parked_since(NOW)}, now=NOW)
        assert decision.run is not None
        assert decision.run.due_at == NOW + timedelta(minutes=10)
        assert decision.effects == ()

    def test_a_run_that_only_waits_for_jobs_of_which_events_tell_is_looked_at_every_hour(self):
        spec = dag("a", "b", "a >> c")
        parked = parked_since(NOW)
        told = replace(parked, trigger=replace(parked.trigger, looks_seldom=True))
        done = ti("b", S.SUCCESS, try_number=1)
        alone = decide(spec, run_of(spec, due_at=NOW), {("a", -1): told, ("b", -1): done}, now=NOW)
        assert alone.run.due_at == NOW + timedelta(hours=1)
        other = replace(parked, task_id="b")
        beside = decide(spec, run_of(spec, due_at=NOW), {("a", -1): told, ("b", -1): other}, now=NOW)
        assert beside.run.due_at == NOW + timedelta(minutes=10)

    def test_one_that_the_run_kept_back_for_long_has_its_minute_once_it_is_let_go(self):
        play = Play(dag("a", "b", max_active_tasks=1))
        play.decide()
        play.start("a")
        play.wait(minutes=30)
        play.commit(transition.succeed(play.instances["a", -1], at=play.now))
        assert play.decide().effects
        assert play.run.due_at == play.now + timedelta(minutes=1)

    def test_a_run_that_waits_for_the_past_is_looked_at_again_all_the_same(self):
        spec = dag("a", tasks={"a": {"depends_on_past": True}})
        decision = decide(spec, run_of(spec, due_at=NOW), {}, now=NOW)
        assert decision.run is not None
        assert decision.run.due_at == NOW + timedelta(minutes=10)

    def test_a_trigger_that_nobody_has_heard_of_is_sent_again(self):
        spec = dag("a")
        unheard = parked_since(NOW - timedelta(hours=1))
        decision = decide(spec, run_of(spec), {("a", -1): unheard}, now=NOW)
        assert decision.effects == (SendTrigger(unheard),)


def parked_since(moment):
    return ti(
        "a",
        S.DEFERRED,
        try_number=1,
        queued_at=moment,
        trigger=ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go"),
    )


def date_time_trigger(moment, **kwargs):
    return ParkedTrigger(
        classpath="airflow.providers.standard.triggers.temporal.DateTimeTrigger",
        kwargs={"moment": encoded_moment(moment), **kwargs},
        next_method="execute_complete",
        next_kwargs={"kept": 1},
    )


class TestDeferral:
    def test_a_pure_wait_is_woken_at_its_moment_and_never_sent(self):
        play = Play(dag("a"))
        play.decide()
        moment = NOW + timedelta(minutes=5)
        play.defer("a", date_time_trigger(moment, end_from_trigger=False))
        decision = play.decide()
        assert decision.effects == ()
        assert decision.due_at == moment
        play.wait(minutes=5)
        play.decide()
        resumed = play.instances["a", -1]
        assert resumed.state is S.QUEUED
        assert (resumed.try_number, resumed.dispatch_count) == (1, 2)
        assert resumed.next_method == "execute_complete"
        assert resumed.next_kwargs == {"kept": 1, "event": encoded_moment(moment)}
        play.start("a")
        assert play.instances["a", -1].start_date == NOW

    def test_a_pure_wait_may_end_its_task(self):
        play = Play(dag("a"))
        play.decide()
        play.defer("a", date_time_trigger(NOW + timedelta(hours=1), end_from_trigger=True))
        play.wait(hours=1)
        play.decide()
        assert play.states() == {"a": "success"}
        assert play.run.state is SUCCESS

    def test_other_triggers_are_sent_once(self):
        play = Play(dag("a", "b"))
        play.decide()
        play.defer("a", ParkedTrigger(classpath="x.Trigger", kwargs={}, next_method="go"))
        decision = play.decide()
        assert decision.effects == (SendTrigger(play.triggers[0]),)
        play.succeed("b")
        assert play.decide().effects == ()

    def test_a_trigger_that_times_out_fails_in_a_worker(self):
        play = Play(dag("a"))
        play.decide()
        timeout_at = NOW + timedelta(seconds=30)
        play.defer("a", ParkedTrigger(classpath="x.T", kwargs={}, next_method="go", timeout_at=timeout_at))
        assert play.decide().due_at == timeout_at
        play.wait(seconds=30)
        play.decide()
        resumed = play.instances["a", -1]
        assert resumed.state is S.QUEUED
        assert (resumed.next_method, resumed.next_kwargs) == ("__fail__", {"error": "Trigger timeout"})

    def test_a_task_may_start_from_its_trigger(self):
        arguments = {
            "trigger_cls": "airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
            "trigger_kwargs": {"delta": {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 60.0}},
            "next_method": "execute_complete",
            "next_kwargs": None,
            "timeout": None,
        }
        play = Play(dag("a", tasks={"a": {"start_from_trigger": True, "start_trigger_args": arguments}}))
        decision = play.decide()
        assert play.states() == {"a": "deferred"}
        assert decision.effects == ()
        assert play.decide().due_at == NOW + timedelta(seconds=60)
        play.wait(seconds=60)
        play.decide()
        assert play.instances["a", -1].state is S.QUEUED
        assert play.instances["a", -1].try_number == 1


class TestThePast:
    SPEC = dag("a >> b", tasks={"a": {"depends_on_past": True}})

    def test_is_needed_only_where_a_task_depends_on_it(self):
        assert is_needed(self.SPEC)
        assert not is_needed(dag("a"))

    def test_the_first_run_depends_on_nothing(self):
        play = Play(self.SPEC, past=Past())
        assert play.play() is SUCCESS

    def test_a_failure_before_holds_the_task_without_failing_the_run(self):
        past = Past(
            previous=run_of(self.SPEC, run_id="before"),
            instances={("a", -1): ti("a", S.FAILED)},
            known_tasks=frozenset({"a", "b"}),
        )
        play = Play(self.SPEC, past=past)
        play.decide()
        assert play.run.state is DagRunState.RUNNING
        assert "run before the task has not succeeded" in play.last.reasons["a", -1]

    def test_a_success_before_lets_it_go(self):
        past = Past(
            previous=run_of(self.SPEC, run_id="before"),
            instances={("a", -1): ti("a", S.SKIPPED)},
            known_tasks=frozenset({"a", "b"}),
        )
        assert Play(self.SPEC, past=past).play() is SUCCESS


def test_config_is_the_callers():
    play = Play(dag("a"), config=Config(heartbeat_timeout=timedelta(seconds=5)))
    play.decide()
    play.start("a")
    play.wait(seconds=5)
    play.decide()
    assert isinstance(play.instances["a", -1], TaskInstance)
    assert play.states() == {"a": "failed"}


@pytest.mark.parametrize("far", [{"is_setup": True}, {"is_setup": False}])
def test_a_decision_on_a_long_chain_costs_what_is_in_it_and_not_its_square(far: dict[str, bool]) -> None:
    """A setup far above is asked about by every task below it; what is certain goes from task to task in one decision."""

    def calls(length: int) -> int:
        names = [f"t{number:03}" for number in range(length)]
        tasks: dict[str, dict[str, object]] = {name: {"is_empty": True} for name in names}
        tasks[names[0]] |= far
        tasks[names[-1]]["is_teardown"] = far["is_setup"]
        spec = dag(" >> ".join(names), tasks=tasks)
        counted = 0

        def count(frame: FrameType, event: str, arg: object) -> None:
            nonlocal counted
            counted += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            decision = decide(spec, run_of(spec), {}, now=NOW)
        finally:
            sys.setprofile(before)
        assert len(decision.transitions) == length
        return counted

    assert calls(160) < 3 * calls(80)


ENDLESS = MOST_SECONDS


@pytest.mark.parametrize("seconds", [ENDLESS, 3_000_000 * 86400.0, -ENDLESS])
def test_durations_beyond_the_calendar(seconds: float) -> None:
    """What users may write is decided: a time that never comes, or has passed."""
    spec = dag(
        "a >> b",
        tasks={"a": {"retries": 1, "retry_delay": seconds}},
        dagrun_timeout=ENDLESS,
    )
    play = Play(spec)
    play.decide()
    play.fail("a")
    play.decide()
    if seconds > 0:
        assert play.states()["a"] == "up_for_retry"
        play.wait(days=3650)
        play.decide()
        assert play.states()["a"] == "up_for_retry"
    assert not play.run.is_finished


def test_a_dagrun_timeout_that_was_over_before_the_calendar_began() -> None:
    play = Play(dag("a", dagrun_timeout=-ENDLESS))
    play.decide()
    assert play.run.state is DagRunState.FAILED
