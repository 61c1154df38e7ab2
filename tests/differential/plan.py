"""A case: a DAG and the events of its runs, as plain data that can be drawn, shrunk, stored in a file and played again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Source = list[Any]
"""What is mapped over: `["literal", 3]`, `["xcom", "t0"]`, `["map", source]`, `["zip", a, b]`, `["zip_longest", a, b]`,
`["concat", a, b]`."""


@dataclass(kw_only=True)
class GroupPlan:
    name: str
    parent: str | None = None
    over: Source | None = None
    """What the group maps over; `None`: a plain group."""


@dataclass(kw_only=True)
class TaskPlan:
    name: str
    kind: str = "work"
    """work, empty, branch (follows some of its direct downstreams), short (may skip all that is downstream of it)."""
    rule: str = "all_success"
    after: list[str] = field(default_factory=list)
    group: str | None = None
    over: list[Source] = field(default_factory=list)
    """`expand`: one argument per source."""
    kwargs_over: Source | None = None
    """`expand_kwargs`."""
    is_setup: bool = False
    is_teardown: bool = False
    fails_run: bool = False
    """A teardown's `on_failure_fail_dagrun`."""
    retries: int = 0
    retry_delay: int = 60
    backoff: float = 0
    depends_on_past: bool = False
    ignore_first_depends_on_past: bool = True
    wait_for_downstream: bool = False
    max_per_run: int | None = None
    """`max_active_tis_per_dagrun`."""
    weight: int = 1
    """Its `priority_weight`, by the rule `absolute`."""
    ignores_rules: bool = True
    """A short circuit's `ignore_downstream_trigger_rules`."""
    begins_deferred: bool = False
    """`start_from_trigger`: the scheduler hands it to the triggerer."""
    starts: int | None = None
    """Its own `start_date`, in days from that of the first run."""


@dataclass(kw_only=True)
class Event:
    """One thing that happens. Where it cannot happen (any more) it does not, so that a shrunk case still plays."""

    do: str
    """start, end, fire, wait, clear, mark, pause, unpause, settle."""
    run: int = 0
    task: str = ""
    index: int = -1
    outcome: str = ""
    """How a try ends: success, fail (no try is wanted), retry (as the task has tries), skip, defer, reschedule."""
    length: int = 1
    """Of what it pushes, where it is mapped over; -1: nothing is pushed."""
    follows: list[str] | None = None
    """Of a branch: the direct downstreams it follows. Of a short circuit: `[]` where it stops, `None` where it goes on."""
    seconds: float = 0
    only: str = ""
    """Of a clear: `""` the instance, `down` with all that is downstream, `failed` all that failed."""


@dataclass(kw_only=True)
class Case:
    tasks: list[TaskPlan]
    groups: list[GroupPlan] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    runs: int = 1
    fail_fast: bool = False
    timeout: int | None = None
    catchup: bool = False
    max_active_tasks: int = 1000
    told: str = ""
    """Why the case is kept."""

    def to_json(self) -> str:
        return json.dumps(_without_defaults(asdict(self)), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Case:
        raw = json.loads(text)
        return cls(
            **{
                **raw,
                "tasks": [TaskPlan(**task) for task in raw["tasks"]],
                "groups": [GroupPlan(**group) for group in raw.get("groups", [])],
                "events": [Event(**event) for event in raw.get("events", [])],
            }
        )

    @classmethod
    def read(cls, path: Path) -> Case:
        return cls.from_json(path.read_text())


DEFAULTS = {
    "tasks": asdict(TaskPlan(name="")),
    "groups": asdict(GroupPlan(name="")),
    "events": asdict(Event(do="")),
}


def _without_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    for part, defaults in DEFAULTS.items():
        raw[part] = [
            {name: value for name, value in each.items() if name in {"name", "do"} or value != defaults[name]}
            for each in raw[part]
        ]
    plain = asdict(Case(tasks=[]))
    return {name: value for name, value in raw.items() if name == "tasks" or value != plain[name]}
