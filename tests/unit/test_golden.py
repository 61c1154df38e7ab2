"""The yardstick itself: what counts as the same, and what recordings that disagree become."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracle.drive import ObservedRun, ObservedTask
from tests.oracle.golden import VARIES, Golden, compare, matches, merge

GOLDEN = Path(__file__).parents[1] / "system" / "golden"


def a_run(**xcoms: object) -> ObservedRun:
    return ObservedRun("success", {"load": ObservedTask("success", 1, dict(xcoms))})


def test_equal_recordings_are_one_answer():
    golden = merge([{"etl": a_run(rows=3)}, {"etl": a_run(rows=3)}], {})

    assert golden.runs["etl"] == (a_run(rows=3),)
    assert golden.differences("etl", a_run(rows=3)) == []


def test_a_value_that_varies_is_kept_as_its_type():
    golden = merge([{"etl": a_run(made={"rows": 3, "name": "a"})}, {"etl": a_run(made={"rows": 9, "name": "a"})}], {})

    assert golden.runs["etl"] == (a_run(made={"rows": {VARIES: "int"}, "name": "a"}),)
    assert golden.differences("etl", a_run(made={"rows": 77, "name": "a"})) == []
    assert golden.differences("etl", a_run(made={"rows": "77", "name": "a"}))
    assert golden.differences("etl", a_run(made={"rows": 77, "name": "b"}))


def test_states_that_vary_are_several_answers_and_each_is_right():
    failed = ObservedRun("failed", {"load": ObservedTask("failed", 2)})
    golden = merge([{"etl": a_run()}, {"etl": failed}], {})

    assert golden.differences("etl", a_run()) == []
    assert golden.differences("etl", failed) == []
    assert golden.differences("etl", replace(failed, state="success")) == ["run: success, Airflow failed"]


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (ObservedRun("failed", a_run(rows=3).tasks), "run: failed, Airflow success"),
        (ObservedRun("success", {}), "load: only on Airflow"),
        (ObservedRun("success", {"load": ObservedTask("skipped", 1, {"rows": 3})}), "load: skipped, Airflow success"),
        (ObservedRun("success", {"load": ObservedTask("success", 2, {"rows": 3})}), "load: try 2, Airflow 1"),
        (a_run(), "load: XCom 'rows' only on Airflow"),
        (a_run(rows=3, more=1), "load: XCom 'more' only here"),
        (a_run(rows=4), "load: XCom 'rows' is 4, Airflow 3"),
    ],
)
def test_each_kind_of_difference_is_named(seen, complaint):
    assert compare(a_run(rows=3), seen) == [complaint]


def test_true_is_not_one():
    assert not matches(1, True)
    assert not matches([1.0], [1])


def test_a_golden_file_reads_as_it_was_written(tmp_path):
    golden = merge([{"etl": a_run(rows=[1, {"a": None}])}], {"airflow": "3.3.2"})
    golden.save(tmp_path / "golden.json")

    assert Golden.load(tmp_path / "golden.json") == golden


@pytest.mark.parametrize("name", ["examples", "wheel_examples"])
def test_the_committed_recordings_can_be_read(name):
    golden = Golden.load(GOLDEN / f"{name}.json")

    assert golden.about["airflow"] == "3.3.2"
    assert golden.runs
