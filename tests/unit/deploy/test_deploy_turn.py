"""One deployment at a time, and nothing that is uploaded meanwhile is forgotten."""

from dataclasses import dataclass, field, replace

import pytest

from gust.errors import ServiceUnavailable
from gust.model.deployment import Plan
from gust.services.deployments.activate_bundle import activate
from gust.services.deployments.deploy_bundle import Snapshot, snapshot
from gust.services.deployments.deployment_turn import request_deployment
from gust.services.deployments.fail_deployment import fail_deployment


@dataclass
class Machine:
    """Implements `ports.Deployments`."""

    started: list[str] = field(default_factory=list)

    def start(self, name: str) -> None:
        if name not in self.started:
            self.started.append(name)


def request(stack, machine: Machine, name: str) -> str:
    return request_deployment(stack.store, machine, name, stack.clock.now())


def run(stack, name: str) -> None:
    """What the state machine does, to its end."""
    while (taken := snapshot(stack.services, name)).changed:
        stack.parse(taken)
        activate(stack.services, taken.plan, name)


def holder(stack) -> str:
    return stack.store.deployment_turn().holder


def test_a_first_upload_starts_a_deployment(stack):
    machine = Machine()
    assert request(stack, machine, "one") == "one"
    assert machine.started == ["one"]


def test_uploads_while_one_runs_start_one_that_waits_in_case_it_is_dead(stack):
    machine = Machine()
    request(stack, machine, "one")
    assert [request(stack, machine, name) for name in ("two", "three")] == ["one", "one"]
    assert len(machine.started) == 2
    assert machine.started[1].startswith("after-")
    assert stack.store.deployment_turn().again


class CountedMoves:
    """A store that counts how often the turn was written."""

    def __init__(self, store) -> None:
        self.store, self.moves = store, 0

    def deployment_turn(self):
        return self.store.deployment_turn()

    def move_deployment_turn(self, before, after) -> None:
        self.moves += 1
        self.store.move_deployment_turn(before, after)


def test_a_thousand_uploads_while_one_runs_write_once(stack):
    machine, counted = Machine(), CountedMoves(stack.store)
    request(stack, machine, "one")
    for number in range(1000):
        request_deployment(counted, machine, f"upload-{number}", stack.clock.now())
    assert counted.moves == 1
    assert len(machine.started) == 2


def test_a_batch_that_is_delivered_twice_starts_one(stack):
    machine = Machine()
    request(stack, machine, "one")
    request(stack, machine, "one")
    assert machine.started == ["one"]


def test_when_it_is_done_the_next_may_start(stack):
    machine = Machine()
    stack.upload("a.py", "dag a")
    request(stack, machine, "one")
    run(stack, "one")
    assert stack.fresh() == {"a": "a.py"}
    assert holder(stack) == ""
    assert request(stack, machine, "two") == "two"


def test_what_comes_after_the_last_look_is_looked_at_too(stack):
    """The upload comes between a look that found nothing and giving up the turn."""
    machine = Machine()
    request(stack, machine, "one")
    look, looks = stack.objects.entries, []

    def look_and_then_upload(prefix: str):
        found = look(prefix)
        looks.append(prefix)
        if len(looks) == 2:
            stack.upload("a.py", "dag a")
            assert request(stack, machine, "two") == "one"
        return found

    stack.objects.entries = look_and_then_upload
    run(stack, "one")
    assert stack.fresh() == {"a": "a.py"}
    assert holder(stack) == ""


def test_the_turn_of_a_dead_one_is_taken_over(stack):
    machine = Machine()
    request(stack, machine, "one")
    stack.clock.advance(31)
    assert request(stack, machine, "two") == "two"
    assert machine.started == ["one", "two"]


def test_behind_one_that_has_been_silent_another_waits(stack):
    """It may have died a moment ago: then nobody would look."""
    machine = Machine()
    stack.upload("a.py", "dag a")
    request(stack, machine, "one")
    stack.clock.advance(6)
    request(stack, machine, "two")
    request(stack, machine, "three")
    first, waiting = machine.started
    assert first == "one"
    assert snapshot(stack.services, waiting) == Snapshot(changed=False, busy=True)
    stack.clock.advance(25)
    assert snapshot(stack.services, waiting).changed
    assert holder(stack) == waiting


def test_the_one_that_waited_finds_the_turn_free_when_the_first_ends(stack):
    machine = Machine()
    stack.upload("a.py", "dag a")
    request(stack, machine, "one")
    stack.clock.advance(6)
    request(stack, machine, "two")
    run(stack, "one")
    assert snapshot(stack.services, machine.started[1]) == Snapshot(changed=False)
    assert holder(stack) == ""


def test_much_to_parse_gives_it_more_time(stack):
    for number in range(100):
        stack.upload(f"{number}.py")
    request(stack, Machine(), "one")
    snapshot(stack.services, "one")
    stack.clock.advance(104)
    assert snapshot(stack.services, "two").busy
    stack.clock.advance(2)
    assert snapshot(stack.services, "two").changed


def test_one_whose_turn_was_taken_waits_for_it(stack):
    machine = Machine()
    request(stack, machine, "one")
    stack.clock.advance(31)
    request(stack, machine, "two")
    assert snapshot(stack.services, "one").busy
    assert holder(stack) == "two"


def test_a_turn_that_was_told_to_look_again_is_not_forgotten_by_a_sign_of_life(stack):
    machine = Machine()
    stack.upload("a.py", "dag a")
    request(stack, machine, "one")
    look = stack.objects.entries

    def look_and_then_tell(prefix: str):
        turn = stack.store.deployment_turn()
        stack.store.move_deployment_turn(turn, replace(turn, again=True))
        return look(prefix)

    stack.objects.entries = look_and_then_tell
    assert snapshot(stack.services, "one").changed
    assert stack.store.deployment_turn().again


def test_a_deployment_that_fails_tells_so_and_keeps_its_turn_while_it_rests(stack):
    stack.upload("a.py", "dag a")
    run(stack, "one")
    active = stack.store.active_bundle()
    stack.upload("a.py", "dag a @daily")
    assert snapshot(stack.services, "two").changed
    caught = {"Error": "Unopenable", "Cause": '{"errorType": "Unopenable", "errorMessage": "the disk is full"}'}
    fail_deployment(stack.services, "two", caught)
    assert stack.errors().keys() == {"(the whole folder)"}
    assert "Unopenable: the disk is full" in stack.errors()["(the whole folder)"]
    assert stack.store.active_bundle() == active
    stack.clock.advance(61)
    assert snapshot(stack.services, "three").busy

    run(stack, "two")
    assert stack.errors() == {}


def test_a_folder_that_is_as_it_was_has_no_failure(stack):
    stack.upload("a.py", "dag a")
    run(stack, "one")
    fail_deployment(stack.services, "two", {"Error": "States.Timeout", "Cause": "no JSON"})
    assert "States.Timeout: no JSON" in stack.errors()["(the whole folder)"]
    assert not snapshot(stack.services, "three").changed
    assert stack.errors() == {}


# --- rounds -----------------------------------------------------------------------------------------------------------


def test_what_was_parsed_in_time_is_activated_and_the_rest_is_the_next_rounds(stack):
    for number in range(60):
        stack.upload(f"{number:02}.py", f"dag d{number}")
    request(stack, Machine(), "one")
    stack.clock.advance(1)
    first = snapshot(stack.services, "one")
    assert [len(batch) for batch in plan_of(stack, first).batches] == [50, 10]
    stack.parse(first, most=3)
    activate(stack.services, first.plan, "one")
    assert len(stack.fresh()) == 6
    assert stack.dag("d59").bundle_version == stack.store.active_bundle().version

    second = snapshot(stack.services, "one")
    assert [len(batch) for batch in plan_of(stack, second).batches] == [7] * 7 + [5]
    stack.parse(second)
    activate(stack.services, second.plan, "one")
    assert len(stack.fresh()) == 60
    assert not snapshot(stack.services, "one").changed


def test_the_file_that_was_uploaded_last_is_parsed_first(stack):
    for path in ("b.py", "c.py", "a.py"):
        stack.upload(path)
    assert plan_of(stack, snapshot(stack.services, "one")).batches == (("a.py", "c.py", "b.py"),)


def test_a_file_that_waits_for_its_round_keeps_its_dags_as_they_were(stack):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "dag b")
    stack.upload("c.py", "dag c")
    run(stack, "zero")
    before = stack.store.active_bundle().version
    stack.upload("b.py", "dag b @daily")
    stack.upload("a.py", "dag a @daily")
    taken = snapshot(stack.services, "one")
    stack.parse(taken, most=1)
    activate(stack.services, taken.plan, "one")
    now = stack.store.active_bundle().version
    assert {name: stack.dag(name).bundle_version for name in "abc"} == {"a": now, "b": before, "c": now}
    run(stack, "one")
    assert stack.dag("b").bundle_version == now
    assert stack.versions("b") == [1, 2]


def test_a_dag_that_moves_into_a_file_that_waits_is_never_stale(stack):
    stack.upload("old.py", "dag a orders")
    stack.upload("more.py", "dag b")
    run(stack, "zero")
    stack.delete("old.py")
    stack.upload("new.py", "dag a orders")
    stack.upload("more.py", "dag b @daily")
    taken = snapshot(stack.services, "one")
    stack.parse(taken, most=1)
    activate(stack.services, taken.plan, "one")
    assert stack.fresh() == {"a": "old.py", "b": "more.py"}
    run(stack, "one")
    assert stack.fresh() == {"a": "new.py", "b": "more.py"}
    assert [file.relative_path for file in stack.store.list_source_files()] == ["more.py", "new.py"]


def test_a_round_in_which_nothing_was_parsed_activates_nothing(stack):
    stack.upload("a.py", "dag a")
    taken = snapshot(stack.services, "one")
    stack.parse(taken, most=0)
    with pytest.raises(ServiceUnavailable, match="1 files"):
        activate(stack.services, taken.plan, "one")
    assert stack.store.active_bundle() is None


def test_files_that_never_end_neither_loop_nor_hold_up_a_new_one(stack):
    """Each is tried once in a deployment, however long it takes, and only where there is nothing else to parse."""
    for number in range(18):
        stack.upload(f"slow{number:02}.py", "error out of time")
    request(stack, Machine(), "one")
    parsed = []
    while (taken := snapshot(stack.services, "one")).changed:
        stack.parse(taken, most=1)
        parsed.append(sum(map(len, plan_of(stack, taken).batches)))
        stack.clock.advance(400)
        activate(stack.services, taken.plan, "one")
    assert len(stack.parsed) == 18
    assert parsed == [18, 17, 11, 5]

    stack.parsed.clear()
    stack.clock.advance(400)
    stack.upload("new.py", "dag new")
    taken = snapshot(stack.services, "two")
    assert plan_of(stack, taken).batches == (("new.py",),)
    stack.parse(taken)
    activate(stack.services, taken.plan, "two")
    assert stack.fresh() == {"new": "new.py"}
    run(stack, "two")
    assert len(stack.parsed) == 19


def test_what_comes_between_two_rounds_waits_for_none_that_the_first_left(stack):
    for number in range(18):
        stack.upload(f"slow{number:02}.py", "error out of time")
    request(stack, Machine(), "one")
    taken = snapshot(stack.services, "one")
    stack.parse(taken, most=1)
    activate(stack.services, taken.plan, "one")

    stack.upload("new.py", "dag new")
    stack.objects.touch("dags/new.py", stack.clock.advance(60).timestamp())
    taken = snapshot(stack.services, "one")
    plan = plan_of(stack, taken)
    assert (plan.batches, len(plan.waiting)) == ((("new.py",),), 17)
    stack.parse(taken)
    activate(stack.services, taken.plan, "one")
    assert stack.fresh() == {"new": "new.py"}

    stack.upload("newer.py", "dag newer")
    stack.objects.touch("dags/newer.py", stack.clock.advance(60).timestamp())
    every = plan_of(stack, snapshot(stack.services, "one"))
    assert (sum(map(len, every.batches)), every.waiting) == (18, ())
    assert every.batches[0][0] == "newer.py"


def plan_of(stack, taken: Snapshot) -> Plan:
    return Plan.model_validate_json(stack.objects.get(taken.plan))
