"""The comparison itself: equal results, and the merge of recordings that disagree."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracle.drive import ObservedRun, ObservedTask, names_of
from tests.oracle.golden import VARIES, Golden, compare, dag_of, matches, merge

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


@pytest.mark.parametrize(
    ("seen", "complaint"),
    [
        (ObservedTask("success", 2, {}, "0", {"1": "failed", "2": "success"}), None),
        (ObservedTask("success", 2, {}, "zero", {"1": "failed", "2": "success"}), "map index shown as 'zero'"),
        (ObservedTask("success", 2, {}, "0", {"1": "skipped", "2": "success"}), "tries {'1': 'skipped'"),
    ],
)
def test_tries_and_shown_map_indexes_are_compared(seen, complaint):
    task = ObservedTask("success", 2, {}, "0", {"1": "failed", "2": "success"})
    found = compare(ObservedRun("success", {"t[0]": task}), ObservedRun("success", {"t[0]": seen}))

    assert [complaint in each for each in found] == ([True] if complaint else [])


def test_an_old_recording_says_nothing_of_what_it_did_not_look_at():
    seen = ObservedRun("success", {"t[0]": ObservedTask("success", 2, {}, "0", {"1": "failed"})}, {"note": "new"})

    assert compare(ObservedRun("success", {"t[0]": ObservedTask("success", 2)}), seen) == []


def test_facts_of_a_run_are_compared_and_masked_like_xcoms():
    def run(at: str) -> ObservedRun:
        return ObservedRun("success", {}, {"run_after": at, "run_type": "manual"})

    golden = merge([{"etl": run("now")}, {"etl": run("later")}], {})

    assert golden.differences("etl", run("another time")) == []
    other = replace(run("now"), facts={"run_after": "now", "run_type": "scheduled"})
    assert golden.differences("etl", other) == ["run: run_type is 'scheduled', Airflow 'manual'"]


def test_a_dag_that_one_recording_leaves_out_is_taken_from_the_others():
    golden = merge([{"etl": a_run(rows=3)}, {"etl": a_run(rows=3), "daily/a": a_run(), "daily/b": a_run()}], {})

    assert golden.runs_of("daily") == ["daily/a", "daily/b"]


def test_recordings_must_agree_on_the_runs_of_a_dag():
    with pytest.raises(ValueError, match="daily/b"):
        merge([{"daily/a": a_run()}, {"daily/a": a_run(), "daily/b": a_run()}], {})


def test_what_is_recorded_anew_takes_the_place_of_all_runs_of_the_dag():
    before = merge([{"etl": a_run(), "daily/a": a_run(), "daily/b": a_run()}], {})
    anew = merge([{"daily/c": a_run()}], {})

    assert set(anew.over(before, lambda dag_id: dag_id != "daily").runs) == {"etl", "daily/c"}


def test_runs_that_assets_or_partitions_cause_are_named_the_same_every_time():
    def row(run_id: str, run_type: str, key: str | None = None) -> dict[str, object]:
        return {"dag_run_id": run_id, "run_type": run_type, "partition_key": key}

    rows = [
        row("asset_triggered__2026-01-01T00:00:00+00:00_xyz", "asset_triggered"),
        row("scheduled__2026-01-01T00:00:00+00:00__key__Ab3dEf9h", "scheduled", "key"),
        row("scheduled__2026-01-02T00:00:00+00:00", "scheduled"),
        row("asset_triggered__2026-01-03T00:00:00+00:00_abc", "asset_triggered"),
    ]

    assert [name for name, _ in names_of(rows)] == [
        "asset_triggered@1",
        "scheduled__2026-01-01T00:00:00+00:00__key",
        "scheduled__2026-01-02T00:00:00+00:00",
        "asset_triggered@2",
    ]


@pytest.mark.parametrize("name", ["etl", "etl/manual__1", "etl#2"])
def test_a_runs_name_begins_with_its_dag(name):
    assert dag_of(name) == "etl"


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
