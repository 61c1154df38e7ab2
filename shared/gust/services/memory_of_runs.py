"""What this process remembers of the runs that it looked at (`scheduling.quick_look`). Lost with the process, and never
needed."""

from collections import OrderedDict
from threading import Lock
from typing import Final

from gust.model.keys import DagRunKey
from gust.scheduling.quick_look import Remembered

KEPT: Final = 64
"""Runs, the last looked at. One of 10,000 instances takes about 2 MB."""


class MemoryOfRuns:
    def __init__(self) -> None:
        self._kept: OrderedDict[DagRunKey, Remembered] = OrderedDict()
        self._lock = Lock()

    def take(self, key: DagRunKey) -> Remembered | None:
        """Takes it out: of two looks at once, one has it."""
        with self._lock:
            return self._kept.pop(key, None)

    def put(self, key: DagRunKey, remembered: Remembered) -> None:
        with self._lock:
            self._kept[key] = remembered
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
