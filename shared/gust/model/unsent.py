"""What AWS did not take."""

from dataclasses import dataclass

from gust.model.workload import TaskWorkload


@dataclass(frozen=True, slots=True)
class Unsent:
    """A workload that no worker will get by this attempt."""

    workload: TaskWorkload
    why: str = ""
    """Why no other attempt can help, for people: the try fails. Empty: AWS refuses for now, and the scheduler sends the
    workload again."""
