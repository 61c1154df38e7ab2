"""Files of `tests/unit/parse_dags` as the parser sees them: each is parsed once, in a child, as in the function."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from gust.airflow_bridge import parse
from gust.aws.memory import MemoryObjects
from gust.model.dag_spec import DagSpec
from gust.model.deployment import FileOutcome

FOLDER = Path(__file__).parent.parent / "parse_dags"
Parsed = tuple[FileOutcome, dict[str, DagSpec]]


@pytest.fixture(scope="session")
def parsed() -> Callable[[str], Parsed]:
    """File of the folder → its outcome, and its specs by dag_id."""

    @cache
    def parsed(path: str) -> Parsed:
        objects = MemoryObjects()
        outcome = parse.parse_file(objects, FOLDER, path, "dags-folder")
        specs = [DagSpec.model_validate_json(objects.get(dag.spec_key)) for dag in outcome.dags]
        return outcome, {spec.dag_id: spec for spec in specs}

    return parsed
