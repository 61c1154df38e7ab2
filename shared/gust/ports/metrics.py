"""Where measurements go."""

from collections.abc import Iterable
from typing import Protocol

from gust.model.measurement import Measurement


class Metrics(Protocol):
    def add(self, measurements: Iterable[Measurement]) -> None:
        """Safe to call from several threads. Raises nothing."""


class NoMetrics:
    """Implements `Metrics`, and forgets them."""

    def add(self, measurements: Iterable[Measurement]) -> None:
        pass
