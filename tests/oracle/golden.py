"""Real Airflow's results, as JSON next to the tests, and the comparison of another server's runs with them.

Several recordings of the same DAGs are merged: an XCom (or a part of one) that differs from recording to recording, a
random number or a time, is stored as its type; any other difference (a state, a try number) is stored as alternative
answers, each of which is right.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from tests.oracle.drive import ObservedRun, ObservedTask

VARIES: Final = "$varies"
"""`{"$varies": "int"}` stands for a value of that JSON type which no two runs agree on."""


@dataclass(frozen=True, slots=True)
class Golden:
    """By dag_id the distinct answers Airflow gave; `about` says how they were got."""

    about: dict[str, Any]
    runs: dict[str, tuple[ObservedRun, ...]]

    @classmethod
    def load(cls, path: Path) -> Golden:
        raw = json.loads(path.read_text())
        return cls(
            raw["about"],
            {dag_id: tuple(_run_from(answer) for answer in answers) for dag_id, answers in raw["runs"].items()},
        )

    def save(self, path: Path) -> None:
        raw = {
            "about": self.about,
            "runs": {dag_id: [asdict(answer) for answer in answers] for dag_id, answers in self.runs.items()},
        }
        path.write_text(json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def over(self, earlier: Golden, keep: Callable[[str], bool]) -> Golden:
        """These answers, and the earlier ones of the DAGs that `keep` says yes to."""
        kept = {name: answers for name, answers in earlier.runs.items() if keep(dag_of(name))}
        return Golden(self.about, kept | self.runs)

    def runs_of(self, dag_id: str) -> list[str]:
        """The names of its runs."""
        return sorted(name for name in self.runs if dag_of(name) == dag_id)

    def differences(self, dag_id: str, seen: ObservedRun) -> list[str]:
        """Nothing where `seen` equals one of Airflow's answers, else what sets it apart from the nearest of them."""
        return min((compare(answer, seen) for answer in self.runs[dag_id]), key=len)


def dag_of(name: str) -> str:
    """Of a run's name: `dag_id`, `dag_id/run_id` or `dag_id#1`."""
    return re.split("[/#]", name, maxsplit=1)[0]


def merge(recordings: Sequence[Mapping[str, ObservedRun]], about: dict[str, Any]) -> Golden:
    """One golden result from recordings of the same DAGs. One that was not recorded well may be missing in some."""
    for one, other in combinations(recordings, 2):
        in_both = {dag_of(name) for name in one} & {dag_of(name) for name in other}
        if differing := sorted(name for name in one.keys() ^ other.keys() if dag_of(name) in in_both):
            raise ValueError(f"the recordings have different runs: {differing}")
    runs: dict[str, tuple[ObservedRun, ...]] = {}
    for name in sorted({name for recording in recordings for name in recording}):
        answers = [recording[name] for recording in recordings if name in recording]
        runs[name] = _distinct(_mask_volatile(answer, answers) for answer in answers)
    return Golden(about, runs)


def compare(expected: ObservedRun, seen: ObservedRun) -> list[str]:
    """One line for each thing that differs; run and task states first."""
    found = [f"run: {seen.state}, Airflow {expected.state}"] if seen.state != expected.state else []
    for fact, told in expected.facts.items():
        if not matches(told, seen.facts.get(fact)):
            found.append(f"run: {fact} is {seen.facts.get(fact)!r}, Airflow {told!r}")
    for name in sorted({*expected.tasks, *seen.tasks}):
        want, got = expected.tasks.get(name), seen.tasks.get(name)
        if want is None or got is None:
            found.append(f"{name}: only {'here' if want is None else 'on Airflow'}")
            continue
        if got.state != want.state:
            found.append(f"{name}: {got.state}, Airflow {want.state}")
        if got.try_number != want.try_number:
            found.append(f"{name}: try {got.try_number}, Airflow {want.try_number}")
        elif want.tries and want.tries != got.tries:
            found.append(f"{name}: tries {got.tries}, Airflow {want.tries}")
        if want.rendered_map_index is not None and want.rendered_map_index != got.rendered_map_index:
            found.append(f"{name}: map index shown as {got.rendered_map_index!r}, Airflow {want.rendered_map_index!r}")
        for key in sorted({*want.xcoms, *got.xcoms}):
            if key not in want.xcoms or key not in got.xcoms:
                found.append(f"{name}: XCom {key!r} only {'here' if key in got.xcoms else 'on Airflow'}")
            elif not matches(want.xcoms[key], got.xcoms[key]):
                found.append(f"{name}: XCom {key!r} is {got.xcoms[key]!r}, Airflow {want.xcoms[key]!r}"[:500])
    return found


def matches(pattern: Any, value: Any) -> bool:
    """Equality, except where the pattern only asks for a type."""
    match pattern:
        case {"$varies": kind, **rest} if not rest:
            return bool(type(value).__name__ == kind)
        case dict():
            return (
                isinstance(value, dict)
                and pattern.keys() == value.keys()
                and all(matches(part, value[key]) for key, part in pattern.items())
            )
        case list():
            return (
                isinstance(value, list)
                and len(pattern) == len(value)
                and all(matches(part, other) for part, other in zip(pattern, value, strict=True))
            )
    return type(pattern) is type(value) and bool(pattern == value)


def _mask_volatile(run: ObservedRun, recordings: Iterable[ObservedRun]) -> ObservedRun:
    """`run` with every XCom value that varies between the recordings of the same task's success masked."""
    others = list(recordings)
    tasks = {}
    for name, task in run.tasks.items():
        alike = [other.tasks[name] for other in others if name in other.tasks and other.tasks[name].state == task.state]
        xcoms = {
            key: _common(value, [other.xcoms[key] for other in alike if key in other.xcoms])
            for key, value in task.xcoms.items()
        }
        tasks[name] = replace(task, xcoms=xcoms)
    facts = {fact: _common(told, [other.facts[fact] for other in others]) for fact, told in run.facts.items()}
    return replace(run, tasks=tasks, facts=facts)


def _common(value: Any, others: Sequence[Any]) -> Any:
    """The part of `value` that all share, with the rest masked by type."""
    if all(other == value for other in others):
        return value
    if isinstance(value, dict) and all(isinstance(other, dict) and other.keys() == value.keys() for other in others):
        return {key: _common(part, [other[key] for other in others]) for key, part in value.items()}
    if isinstance(value, list) and all(isinstance(other, list) and len(other) == len(value) for other in others):
        return [_common(part, [other[i] for other in others]) for i, part in enumerate(value)]
    return {VARIES: type(value).__name__}


def _distinct(runs: Iterable[ObservedRun]) -> tuple[ObservedRun, ...]:
    kept: list[ObservedRun] = []
    for run in runs:
        if run not in kept:
            kept.append(run)
    return tuple(kept)


def _run_from(raw: dict[str, Any]) -> ObservedRun:
    """A recording that is older than a field has nothing to say about it, and it is not compared."""
    tasks = {name: ObservedTask(**task) for name, task in raw["tasks"].items()}
    return ObservedRun(raw["state"], tasks, raw.get("facts", {}))
