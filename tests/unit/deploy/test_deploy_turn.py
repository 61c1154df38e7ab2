"""One deployment at a time, and nothing that is uploaded meanwhile is forgotten."""

from dataclasses import dataclass, field

from gust.model.bundle import DeploymentTurn
from gust.services.deploy_bundle import snapshot
from gust.services.request_deployment import request_deployment


@dataclass
class Machine:
    """Implements `services.ports.Deployments`."""

    started: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)

    def start(self, name: str) -> None:
        if name not in self.started:
            self.started.append(name)
            self.running.add(name)

    def is_running(self, name: str) -> bool:
        return name in self.running


def request(stack, machine: Machine, name: str) -> str:
    return request_deployment(stack.store, machine, name)


def run(stack, machine: Machine, name: str) -> None:
    """What the state machine does, to its end."""
    while (taken := snapshot(stack.services, name)).changed:
        stack.parse(taken)
        stack.activate(taken)
    machine.running.discard(name)


def test_a_first_upload_starts_a_deployment(stack):
    machine = Machine()
    assert request(stack, machine, "one") == "one"
    assert machine.started == ["one"]


def test_uploads_while_one_runs_start_no_other(stack):
    machine = Machine()
    request(stack, machine, "one")
    assert [request(stack, machine, name) for name in ("two", "three")] == ["one", "one"]
    assert machine.started == ["one"]
    assert stack.store.deployment_turn() == DeploymentTurn(holder="one", again=True)


def test_a_batch_that_is_delivered_twice_starts_one(stack):
    machine = Machine()
    request(stack, machine, "one")
    request(stack, machine, "one")
    assert machine.started == ["one"]


def test_when_it_is_done_the_next_may_start(stack):
    machine = Machine()
    stack.upload("a.py", "dag a")
    request(stack, machine, "one")
    run(stack, machine, "one")
    assert stack.fresh() == {"a": "a.py"}
    assert stack.store.deployment_turn() == DeploymentTurn(holder="", again=False)
    assert request(stack, machine, "two") == "two"


def test_what_comes_after_the_last_look_is_looked_at_too(stack):
    """The upload comes between a look that found nothing and giving up the turn."""
    machine = Machine()
    request(stack, machine, "one")
    real_list, calls = stack.objects.list, []

    def listing(prefix: str):
        found = real_list(prefix)
        calls.append(prefix)
        if len(calls) == 1:
            stack.upload("a.py", "dag a")
            assert request(stack, machine, "two") == "one"
        return found

    run(stack, machine, "one")  # the empty folder
    machine.running.add("one")
    stack.store.move_deployment_turn(stack.store.deployment_turn(), DeploymentTurn(holder="one", again=False))
    stack.objects.list = listing
    run(stack, machine, "one")
    assert stack.fresh() == {"a": "a.py"}
    assert stack.store.deployment_turn() == DeploymentTurn(holder="", again=False)


def test_the_turn_of_a_dead_one_is_taken_over(stack):
    machine = Machine()
    request(stack, machine, "one")
    machine.running.discard("one")
    assert request(stack, machine, "two") == "two"
    assert machine.started == ["one", "two"]


def test_one_whose_turn_was_taken_does_not_give_it_up(stack):
    machine = Machine()
    request(stack, machine, "one")
    machine.running.discard("one")
    request(stack, machine, "two")
    run(stack, machine, "one")
    assert stack.store.deployment_turn() == DeploymentTurn(holder="two", again=False)
