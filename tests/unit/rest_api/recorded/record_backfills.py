"""Records Airflow's answers about backfills: `python -m tests.unit.rest_api.recorded.record_backfills`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.unit.rest_api.recorded.backfill_requests import REQUESTS
from tests.unit.rest_api.recorded.record import HERE, answers, prepare, read_serialized, spec_of


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home), "backfills.py")
        specs = [json.loads(spec_of(serialized)) for serialized in read_serialized(Path(home), "backfills.py")]
        (HERE / "backfills.spec.json").write_text("\n".join(json.dumps(spec) for spec in specs) + "\n")
        lines = [json.dumps(answer).replace(f"{home}/dags/", "") for answer in answers(REQUESTS)]
        (HERE / "backfill_answers.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
