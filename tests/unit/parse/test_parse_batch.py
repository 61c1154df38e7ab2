"""A batch continues where an earlier try ended, and a file that kills every try affects no other file."""

import itertools
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.parse import WORTH_WATCHING, parse_batch, with_proof
from gust.aws.memory import MemoryObjects
from gust.errors import Forbidden, NotFound, Unopenable
from gust.model import bucket_keys
from gust.model.dag_spec import DagSpec
from gust.model.deployment import ROUND, FileOutcome, Plan, Progress

PLAN = "parses/plan/plan.json"
FILES = ("a.py", "b.py", "c.py")


class Batch:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = MemoryObjects()
        self.bundle({path: f"from airflow.sdk import DAG\ndag = DAG('{path[0]}')\n" for path in FILES})

    def bundle(self, files: Mapping[str, str]) -> None:
        body = BytesIO()
        with ZipFile(body, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        self.objects.put(bucket_keys.bundle("v1"), body.getvalue())
        plan = Plan(bundle_version="v1", replacing=None, batches=((), tuple(files)))
        self.objects.put(PLAN, plan.model_dump_json().encode())

    def parse(self, **options) -> bool:
        return parse_batch(self.objects, PLAN, 1, folder=self.folder, **options)

    @property
    def progress(self) -> Progress:
        return Progress.model_validate_json(self.objects.get(bucket_keys.progress(PLAN, 1)))

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self.objects.put(bucket_keys.progress(PLAN, 1), progress.model_dump_json().encode())

    def outcomes(self) -> dict[str, FileOutcome]:
        return {outcome.relative_path: outcome for outcome in self.progress.outcomes}

    def dag_ids(self) -> dict[str, list[str]]:
        return {path: [dag.dag_id for dag in outcome.dags] for path, outcome in self.outcomes().items()}


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path.resolve())


def test_every_file_has_an_outcome(batch):
    assert batch.parse()
    assert batch.dag_ids() == {"a.py": ["a"], "b.py": ["b"], "c.py": ["c"]}
    assert batch.progress.parsing is None


def test_what_is_done_is_not_done_again(batch):
    batch.parse()
    first = batch.outcomes()["a.py"].parsed_at
    batch.progress = Progress(outcomes=batch.progress.outcomes[:1])
    batch.parse()
    assert batch.outcomes()["a.py"].parsed_at == first
    assert set(batch.outcomes()) == set(FILES)


def test_a_file_at_which_the_function_died_once_is_tried_again(batch):
    batch.progress = Progress(parsing="b.py")
    assert batch.parse()
    assert batch.dag_ids()["b.py"] == ["b"]


def test_a_file_at_which_it_died_twice_gets_an_import_error_and_hides_no_other(batch):
    batch.progress = Progress(parsing="b.py", deaths={"b.py": 1})
    assert batch.parse()
    assert batch.dag_ids() == {"a.py": ["a"], "b.py": [], "c.py": ["c"]}
    assert "died each time" in batch.outcomes()["b.py"].import_errors["b.py"]


def test_giving_up_runs_nothing(batch):
    assert batch.parse(give_up=True)
    assert batch.dag_ids() == {"a.py": [], "b.py": [], "c.py": []}
    assert all(outcome.import_errors for outcome in batch.outcomes().values())


@pytest.mark.parametrize("give_up", [False, True])
def test_a_bundle_that_cannot_be_opened_is_not_given_up_into_being_active(batch, give_up):
    batch.objects.put(bucket_keys.bundle("v1"), b"no archive")
    with pytest.raises(Unopenable):
        batch.parse(give_up=give_up)
    with pytest.raises(NotFound):
        _ = batch.progress


def test_it_ends_in_time_and_goes_on_later(batch):
    left = iter([100.0, 59.0])
    assert not batch.parse(time_left=lambda: next(left))
    assert set(batch.outcomes()) == {"a.py", "b.py"}
    assert batch.progress.parsing is None
    assert batch.parse(time_left=lambda: 300.0)
    assert set(batch.outcomes()) == set(FILES)


def test_the_first_file_is_parsed_however_little_time_is_left(batch):
    assert not batch.parse(time_left=lambda: 0.0)
    assert set(batch.outcomes()) == {"a.py"}


def test_when_the_rounds_time_is_up_the_rest_is_left(batch):
    moments = iter([100.0, 100.0 + ROUND, 100.1 + ROUND])
    assert batch.parse(clock=lambda: next(moments))
    assert set(batch.outcomes()) == {"a.py", "b.py"}


def test_the_first_file_is_parsed_however_late_it_is(batch):
    moments = itertools.count(100.0, 10 * ROUND)
    assert batch.parse(clock=lambda: next(moments))
    assert set(batch.outcomes()) == {"a.py"}


def test_a_progress_that_is_none_is_begun_anew(batch):
    batch.objects.put(bucket_keys.progress(PLAN, 1), b"forged")
    assert batch.parse()
    assert set(batch.outcomes()) == set(FILES)


def test_half_a_character_in_an_error_is_written_out(batch):
    outcome = parsed(batch, 'raise ValueError("\\ud800")')
    assert "ValueError: \\ud800" in outcome.import_errors["a.py"]


def test_a_very_long_error_is_cut_in_the_middle(batch):
    trace = parsed(batch, 'raise ValueError("E" * 500_000)').import_errors["a.py"]
    assert trace.startswith("Traceback")
    assert "bytes are left out here" in trace
    assert len(trace) < 65_000


def test_a_dag_whose_structure_no_scheduler_could_hold_is_an_import_error(batch):
    outcome = parsed(
        batch,
        "from airflow.sdk import DAG",
        "a = DAG('small')",
        "b = DAG('large', description='d' * 21_000_000)",
    )
    assert [dag.dag_id for dag in outcome.dags] == ["small"]
    assert outcome.import_errors["a.py"].startswith("large is not activated: Its structure takes 21,00")


def parsed(batch: Batch, *lines: str) -> FileOutcome:
    batch.bundle({"a.py": "\n".join(("# airflow dag", *lines))})
    batch.parse()
    return batch.outcomes()["a.py"]


# --- the parse under watch -------------------------------------------------------------------------------------------

LARGE = """
import {imports}
from airflow.sdk import DAG, task
with DAG("{dag}"):
    @task
    def t(): ...
    for number in range({tasks}):
        t.override(task_id=f"t{{number}}")()
"""


class ReadsNoSpec:
    def __init__(self, bucket: MemoryObjects) -> None:
        self.bucket = bucket

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bucket, name)

    def get(self, key: str) -> bytes:
        if key.startswith("specs/"):
            raise Forbidden(key)
        return self.bucket.get(key)


class DiesAtWatch(ReadsNoSpec):
    def put(self, key: str, body: bytes, **told: Any) -> None:
        self.bucket.put(key, body, **told)
        if b'"is_watched":true' in body:
            raise KeyboardInterrupt


def large(dag: str, *, imports: str = "os", tasks: int = WORTH_WATCHING) -> str:
    return LARGE.format(dag=dag, imports=imports, tasks=tasks)


def proven(batch: Batch) -> dict[str, bool]:
    """By dag_id: whether its spec has a proof that the file may be parsed once for many tasks."""
    dags = [dag for outcome in batch.progress.outcomes for dag in outcome.dags]
    specs = {dag.dag_id: DagSpec.model_validate_json(batch.objects.get(dag.spec_key)) for dag in dags}
    return {dag_id: spec.same_parse is not None for dag_id, spec in specs.items()}


def test_a_file_of_many_tasks_is_watched_after_all_are_parsed(batch):
    batch.bundle(
        {
            "large.py": large("large"),
            "of_time.py": large("of_time", imports="time; time.time()"),
            "small.py": large("small", tasks=1),
        }
    )
    assert batch.parse()
    assert proven(batch) == {"large": True, "of_time": False, "small": False}


def test_the_function_does_not_watch_again_when_it_has_died_at_that(batch):
    batch.bundle({"large.py": large("large")})
    with pytest.raises(KeyboardInterrupt):
        parse_batch(DiesAtWatch(batch.objects), PLAN, 1, folder=batch.folder)
    assert batch.progress.is_watched
    assert batch.parse()
    assert proven(batch) == {"large": False}


def test_the_parser_reads_no_spec(batch):
    """Its role has no right to."""
    batch.bundle({"large.py": large("large")})
    batch.objects = ReadsNoSpec(batch.objects)
    assert batch.parse()
    batch.objects = batch.objects.bucket
    assert proven(batch) == {"large": True}


def test_a_file_that_hangs_under_watch_keeps_its_outcome(batch):
    hangs = "time\ntry:\n    time.time()\nexcept BaseException:\n    while True: pass"
    batch.bundle({"large.py": large("large", imports=hangs)})
    batch.parse(time_left=lambda: 0.0)
    (outcome,) = batch.progress.outcomes
    bundles = BundleFolder(batch.objects, batch.folder)
    specs = {dag.spec_key: batch.objects.get(dag.spec_key).decode() for dag in outcome.dags}
    assert with_proof(bundles, bundles.fetch("v1"), outcome, specs, timeout=0.5) == outcome
