"""DAGs, versions, files, problems, warnings, the active bundle and signs of life."""

from dataclasses import replace
from typing import Any

import pytest

from gust.errors import AlreadyExists, Invalid, Stale, StaleDag
from gust.model.asset import Asset
from gust.model.bundle import Bundle, DagWarning, DeploymentTurn, ImportProblem, SourceFile
from gust.model.dag import DagVersion
from gust.model.watcher import Watcher
from gust.ports.store import Store
from tests.contract.given import NOW, a_dag, at, given_dag, given_running_run


def test_a_dag_is_read_as_it_was_written(store: Store) -> None:
    dag = a_dag(
        "etl #1",
        dag_display_name="ETL",
        description="d",
        bundle_version="abc",
        relative_fileloc="a/b.py",
        is_paused=True,
        has_import_errors=True,
        last_parsed_time=NOW,
        last_parse_duration=0.125,
        timetable_periodic=False,
        tags=("a", "b"),
        owners=(),
        max_active_runs=1,
        allowed_run_types=(),
        access_control={"team-a": {"DAG Runs": ["can_create"], "DAGs": ["can_edit", "can_read"]}},
        next_logical_date=NOW,
        next_run_after=at(1),
    )
    store.put_dag(None, dag)
    assert store.get_dag("etl #1") == dag
    assert store.get_dag("no") is None


def test_dags_are_listed_by_id(store: Store) -> None:
    for dag_id in ("b", "a-b", "a", "a.b"):
        given_dag(store, dag_id, is_stale=dag_id == "b")
    assert [dag.dag_id for dag in store.list_dags()] == ["a", "a-b", "a.b", "b"]


def test_a_dag_is_made_once(store: Store) -> None:
    dag = given_dag(store)
    store.put_dag(None, dag)
    with pytest.raises(StaleDag) as refused:
        store.put_dag(None, replace(dag, description="another"))
    assert refused.value.current == dag


def test_an_update_writes_what_changed_and_leaves_the_rest(store: Store) -> None:
    seen = given_dag(store, tags=("a",))
    given_running_run(store)
    store.put_dag(seen, replace(seen, description="new", running_runs=77))
    store.put_dag(seen, replace(seen, tags=(), max_active_runs=3))
    assert store.get_dag("etl") == replace(seen, description="new", tags=(), max_active_runs=3, running_runs=1)


@pytest.mark.parametrize(
    "meanwhile",
    [{"version_number": 2}, {"is_paused": True}, {"is_stale": True}, {"next_run_after": at(1)}],
    ids=lambda fields: next(iter(fields)),
)
def test_an_update_of_a_dag_that_moved_is_stale(store: Store, meanwhile: dict[str, Any]) -> None:
    seen = given_dag(store)
    current = replace(seen, **meanwhile)
    store.put_dag(seen, current)
    with pytest.raises(StaleDag) as refused:
        store.put_dag(seen, replace(seen, description="x"))
    assert refused.value.current == current
    assert store.get_dag("etl") == current


def test_an_update_may_be_repeated(store: Store) -> None:
    seen = given_dag(store)
    after = replace(seen, is_paused=True)
    store.put_dag(seen, after)
    store.put_dag(seen, after)
    assert store.get_dag("etl") == after


def test_an_update_of_no_dag_is_stale(store: Store) -> None:
    with pytest.raises(StaleDag) as refused:
        store.put_dag(a_dag(), a_dag(description="x"))
    assert refused.value.current is None
    assert store.get_dag("etl") is None


def test_due_dags_are_unpaused_fresh_and_due(store: Store) -> None:
    given_dag(store, "later", next_run_after=at(11))
    given_dag(store, "second", next_run_after=at(10))
    given_dag(store, "first", next_run_after=at(5))
    given_dag(store, "paused", next_run_after=at(5), is_paused=True)
    given_dag(store, "stale", next_run_after=at(5), is_stale=True)
    given_dag(store, "never")
    assert store.due_dags(at(10)) == [("first", at(5)), ("second", at(10))]


def test_pausing_and_unpausing_moves_a_dag_in_and_out_of_the_due(store: Store) -> None:
    fresh = given_dag(store, next_run_after=NOW)
    paused = replace(fresh, is_paused=True)
    store.put_dag(fresh, paused)
    assert store.due_dags(NOW) == []
    store.put_dag(paused, fresh)
    assert store.due_dags(NOW) == [("etl", NOW)]
    store.put_dag(fresh, replace(fresh, next_run_after=None))
    assert store.due_dags(NOW) == []


# --- versions ---------------------------------------------------------------------------------------------------------


def a_version(number: int, dag_id: str = "etl", spec_key: str = "s") -> DagVersion:
    return DagVersion(
        dag_id=dag_id,
        version_number=number,
        created_at=NOW,
        bundle_name="dags-folder",
        bundle_version=None,
        spec_key=spec_key,
        serialized_key="z",
        source_key="t",
    )


def test_versions_are_kept_in_order(store: Store) -> None:
    for number in (10, 2, 1):
        store.put_version(a_version(number))
    store.put_version(a_version(3, "etl2"))
    assert store.list_versions("etl") == [a_version(1), a_version(2), a_version(10)]
    assert store.get_version("etl", 2) == a_version(2)
    assert store.get_version("etl", 3) is None


def test_a_version_never_changes(store: Store) -> None:
    store.put_version(a_version(1))
    store.put_version(a_version(1))
    with pytest.raises(AlreadyExists):
        store.put_version(a_version(1, spec_key="another"))
    assert store.get_version("etl", 1) == a_version(1)


# --- files ------------------------------------------------------------------------------------------------------------


def test_source_files(store: Store) -> None:
    file = SourceFile(
        relative_path="sub/a #1.py",
        bundle_name="dags-folder",
        fingerprint="f",
        imports=("lib.py",),
        dag_ids=("a", "b"),
        parsed_at=NOW,
        parse_duration=0.5,
    )
    other = SourceFile(relative_path="sub/B.py", bundle_name="dags-folder", fingerprint="g")
    store.put_source_file(replace(file, fingerprint="old"))
    store.put_source_file(file)
    store.put_source_file(other)
    assert store.list_source_files() == [other, file]
    store.delete_source_file("sub/B.py")
    store.delete_source_file("sub/B.py")
    assert store.list_source_files() == [file]


def test_import_problems(store: Store) -> None:
    problem = ImportProblem(
        import_error_id=7, filename="a.py", bundle_name="dags-folder", stack_trace="Traceback …", timestamp=NOW
    )
    store.put_import_problem(replace(problem, stack_trace="old"))
    store.put_import_problem(problem)
    assert store.list_import_problems() == [problem]
    store.delete_import_problem("b.py")
    assert store.list_import_problems() == [problem]
    store.delete_import_problem("a.py")
    assert store.list_import_problems() == []


def test_warnings(store: Store) -> None:
    def a_warning(dag_id: str, kind: str) -> DagWarning:
        return DagWarning(dag_id=dag_id, warning_type=kind, message="m", timestamp=NOW, details={"file": "a.py"})

    for warning in (a_warning("b", "x"), a_warning("a", "y"), a_warning("a", "x"), a_warning("a2", "x")):
        store.put_warning(warning)
    assert store.list_warnings() == [
        a_warning("a", "x"),
        a_warning("a", "y"),
        a_warning("a2", "x"),
        a_warning("b", "x"),
    ]
    assert store.list_warnings("a") == [a_warning("a", "x"), a_warning("a", "y")]
    store.delete_warnings("a")
    assert [warning.dag_id for warning in store.list_warnings()] == ["a2", "b"]


# --- the active bundle ------------------------------------------------------------------------------------------------


def test_a_bundle_replaces_the_one_it_was_made_after(store: Store) -> None:
    first, second, third = (
        Bundle(name="dags-folder", version=version, created_at=NOW) for version in ("v1", "v2", "v3")
    )
    assert store.active_bundle() is None
    with pytest.raises(Stale):
        store.activate_bundle(second, replacing=first)
    store.activate_bundle(first, replacing=None)
    store.activate_bundle(first, replacing=None)
    with pytest.raises(Stale):
        store.activate_bundle(second, replacing=None)
    store.activate_bundle(second, replacing=first)
    store.activate_bundle(second, replacing=first)
    with pytest.raises(Stale):
        store.activate_bundle(third, replacing=first)
    assert store.active_bundle() == second


def test_a_turn_to_deploy_moves_from_what_was_seen(store: Store) -> None:
    nobody, mine, yours = (DeploymentTurn(holder=holder, again=False, until=at(60)) for holder in ("", "mine", "yours"))
    again = replace(mine, again=True)
    assert store.deployment_turn() is None
    store.move_deployment_turn(None, mine)
    with pytest.raises(Stale):
        store.move_deployment_turn(None, yours)
    store.move_deployment_turn(mine, again)
    store.move_deployment_turn(mine, again)
    with pytest.raises(Stale):
        store.move_deployment_turn(mine, nobody)
    assert store.deployment_turn() == again
    store.move_deployment_turn(again, mine)
    store.move_deployment_turn(mine, nobody)
    assert store.deployment_turn() == nobody


# --- signs of life ----------------------------------------------------------------------------------------------------


def test_the_last_sign_of_life_counts(store: Store) -> None:
    assert store.last_alive() == {}
    store.set_alive("scheduler", NOW)
    store.set_alive("triggerer", at(1))
    store.set_alive("scheduler", at(2))
    assert store.last_alive() == {"scheduler": at(2), "triggerer": at(1)}


def test_what_no_item_holds_is_refused(store: Store) -> None:
    huge = "x" * 420_000
    problem = ImportProblem(
        import_error_id=7, filename="a.py", bundle_name="dags-folder", stack_trace=huge, timestamp=NOW
    )
    watcher = Watcher(watcher_id="w", classpath="c", wanted_by=(huge,))
    for write in (
        lambda: store.put_import_problem(problem),
        lambda: store.put_dag(None, replace(a_dag("etl"), description=huge)),
        lambda: store.put_source_file(
            SourceFile(relative_path="a.py", bundle_name="dags-folder", fingerprint="f", imports=(huge,))
        ),
        lambda: store.put_warning(DagWarning(dag_id="etl", warning_type="w", message=huge, timestamp=NOW)),
        lambda: store.put_asset(Asset(name="a", uri="u", extra={"x": huge})),
        lambda: store.put_asset(Asset(name="a", uri="u" * 1100)),
        lambda: store.put_watcher(None, watcher),
    ):
        with pytest.raises(Invalid):
            write()
