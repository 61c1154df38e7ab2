"""The part of a history that a list reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from gust.model.moment import later

T = TypeVar("T")

_RESOLUTION: Final = timedelta.resolution


@dataclass(frozen=True, slots=True)
class Window:
    """The moments from `first` to `last`, both included (`None`: without a bound), and the order in which they are read."""

    first: datetime | None = None
    last: datetime | None = None
    ascending: bool = field(kw_only=True)

    @classmethod
    def between(cls, after: datetime | None, before: datetime | None, *, ascending: bool) -> Window:
        """The moments between two others, which are not included. Moments have microseconds."""
        return cls(
            None if after is None else later(after, _RESOLUTION),
            None if before is None else later(before, -_RESOLUTION),
            ascending=ascending,
        )

    def narrowed(self, first: datetime | None = None, last: datetime | None = None) -> Window:
        """The part of the window from `first` to `last`, both included."""
        return replace(
            self,
            first=max((bound for bound in (self.first, first) if bound is not None), default=None),
            last=min((bound for bound in (self.last, last) if bound is not None), default=None),
        )

    def read(self, *, ascending: bool) -> Window:
        """The same moments in this order."""
        return replace(self, ascending=ascending)

    @property
    def is_unbounded(self) -> bool:
        return self.first is None and self.last is None

    def holds(self, moment: datetime) -> bool:
        return (self.first is None or self.first <= moment) and (self.last is None or moment <= self.last)

    def in_order(self, oldest_first: Sequence[T]) -> Iterator[T]:
        return iter(oldest_first) if self.ascending else reversed(oldest_first)


NEWEST_FIRST: Final = Window(ascending=False)
OLDEST_FIRST: Final = Window(ascending=True)
"""Without bounds."""
