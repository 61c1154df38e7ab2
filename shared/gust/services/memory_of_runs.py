"""A cache of the runs that this process looked at, for quick looks (`scheduling.quick_look`). It may be lost at any time."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from gust.model.keys import DagRunKey
from gust.scheduling.quick_look import Remembered

KEPT: Final = 64
"""Number of runs kept, the latest ones. A run of 10,000 instances takes about 2 MB."""


class MemoryOfRuns:
    def __init__(self) -> None:
        self._kept: OrderedDict[DagRunKey, Remembered] = OrderedDict()
        self._lock = Lock()

    def take(self, key: DagRunKey) -> Remembered | None:
        """Remove and return it: of two looks at the same time, one gets it."""
        with self._lock:
            return self._kept.pop(key, None)

    def put(self, key: DagRunKey, remembered: Remembered) -> None:
        with self._lock:
            self._kept[key] = remembered
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
