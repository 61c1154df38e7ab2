"""Every trigger of the installed providers: does its state between two polls outlive its lives?

A new release of a provider that brings a shape which is not known here fails these tests: look at it, then name it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, Final

import airflow.providers
import pytest
from airflow.triggers.base import BaseTrigger

from gust.airflow_bridge.pace import IN_ATTRIBUTES, MOST_ATTEMPTS, Arguments

KEPT_IN_LOCALS: Final = {
    "HttpEventTrigger": {"failures"},
    "KinesisTrigger": {"checkpoint_dirty", "shard_id"},
    "SageMakerNotebookJobTrigger": {"attempts"},
    "SsmRunCommandTrigger": {"invocation"},
    "TaskDoneTrigger": {"logs_token"},
    "GlueJobCompleteTrigger": {"error_token", "output_token"},
    "DateTimeTrigger": {"seconds_remaining"},
}
"""What goes from one turn of a trigger's loop to the next in a local variable, and is lost or computed anew in each life.
`attempts` is counted for the trigger. A log's token makes the log's lines come again. Failures of HTTP requests that follow
each other are not counted from life to life (docs/airflow-differences.md). The others follow from what is kept elsewhere."""

KEPT_IN_ATTRIBUTES: Final = {
    "S3KeysUnchangedTrigger": {"inactivity_seconds", "last_activity_time", "previous_objects"},
    "TaskDoneTrigger": {"waiter_max_attempts"},
    "SsmRunCommandTrigger": {"waiter_args"},
}
"""What goes in an attribute: it must be one that `serialize` says."""

SLEEPS_FOR_NO_TIME: Final = {"S3KeysUnchangedTrigger"}

MADE_OF: Final[dict[str, Any]] = {
    "int": 60,
    "float": 60.0,
    "bool": False,
    "dict": {},
    "list": [],
    "Collection": ["a"],
    "set": set(),
    "timedelta": timedelta(minutes=1),
    "datetime": datetime(2026, 1, 1, tzinfo=UTC),
    "str": "a",
}
"""By the beginning of a parameter's annotation: some argument."""

OF_ONE: Final[dict[str, dict[str, Any]]] = {
    "BedrockBaseBatchInferenceTrigger": {"waiter_name": "a"},
    "DateTimeTrigger": {"moment": datetime(2026, 1, 1, tzinfo=UTC)},
    "OpenSearchServerlessCollectionActiveTrigger": {"collection_id": "a"},
    "RdsDbAvailableTrigger": {"db_type": "instance"},
    "RdsDbDeletedTrigger": {"db_type": "instance"},
    "RdsDbStoppedTrigger": {"db_type": "instance"},
    "SageMakerPipelineTrigger": {"waiter_type": 1},
    "SageMakerTrigger": {"job_type": "training"},
}


def trigger_classes() -> Iterator[type[BaseTrigger]]:
    for module in modules_of(airflow.providers):
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, BaseTrigger) and kind.__module__ == module.__name__:
                yield kind


def modules_of(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda _: None):
        if ".triggers." in found.name and ".cncf." not in found.name:
            try:
                yield importlib.import_module(found.name)
            except ImportError:
                continue  # of what is not installed


CLASSES: Final = sorted(trigger_classes(), key=lambda kind: kind.__qualname__)


def made(kind: type[BaseTrigger]) -> BaseTrigger:
    arguments = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if (
            name == "self"
            or parameter.default is not inspect.Parameter.empty
            or parameter.kind
            in (
                inspect.Parameter.VAR_KEYWORD,
                inspect.Parameter.VAR_POSITIONAL,
            )
        ):
            continue
        said = str(parameter.annotation)
        arguments[name] = next(value for start, value in MADE_OF.items() if start in said or start == "str")
    return kind(**arguments | OF_ONE.get(kind.__qualname__, {}))


def loops_of(kind: type[BaseTrigger]) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The functions of the class with a loop that sleeps or waits, and the loop."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef):
            for loop in ast.walk(function):
                if isinstance(loop, (ast.While, ast.For, ast.AsyncFor)) and {"sleep", "async_wait"} & called(loop):
                    yield function, loop


def called(node: ast.AST) -> set[str]:
    calls = (call.func for call in ast.walk(node) if isinstance(call, ast.Call))
    return {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}


def stored(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def loaded(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)}


def attributes_changed(node: ast.AST) -> set[str]:
    """Of `self`."""
    targets = [
        target
        for statement in ast.walk(node)
        if isinstance(statement, (ast.Assign, ast.AugAssign))
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
    ]
    bases = [target.value if isinstance(target, ast.Subscript) else target for target in targets]
    return {
        base.attr
        for base in bases
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name) and base.value.id == "self"
    }


def test_the_providers_have_triggers() -> None:
    assert len(CLASSES) > 80


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_what_a_loop_carries_from_look_to_look_is_known(kind: type[BaseTrigger]) -> None:
    in_locals: set[str] = set()
    in_attributes: set[str] = set()
    for function, loop in loops_of(kind):
        in_locals |= stored(loop) & in_front_of(function, loop) & loaded(loop)
        in_attributes |= attributes_changed(loop)

    assert in_locals == KEPT_IN_LOCALS.get(kind.__qualname__, set())
    assert in_attributes == KEPT_IN_ATTRIBUTES.get(kind.__qualname__, set())


def in_front_of(function: ast.AST, loop: ast.AST) -> set[str]:
    """Names that the function has stored before the loop's first line."""
    return {
        part.id
        for part in ast.walk(function)
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store) and part.lineno < loop.lineno  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_attempts_of_all_lives_are_counted_wherever_a_trigger_limits_them(kind: type[BaseTrigger]) -> None:
    if inspect.isabstract(kind):
        pytest.skip("it is there to be derived from")
    trigger = made(kind)
    arguments = Arguments.of(trigger)
    limits = {name for name in inspect.signature(kind.__init__).parameters if name.endswith(MOST_ATTEMPTS)}
    assert arguments is not None
    assert arguments.have_limit or not limits
    if not arguments.have_limit:
        return
    (attribute,) = (name for name in IN_ATTRIBUTES if hasattr(trigger, name))
    most = int(getattr(trigger, attribute))

    arguments.use_up(trigger, 3)

    assert int(getattr(trigger, attribute)) == most - 3
    assert arguments.changed(trigger) is None


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__qualname__)
def test_a_loop_sleeps_for_some_time(kind: type[BaseTrigger]) -> None:
    """What it sleeps for is an argument, but for those whose loops Gust slows down."""
    of_arguments = set(inspect.signature(kind.__init__).parameters) | {"self"}
    for _, loop in loops_of(kind):
        for call in ast.walk(loop):
            if isinstance(call, ast.Call) and "sleep" in called(call) and isinstance(call.args[0], ast.Attribute):
                is_argument = call.args[0].attr in of_arguments
                assert is_argument or kind.__qualname__ in SLEEPS_FOR_NO_TIME, ast.unparse(call)
