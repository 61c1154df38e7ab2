"""A case is played on both sides at once; after every step both must say the same."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any

from gust.airflow_bridge.dag_spec import build_spec
from gust.model.dag_spec import DagSpec
from tests.differential.airflow_side import ORDERS, AirflowSide
from tests.differential.author import author
from tests.differential.draw import Fate, draw_dag
from tests.differential.gust_side import GustSide
from tests.differential.picture import Picture, differences
from tests.differential.plan import Case, Event
from tests.differential.shrink import shrink

MOST_STEPS = 16


class NoSuchDag(Exception):
    """Airflow would not take such a DAG."""


@dataclass
class Outcome:
    case: Case
    steps: int = 0
    differences: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    """How often instances were seen in each state, and runs in theirs: what is never seen was never compared."""

    @property
    def agrees(self) -> bool:
        return not self.differences


class Stage:
    """Both sides, used for one case after another."""

    def __init__(self) -> None:
        self.airflow = AirflowSide()
        self.gust = GustSide()

    def play_random(self, seed: str) -> Outcome:
        """Draws a case and plays it; it is in the outcome with everything that happened."""
        random = Random(seed)  # noqa: S311 - the same seed must give the same case
        while True:
            case = draw_dag(random)
            try:
                spec, serialized = self._parse(case)
            except NoSuchDag:
                continue
            fate = Fate(random, case, spec)
            outcome = self._play(case, spec, serialized, fate.next_events)
            return outcome if outcome.agrees else self.replay(outcome.case)

    def replay(self, case: Case) -> Outcome:
        """Gust shall decide as an Airflow does; which one, where they differ, is told by the order in which a process of
        it happens to ask a task's dependencies."""
        spec, serialized = self._parse(case)
        outcomes = []
        for self.airflow.order in ORDERS:
            steps = iter(_steps(case.events))
            played = Case(**{**vars(case), "events": []})
            outcomes.append(self._play(played, spec, serialized, lambda _, steps=steps: next(steps, [])))
            if outcomes[-1].agrees:
                break
        self.airflow.order = ORDERS[0]
        return outcomes[-1] if outcomes[-1].agrees else outcomes[0]

    def shrink(self, case: Case) -> Case:
        """The smallest case that still differs."""

        def differs(smaller: Case) -> bool:
            try:
                return not self.replay(deepcopy(smaller)).agrees
            except NoSuchDag:
                return False

        return shrink(case, differs)

    def _parse(self, case: Case) -> tuple[DagSpec, dict[str, Any]]:
        try:
            serialized = author(case, "dag")
        except Exception as refused:  # Airflow has many ways to refuse a DAG
            raise NoSuchDag(str(refused)) from refused
        spec, _ = build_spec(json.dumps(serialized), bundle_name="dags")
        return spec, serialized

    def _play(
        self, case: Case, spec: DagSpec, serialized: dict[str, Any], happens: Callable[[Picture], list[Event]]
    ) -> Outcome:
        outcome = Outcome(case)
        sides = (self.airflow, self.gust)
        for side in sides:
            side.begin(case, spec, serialized)
        for _ in range(MOST_STEPS):
            for side in sides:
                side.settle()
            theirs, ours = self.airflow.picture(), self.gust.picture()
            outcome.steps += 1
            outcome.history.append(str(theirs))
            outcome.seen.update(str(instance.state).lower() for instance in theirs.instances.values())
            outcome.seen.update(f"run {state}" for state in theirs.runs)
            outcome.differences = differences(theirs, ours)
            if outcome.differences:
                return outcome
            events = happens(theirs)
            if not events:
                return outcome
            for event in events:
                case.events.append(event)
                for side in sides:
                    side.apply(event)
                    if case.fail_fast:
                        # Airflow stops the others in the transaction of the failure, so nothing may come in between.
                        side.settle()
            case.events.append(Event(do="settle"))
        return outcome


def _steps(events: Iterable[Event]) -> list[list[Event]]:
    steps: list[list[Event]] = [[]]
    for event in events:
        if event.do == "settle":
            steps.append([])
        else:
            steps[-1].append(event)
    return [step for step in steps if step]
