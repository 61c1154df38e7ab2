"""One constructor per legal edge of a task instance's life. Nothing else in Gust makes a `Transition`.

`before` is what the mover saw, `after` what shall be; the store writes the difference if the instance still is where
`before` says. `docs/state_machine.md` draws the edges under these names.
"""

from __future__ import annotations

from dataclasses import dataclass

from gust.model.task_instance import TaskInstance


@dataclass(frozen=True, slots=True)
class Transition:
    edge: str
    """Name of the constructor that made it."""
    before: TaskInstance
    after: TaskInstance
    keeps_try: bool = False
    """`before`'s try is over and another will take its place: keep it in the history."""
