"""Many small calls at once: a wide fan-out commits in milliseconds rather than in one round trip after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Parallel:
    """Threads that are started when first needed."""

    WIDTH: Final = 16
    _FEW: Final = 2

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    def map(self, function: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
        """Results in order. Every call is made to its end; then the first error, if any, is raised."""
        if len(arguments) <= self._FEW:
            return [function(argument) for argument in arguments]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.WIDTH, thread_name_prefix="gust-store")
        futures = [self._threads.submit(function, argument) for argument in arguments]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]
