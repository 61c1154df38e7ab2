"""Ask a timetable, a deadline's reference or a partition mapper of a bundle's plugin, in a child: the other side of
`aws.timetables`."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from gust.airflow_bridge import compat, surroundings
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.child import run_in_child
from gust.airflow_bridge.parse import memory_for_child, ready
from gust.ports.objects import Objects

PATIENCE: Final = 20.0
"""Seconds for one answer; a person may be waiting for it."""


def ask(objects: Objects, question: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """`{"answer": …}`, or `{"error": why}` in a person's words. `question` is what `ParserTimetables` sends."""
    ready()
    version = question["bundle_version"]
    bundle = (BundleFolder(objects, folder) if folder else BundleFolder(objects)).fetch(version) if version else None
    with surroundings.workspace("timetable") as workspace:
        ended = run_in_child(
            lambda: answer_here(bundle, question, workspace), timeout=PATIENCE, memory=memory_for_child()
        )
    if ended.answer is None:
        last_line = (ended.output.strip().splitlines() or [""])[-1]
        return {"error": f"{ended.how} {last_line}".strip()}
    return {"answer": json.loads(ended.answer)}


def answer_here(bundle: Path | None, question: dict[str, Any], workspace: Path) -> bytes:
    """Run the timetable in this process: the child's work."""
    compat.log_here()
    surroundings.enter(bundle, workspace)
    if reference := question.get("deadline"):
        return json.dumps(compat.deadline_moment(reference, **question["of"])).encode()
    if mapper := question.get("mapper"):
        return json.dumps(answer_of_mapper(mapper, question)).encode()
    timetable = compat.decoded_timetable(question["timetable"])
    answer: Any
    match question:
        case {"manual_interval": asked}:
            answer = compat.manual_interval(timetable, **asked)
        case {"runs_between": asked}:
            answer = compat.runs_between(timetable, **asked)
        case {"run_id": asked}:
            answer = compat.run_id(timetable, **asked)
        case _:
            answer = compat.next_run(timetable, **question["next_run"])
    return json.dumps(answer).encode()


def answer_of_mapper(encoding: dict[str, Any], question: dict[str, Any]) -> Any:
    mapper = compat.decoded_partition_mapper(encoding)
    match question:
        case {"downstream_keys": asked}:
            keys = mapper.to_downstream(asked["key"])
            return [keys] if isinstance(keys, str) else list(keys)
        case {"carried_date": asked}:
            date = mapper.carry_partition_date(datetime.fromisoformat(asked["date"]))
        case {"is_satisfied": asked}:
            return compat.is_partition_satisfied(mapper, asked["key"], set(asked["received"]))
        case {"date_of": asked}:
            date = mapper.to_partition_date(asked["key"])
        case _:
            raise ValueError(f"Nothing is known to ask a partition mapper in {sorted(question)}")
    return date.isoformat() if date else None
