"""Asks timetables of plugins in the parser's function: DAG authors' code runs in no function of the control plane."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from gust.errors import BadRequest
from gust.model.dag_spec import TimetableSpec
from gust.model.state import DagRunType
from gust.scheduling.timetable import DataInterval, NextRun, Restriction


@dataclass(frozen=True, slots=True)
class ParserTimetables:
    """Implements `ports.Timetables`."""

    invoke: Callable[[Mapping[str, Any]], dict[str, Any]]

    def next_run(
        self,
        spec: TimetableSpec,
        bundle_version: str | None,
        *,
        file: str = "",
        last: NextRun | None,
        allowed: Restriction,
    ) -> NextRun | None:
        question = {
            "last": _written(last) if last else None,
            "earliest": _text(allowed.earliest),
            "latest": _text(allowed.latest),
            "catchup": allowed.catchup,
        }
        answer = self._ask(spec, bundle_version, file, {"next_run": question})
        return None if answer is None else _run(answer)

    def runs_between(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", earliest: datetime, latest: datetime
    ) -> list[NextRun]:
        question = {"earliest": _text(earliest), "latest": _text(latest)}
        return [_run(answer) for answer in self._ask(spec, bundle_version, file, {"runs_between": question})]

    def manual_interval(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", run_after: datetime
    ) -> DataInterval:
        answer = self._ask(spec, bundle_version, file, {"manual_interval": {"run_after": _text(run_after)}})
        return DataInterval(datetime.fromisoformat(answer["start"]), datetime.fromisoformat(answer["end"]))

    def run_id(
        self, spec: TimetableSpec, bundle_version: str | None, *, file: str = "", run_type: DagRunType, run: NextRun
    ) -> str:
        described = _written(NextRun(run.run_after, run.data_interval))
        return str(self._ask(spec, bundle_version, file, {"run_id": {"run_type": run_type.value, "run": described}}))

    def deadline(
        self, reference: Mapping[str, Any], bundle_version: str | None, *, file: str = "", dag_id: str, run_id: str
    ) -> datetime | None:
        request = {"deadline": dict(reference), "of": {"dag_id": dag_id, "run_id": run_id}}
        answer = self.invoke({"timetable": None, "bundle_version": bundle_version, "file": file, **request})
        if "error" in answer:
            raise BadRequest(f"{reference['__class_path']} could not be asked: {answer['error']}")
        return None if answer["answer"] is None else datetime.fromisoformat(answer["answer"])

    def partition_mapper(
        self, mapper: Mapping[str, Any], bundle_version: str | None, request: Mapping[str, Any], *, file: str = ""
    ) -> Any:
        where = {"bundle_version": bundle_version, "file": file}
        answer = self.invoke({"timetable": None, **where, "mapper": mapper, **request})
        if "error" in answer:
            raise BadRequest(f"The partition mapper {mapper['__type']} could not be asked: {answer['error']}")
        return answer["answer"]

    def _ask(self, spec: TimetableSpec, bundle_version: str | None, file: str, question: dict[str, Any]) -> Any:
        timetable = {"__type": spec.type, "__var": spec.data}
        answer = self.invoke({"timetable": timetable, "bundle_version": bundle_version, "file": file, **question})
        if "error" in answer:
            raise BadRequest(f"The timetable {spec.type} could not be asked: {answer['error']}")
        return answer["answer"]


def _written(run: NextRun) -> dict[str, str | None]:
    covered = run.data_interval
    return {
        "run_after": _text(run.run_after),
        "start": _text(covered.start) if covered else None,
        "end": _text(covered.end) if covered else None,
        "partition_date": _text(run.partition_date),
        "partition_key": run.partition_key,
    }


def _run(answer: Mapping[str, Any]) -> NextRun:
    moments = {name: datetime.fromisoformat(text) for name, text in answer.items() if name in _MOMENTS and text}
    return NextRun(
        run_after=moments["run_after"],
        data_interval=DataInterval(moments["start"], moments["end"]) if "start" in moments else None,
        partition_date=moments.get("partition_date"),
        partition_key=answer.get("partition_key"),
        run_id=answer.get("run_id"),
    )


_MOMENTS: Final = frozenset({"run_after", "start", "end", "partition_date"})


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
