"""Fixtures of the deployment's tests."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import pytest

from gust.aws.memory import MemoryObjects
from gust.ports.clock import ManualClock
from gust.store.memory import MemoryStore
from tests.unit.deploy.stack import NOON, DiedError, Dying, Stack


@pytest.fixture
def stack() -> Stack:
    clock = ManualClock(NOON)
    return Stack(clock=clock, store=MemoryStore(clock=clock), objects=MemoryObjects())


@pytest.fixture
def dies() -> Callable[[Stack, int], AbstractContextManager[None]]:
    """Within it, the stack's user dies after so many writes to the table."""

    @contextmanager
    def dies(stack: Stack, after: int) -> Iterator[None]:
        real = stack.store
        stack.store = Dying(real, after=after)
        with suppress(DiedError):
            yield
        stack.store = real

    return dies
