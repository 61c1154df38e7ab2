"""Ask timetables of plugins in the function that parses DAG files: strangers' code runs nowhere else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gust.errors import BadRequest
from gust.model.dag_spec import TimetableSpec
from gust.scheduling.timetable import DataInterval, NextRun, Restriction


@dataclass(frozen=True, slots=True)
class ParserTimetables:
    """Implements `services.ports.Timetables`."""

    invoke: Callable[[Mapping[str, Any]], dict[str, Any]]

    def next_run(
        self, spec: TimetableSpec, bundle_version: str | None, *, last: DataInterval | None, allowed: Restriction
    ) -> NextRun | None:
        answer = self._ask(
            spec,
            bundle_version,
            {
                "next_run": {
                    "last": [last.start.isoformat(), last.end.isoformat()] if last else None,
                    "earliest": allowed.earliest.isoformat() if allowed.earliest else None,
                    "latest": allowed.latest.isoformat() if allowed.latest else None,
                    "catchup": allowed.catchup,
                }
            },
        )
        if answer is None:
            return None
        return NextRun(run_after=datetime.fromisoformat(answer["run_after"]), data_interval=_interval(answer))

    def manual_interval(self, spec: TimetableSpec, bundle_version: str | None, *, run_after: datetime) -> DataInterval:
        question = {"manual_interval": {"run_after": run_after.isoformat()}}
        return _interval(self._ask(spec, bundle_version, question) or {})

    def deadline(
        self, reference: Mapping[str, Any], bundle_version: str | None, *, dag_id: str, run_id: str
    ) -> datetime | None:
        asked = {"deadline": dict(reference), "of": {"dag_id": dag_id, "run_id": run_id}}
        answer = self.invoke({"timetable": None, "bundle_version": bundle_version, **asked})
        if "error" in answer:
            raise BadRequest(f"{reference['__class_path']} could not be asked: {answer['error']}")
        return None if answer["answer"] is None else datetime.fromisoformat(answer["answer"])

    def _ask(self, spec: TimetableSpec, bundle_version: str | None, question: dict[str, Any]) -> dict[str, Any] | None:
        timetable = {"__type": spec.type, "__var": spec.data}
        answer = self.invoke({"timetable": timetable, "bundle_version": bundle_version, **question})
        if "error" in answer:
            raise BadRequest(f"The timetable {spec.type} could not be asked: {answer['error']}")
        found: dict[str, Any] | None = answer["answer"]
        return found


def _interval(answer: dict[str, Any]) -> DataInterval:
    return DataInterval(datetime.fromisoformat(answer["start"]), datetime.fromisoformat(answer["end"]))
