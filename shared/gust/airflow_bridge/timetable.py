"""Answer for a timetable, a deadline's reference or a partition mapper that a bundle's plugin brings: the other side of
`aws.timetables`."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from gust.airflow_bridge import compat, surroundings
from gust.airflow_bridge.answering import answer_in_child
from gust.ports.objects import Objects


def answer_for_plugin(objects: Objects, question: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """`question` is what `ParserTimetables` sends; see `answer_in_child` for the answer."""
    return answer_in_child(
        lambda bundle, workspace, environment: answer_here(bundle, question, workspace, environment),
        kind="timetable",
        objects=objects,
        bundle_version=question["bundle_version"],
        file=question.get("file", ""),
        folder=folder,
    )


def answer_here(
    bundle: Path | None, question: dict[str, Any], workspace: Path, environment: Path | None = None
) -> bytes:
    """Run the timetable in this process: the child's work."""
    compat.log_here()
    surroundings.enter(bundle, workspace, environment)
    if reference := question.get("deadline"):
        return json.dumps(compat.deadline_moment(reference, **question["of"])).encode()
    if mapper := question.get("mapper"):
        return json.dumps(answer_of_mapper(mapper, question)).encode()
    timetable = compat.decoded_timetable(question["timetable"])
    answer: Any
    match question:
        case {"manual_interval": arguments}:
            answer = compat.manual_interval(timetable, **arguments)
        case {"runs_between": arguments}:
            answer = compat.runs_between(timetable, **arguments)
        case {"run_id": arguments}:
            answer = compat.run_id(timetable, **arguments)
        case _:
            answer = compat.next_run(timetable, **question["next_run"])
    return json.dumps(answer).encode()


def answer_of_mapper(encoding: dict[str, Any], question: dict[str, Any]) -> Any:
    mapper = compat.decoded_partition_mapper(encoding)
    match question:
        case {"downstream_keys": arguments}:
            keys = mapper.to_downstream(arguments["key"])
            return [keys] if isinstance(keys, str) else list(keys)
        case {"carried_date": arguments}:
            date = mapper.carry_partition_date(datetime.fromisoformat(arguments["date"]))
        case {"is_satisfied": arguments}:
            return compat.is_partition_satisfied(mapper, arguments["key"], set(arguments["received"]))
        case {"date_of": arguments}:
            date = mapper.to_partition_date(arguments["key"])
        case _:
            raise ValueError(f"Nothing is known to ask a partition mapper in {sorted(question)}")
    return date.isoformat() if date else None
