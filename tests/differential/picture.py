"""The picture of both sides after every step: the states of all runs and instances, in one form."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class InstancePicture:
    state: str | None
    try_number: int
    max_tries: int | None = None


@dataclass
class Picture:
    runs: list[str] = field(default_factory=list)
    """The state of each run."""
    instances: dict[tuple[int, str, int], InstancePicture] = field(default_factory=dict)
    """By run, task and map index."""


def differences(airflow: Picture, gust: Picture) -> list[str]:
    """What is not the same, in words; empty where all is."""
    found = [
        f"run {number}: Airflow {theirs}, Gust {ours}"
        for number, (theirs, ours) in enumerate(zip(airflow.runs, gust.runs, strict=True))
        if theirs != ours
    ]
    for key in sorted(airflow.instances.keys() | gust.instances.keys()):
        theirs, ours = airflow.instances.get(key), gust.instances.get(key)
        if theirs == ours:
            continue
        run, task, index = key
        found.append(f"run {run}, {task}[{index}]: Airflow {_told(theirs)}, Gust {_told(ours)}")
    return found


def _told(instance: InstancePicture | None) -> str:
    if instance is None:
        return "has no such instance"
    return f"{instance.state or 'none'} (try {instance.try_number} of {instance.max_tries})"
