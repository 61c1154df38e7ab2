"""What a deployment makes of a folder, edit by edit. Parsing is made up (see stack.py)."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from zipfile import ZipFile

import pytest

from gust.aws.memory import MemoryObjects
from gust.model import bucket_keys
from gust.model.asset import AssetEvent
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.object_entry import ObjectEntry
from gust.model.state import DagRunState, DagRunTriggeredByType, DagRunType
from gust.model.workload import WakeRun, WakeWatcher
from gust.services.assets.register_asset_event import register_asset_events
from gust.services.runs.create_dag_run import create_dag_run


def test_a_first_deployment(stack):
    stack.upload("a.py", "dag a 0 * * * *")
    stack.upload("sub/b.py", "dag b1\ndag b2")
    stack.upload("readme.md")
    assert stack.deploy() == ["a.py", "sub/b.py"]
    assert stack.fresh() == {"a": "a.py", "b1": "sub/b.py", "b2": "sub/b.py"}
    a = stack.dag("a")
    assert a.is_paused
    assert (a.version_number, a.tags, a.timetable_summary, a.has_task_concurrency_limits) == (
        1,
        ("made-up",),
        "0 * * * *",
        True,
    )
    assert a.access_control == {"team-a": {"DAGs": ["can_read"]}}
    assert a.next_run_after == datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
    assert a.bundle_version == stack.store.active_bundle().version
    assert (a.last_parsed_time, a.last_parse_duration) == (stack.clock.now(), 0.5)
    assert stack.store.get_asset(name="a-asset").extra == {"by": "a.py"}
    assert stack.store.last_alive()["dag_processor"] == stack.clock.now()


def test_nothing_new_is_nothing_done(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    assert not stack.snapshot().changed


def test_an_empty_folder_is_a_bundle_too(stack):
    stack.deploy()
    assert stack.fresh() == {}
    assert not stack.snapshot().changed


def test_only_what_changed_is_parsed(stack):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "dag b")
    stack.deploy()
    stack.upload("b.py", "dag b\ndag c")
    assert stack.deploy() == ["b.py"]
    assert stack.fresh() == {"a": "a.py", "b": "b.py", "c": "b.py"}


def test_what_imports_a_changed_file_is_parsed(stack):
    stack.upload("a.py", "dag a\nimports lib/helper.py")
    stack.upload("b.py", "dag b\nimports lib/")
    stack.upload("c.py", "dag c\nimports later.py")
    stack.upload("lib/helper.py")
    stack.deploy()
    stack.upload("lib/helper.py", "# changed")
    assert stack.deploy() == ["a.py", "lib/helper.py"]
    stack.upload("lib/another.txt")
    assert stack.deploy() == ["b.py"]
    stack.upload("later.py")
    assert stack.deploy() == ["c.py", "later.py"]
    stack.delete("later.py")
    assert stack.deploy() == ["c.py"]


@pytest.mark.parametrize("path", ["plugins/p.py", "plugins/data.txt", ".airflowignore", "sub/.airflowignore"])
def test_plugins_and_airflowignore_decide_for_all(stack, path):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "dag b")
    stack.deploy()
    stack.upload(path, "x")
    assert stack.deploy() == ["a.py", "b.py"]
    assert stack.fresh() == {"a": "a.py", "b": "b.py"}


# --- versions ---------------------------------------------------------------------------------------------------------


def test_a_version_is_made_when_the_serialized_dag_differs(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.upload("a.py", "dag a\n# a comment")
    stack.deploy()
    assert stack.versions("a") == [1]
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    assert stack.versions("a") == [1, 2]
    assert stack.dag("a").version_number == 2


def test_the_text_is_that_of_the_newest_parse(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.upload("a.py", "dag a\n# a comment")
    stack.deploy()
    assert stack.objects.get(stack.dag("a").source_key) == b"dag a\n# a comment"
    assert stack.objects.get(stack.store.get_version("a", 1).source_key) == b"dag a"


def test_every_dag_moves_to_the_new_bundle(stack):
    """A task may import what changed, although its file did not when it was parsed."""
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.upload("tasks_only.py", "# changed")
    stack.deploy()
    assert stack.versions("a") == [1]
    assert stack.dag("a").bundle_version == stack.store.active_bundle().version


def test_a_person_who_pauses_meanwhile_is_not_overruled(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.store.put_dag(stack.dag("a"), replace(stack.dag("a"), is_paused=False))
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    assert not stack.dag("a").is_paused


def test_assets_are_registered_as_the_file_says_last(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    first = stack.store.get_asset(name="a-asset")
    stack.upload("b.py", "dag a")
    stack.delete("a.py")
    stack.deploy()
    assert stack.store.get_asset(name="a-asset") == replace(first, extra={"by": "b.py"})


# --- whom it is told --------------------------------------------------------------------------------------------------


def test_listeners_are_told_of_new_assets_and_of_import_errors(stack):
    hooks = ["on_asset_created", "on_new_dag_import_error", "on_existing_dag_import_error"]
    stack.upload("plugins/p.py", "\n".join(f"listens {hook}" for hook in hooks))
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "error Oh")
    stack.deploy()
    assert set(stack.store.active_bundle().listeners) == set(hooks)
    assert sorted(stack.told()) == [("on_asset_created", "a-asset/s3://a"), ("on_new_dag_import_error", "b.py")]

    stack.queues.wakes.clear()
    stack.upload("a.py", "dag a 0 0 * * *")
    stack.upload("b.py", "error Oh no")
    stack.deploy()
    assert stack.told() == [("on_existing_dag_import_error", "b.py")]

    stack.queues.wakes.clear()
    stack.delete("b.py")
    stack.deploy()
    assert set(stack.store.active_bundle().listeners) == set(hooks)
    assert stack.told() == []


def test_a_deployment_that_died_tells_of_its_assets_again(stack, dies):
    stack.upload("plugins/p.py", "listens on_asset_created")
    stack.upload("a.py", "dag a")
    with dies(stack, 2):
        stack.deploy()
    stack.deploy()
    assert set(stack.told()) == {("on_asset_created", "a-asset/s3://a")}


def test_where_nobody_listens_nothing_is_sent(stack):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "error Oh")
    stack.deploy()
    assert stack.told() == []


# --- when the next run is ---------------------------------------------------------------------------------------------


def run(dag_id: str, day: int, run_type: DagRunType = DagRunType.SCHEDULED) -> DagRun:
    moment = datetime(2026, 3, day, tzinfo=UTC)
    return DagRun(
        dag_id=dag_id,
        run_id=f"{run_type.value}__{moment.isoformat()}",
        run_type=run_type,
        state=DagRunState.QUEUED,
        run_after=moment,
        queued_at=moment,
        logical_date=moment,
        data_interval_start=moment,
        data_interval_end=moment,
        version_number=1,
        spec_key="",
    )


def test_the_next_run_stays_while_the_schedule_does(stack):
    stack.upload("a.py", "dag a 0 6 * * *")
    stack.deploy()
    moved = replace(stack.dag("a"), next_run_after=datetime(2026, 5, 1, 6, tzinfo=UTC))
    stack.store.put_dag(stack.dag("a"), moved)
    stack.upload("a.py", "dag a 0 6 * * *\n# comment")
    stack.deploy()
    assert stack.dag("a").next_run_after == moved.next_run_after


@pytest.mark.parametrize(("is_paused", "delays"), [(False, [60.0 - 25]), (True, [])])
def test_a_run_that_is_due_before_the_next_tick_is_made_in_time(stack, is_paused, delays):
    stack.clock.advance(25)
    stack.are_paused_at_creation = is_paused
    stack.upload("a.py", "dag soon 1 12 2 3 *\ndag later 2 12 2 3 *\ndag never")
    stack.deploy()
    assert [(wake.dag_id, delay) for wake, delay in stack.queues.wakes] == [("soon", delay) for delay in delays]


def test_a_changed_schedule_goes_on_after_the_last_automated_run(stack):
    stack.upload("a.py", "dag a 0 6 * * *")
    stack.deploy()
    stack.store.create_run(run("a", 20))
    stack.store.create_run(run("a", 25, DagRunType.MANUAL))
    stack.upload("a.py", "dag a 0 7 * * *")
    stack.deploy()
    assert stack.dag("a").next_run_after == datetime(2026, 3, 20, 7, tzinfo=UTC)


def test_a_timetable_that_only_airflow_knows_hides_nothing(stack):
    stack.upload("a.py", "dag a customTimetable")
    stack.upload("b.py", "dag b")
    stack.deploy()
    assert stack.fresh() == {"a": "a.py", "b": "b.py"}
    assert stack.dag("a").next_run_after is None


# --- broken files -----------------------------------------------------------------------------------------------------


def test_a_broken_file_keeps_its_last_good_version(stack):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "dag b")
    stack.deploy()
    good = stack.dag("a")
    stack.upload("a.py", "error Traceback")
    stack.upload("b.py", "dag b @daily")
    stack.deploy()
    assert stack.errors() == {"a.py": "Traceback"}
    a = stack.dag("a")
    assert (a.has_import_errors, a.is_stale) == (True, False)
    assert (a.version_number, a.bundle_version) == (1, good.bundle_version)
    assert stack.dag("b").version_number == 2
    stack.upload("c.py", "dag c")
    stack.deploy()
    assert stack.dag("a").bundle_version == good.bundle_version


def test_a_repaired_file_has_no_error(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.upload("a.py", "error Traceback")
    stack.deploy()
    stack.upload("a.py", "dag a")
    stack.deploy()
    assert stack.errors() == {}
    assert not stack.dag("a").has_import_errors
    assert stack.versions("a") == [1]


def test_one_broken_dag_of_a_file_hides_no_other(stack):
    stack.upload("a.py", "dag a1\ndag a2")
    stack.deploy()
    stack.upload("a.py", "dag a1 @daily\nerror a2 fails")
    stack.deploy()
    assert stack.dag("a1").version_number == 2
    assert not stack.dag("a1").has_import_errors
    assert stack.dag("a2").has_import_errors
    assert stack.fresh() == {"a1": "a.py", "a2": "a.py"}


def test_a_broken_file_that_was_never_good(stack):
    stack.upload("a.py", "error Traceback")
    stack.deploy()
    assert (stack.errors(), stack.fresh()) == ({"a.py": "Traceback"}, {})
    stack.delete("a.py")
    stack.deploy()
    assert stack.errors() == {}


def test_a_file_that_ran_out_of_time_is_tried_again_after_a_while(stack):
    stack.upload("slow.py", "error out of time")
    stack.upload("bad.py", "error wrong")
    stack.deploy()
    assert not stack.snapshot().changed
    stack.clock.advance(299)
    assert stack.deploy() == []
    stack.clock.advance(1)
    assert stack.deploy() == ["slow.py"]
    assert not stack.snapshot().changed


# --- what goes --------------------------------------------------------------------------------------------------------


def test_a_deleted_file_makes_its_dags_stale(stack):
    stack.upload("a.py", "dag a 0 * * * *\nwarn something")
    stack.deploy()
    stack.store.put_dag(stack.dag("a"), replace(stack.dag("a"), is_paused=False))
    stack.delete("a.py")
    stack.deploy()
    assert stack.dag("a").is_stale
    assert stack.store.due_dags(datetime(2030, 1, 1, tzinfo=UTC)) == []
    assert stack.store.list_source_files() == []
    assert stack.store.list_warnings() == []


def test_a_dag_that_left_its_file_is_stale(stack):
    stack.upload("a.py", "dag a1\ndag a2")
    stack.deploy()
    stack.upload("a.py", "dag a1")
    stack.deploy()
    assert stack.fresh() == {"a1": "a.py"}


def test_a_dag_that_comes_back_goes_on_with_its_versions(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.delete("a.py")
    stack.deploy()
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    assert not stack.dag("a").is_stale
    assert stack.versions("a") == [1, 2]


def test_a_dag_that_moves_to_another_file_stays(stack):
    stack.upload("a.py", "dag d")
    stack.deploy()
    stack.upload("b.py", "dag d")
    stack.delete("a.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"d": "b.py"}, {})


def test_a_dag_that_moves_while_its_old_file_breaks(stack):
    stack.upload("a.py", "dag d")
    stack.deploy()
    stack.upload("a.py", "error Traceback")
    stack.upload("b.py", "dag d")
    stack.deploy()
    assert stack.fresh() == {"d": "b.py"}
    assert not stack.dag("d").has_import_errors


# --- two files, one dag_id --------------------------------------------------------------------------------------------

IGNORED = "AirflowDagDuplicatedIdException: Ignoring DAG d from {} - also found in {}\n"


def test_of_two_files_the_first_has_the_dag(stack):
    stack.upload("b.py", "dag d\ndag e")
    stack.upload("a.py", "dag d")
    stack.deploy()
    assert stack.fresh() == {"d": "a.py", "e": "b.py"}
    assert stack.errors() == {"b.py": IGNORED.format("b.py", "a.py")}
    assert not stack.dag("e").has_import_errors


def test_who_has_the_dag_keeps_it(stack):
    stack.upload("b.py", "dag d")
    stack.deploy()
    stack.upload("a.py", "dag d @daily")
    stack.deploy()
    assert stack.fresh() == {"d": "b.py"}
    assert stack.errors() == {"a.py": IGNORED.format("a.py", "b.py")}
    assert stack.versions("d") == [1]


def test_the_rival_takes_over_when_the_first_goes(stack):
    stack.upload("a.py", "dag d")
    stack.upload("b.py", "dag d @daily")
    stack.deploy()
    stack.delete("a.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"d": "b.py"}, {})
    assert stack.dag("d").version_number == 2


# --- a file that imports another one's DAG ----------------------------------------------------------------------------


@pytest.mark.parametrize("importer", ["a.py", "z.py"])
def test_a_dag_that_came_by_an_import_is_its_own_files(stack, importer):
    stack.upload("m.py", "dag helper")
    stack.upload(importer, "dag mine\nmade-in m.py helper\nimports m.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"helper": "m.py", "mine": importer}, {})
    stack.upload(importer, "dag mine @daily\nmade-in m.py helper\nimports m.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"helper": "m.py", "mine": importer}, {})


def test_a_dag_goes_to_its_own_file_when_that_is_brought_in_later(stack):
    """As where a folder's files are brought in some at a time."""
    stack.upload("a.py", "dag mine\nmade-in m.py helper")
    stack.upload("m.py", "")
    stack.deploy()
    assert stack.fresh() == {"helper": "a.py", "mine": "a.py"}
    stack.upload("m.py", "dag helper")
    assert stack.deploy() == ["m.py"]
    assert (stack.fresh(), stack.errors()) == ({"helper": "m.py", "mine": "a.py"}, {})
    stack.upload("other.py", "dag other")
    stack.deploy()
    assert stack.fresh() == {"helper": "m.py", "mine": "a.py", "other": "other.py"}


def test_several_files_import_one_dag(stack):
    stack.upload("m.py", "dag helper")
    for name in "abc":
        stack.upload(f"{name}.py", f"dag {name}\nmade-in m.py helper\nimports m.py")
    stack.deploy()
    assert stack.errors() == {}
    assert stack.fresh()["helper"] == "m.py"


def test_a_dag_whose_own_file_is_not_searched_for_dags_is_the_importers(stack):
    stack.upload("ignored.py", "")
    stack.upload("a.py", "made-in ignored.py helper\nimports ignored.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"helper": "a.py"}, {})


def test_two_files_that_have_one_dag_made_by_a_helper_are_rivals(stack):
    stack.upload("helper.py", "")
    stack.upload("a.py", "made-in helper.py d\nimports helper.py")
    stack.upload("b.py", "made-in helper.py d\nimports helper.py")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"d": "a.py"}, {"b.py": IGNORED.format("b.py", "a.py")})


def test_an_importer_keeps_the_dag_when_its_own_file_gives_it_no_more(stack):
    stack.upload("m.py", "dag helper")
    stack.upload("a.py", "dag mine\nmade-in m.py helper\nimports m.py")
    stack.deploy()
    stack.upload("m.py", "")
    stack.deploy()
    assert (stack.fresh(), stack.errors()) == ({"helper": "a.py", "mine": "a.py"}, {})


# --- races ------------------------------------------------------------------------------------------------------------


def test_the_slower_of_two_deployments_looks_again(stack):
    stack.upload("a.py", "dag a")
    slow = stack.snapshot()
    stack.parse(slow)
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    assert stack.activate(slow).stale
    assert stack.dag("a").timetable_summary == "@daily"


def test_overtaken_in_the_middle_it_is_put_right(stack):
    """The slower one goes on writing after the faster one is done, and learns it at its last write."""
    stack.upload("a.py", "dag a")
    slow = stack.snapshot()
    stack.parse(slow)
    stack.upload("a.py", "dag a @daily")
    real, written = stack.store, []

    class Overtaken:
        """Just before the slower one's first write, another deployment does it all."""

        def __getattr__(self, name):
            if name == "put_asset" and not written:
                written.append(name)
                stack.store = real
                stack.deploy()
            return getattr(real, name)

    stack.store = Overtaken()
    assert stack.activate(slow).stale
    assert stack.dag("a").timetable_summary is None
    assert stack.deploy() == ["a.py"]
    assert stack.dag("a").timetable_summary == "@daily"


def test_activating_twice_changes_nothing(stack):
    stack.upload("a.py", "dag a")
    taken = stack.snapshot()
    stack.parse(taken)
    stack.activate(taken)
    before = stack.dag("a")
    stack.clock.advance(60)
    assert stack.activate(taken).stale
    assert stack.dag("a") == before


@pytest.mark.parametrize("writes", range(24))
def test_death_at_any_write_is_healed_by_the_next_deployment(stack, dies, writes):
    stack.upload("a.py", "dag a\ndag a2")
    stack.upload("b.py", "dag b\nwarn x")
    stack.upload("gone.py", "dag gone")
    stack.upload("bad.py", "error Traceback")
    stack.deploy()
    stack.delete("gone.py")
    stack.upload("a.py", "dag a @daily")
    stack.upload("b.py", "error broken")
    stack.upload("bad.py", "dag good")
    with dies(stack, after=writes):
        stack.deploy()
    stack.deploy()
    assert stack.fresh() == {"a": "a.py", "b": "b.py", "good": "bad.py"}
    assert stack.versions("a") == [1, 2]
    assert stack.dag("a").timetable_summary == "@daily"
    assert stack.errors() == {"b.py": "broken"}
    assert not stack.snapshot().changed


# --- what is not believed ---------------------------------------------------------------------------------------------


def test_a_spec_of_another_dag_is_refused(stack):
    stack.upload("a.py", "dag a")
    stack.upload("b.py", "dag b")
    real = stack.dag_in
    forged = {"b": real("a.py", "", "a").spec_key}
    stack.dag_in = lambda path, text, rest: real(path, text, rest).model_copy(
        update={"spec_key": forged[rest]} if rest in forged else {}
    )
    stack.deploy()
    assert stack.fresh() == {"a": "a.py"}
    assert "is not the spec of b" in stack.errors()["b.py"]


@pytest.mark.parametrize("claimed", ["team_a/x.py", "team_a/../team_b/x.py", "team_b/x.py/../../team_a/x.py", ""])
def test_a_dag_that_claims_another_file_is_refused(stack, claimed):
    """A DAG file may write another name into `__file__`, and roles of tasks are given to files."""
    stack.upload("team_b/x.py", "dag b")
    real = stack.dag_in

    def forging(path, text, rest):
        parsed = real(path, text, rest)
        spec = DagSpec.model_validate_json(stack.objects.get(parsed.spec_key))
        forged = spec.model_copy(update={"relative_fileloc": claimed}).model_dump_json()
        return parsed.model_copy(update={"spec_key": stack.keep("specs", forged, "json")})

    stack.dag_in = forging
    stack.deploy()
    assert stack.fresh() == {}
    assert "and its file is team_b/x.py" in stack.errors()["team_b/x.py"]


def test_a_spec_that_is_not_what_its_name_says_is_refused(stack):
    stack.upload("a.py", "dag a")
    taken = stack.snapshot()
    stack.parse(taken)
    spec_key = next(key for key in stack.objects.list("specs/"))
    stack.objects.put(spec_key, stack.objects.get(spec_key).replace(b"made-up", b"changed"))
    stack.activate(taken)
    assert stack.fresh() == {}
    assert "does not match the hash in its key" in stack.errors()["a.py"]


def test_the_runs_of_a_dag_that_comes_back_go_on(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.store.put_dag(stack.dag("a"), replace(stack.dag("a"), is_paused=False))
    create_dag_run(stack.services, "a", run_id="r", triggered_by=DagRunTriggeredByType.REST_API)
    stack.delete("a.py")
    stack.deploy()
    stack.queues.wakes.clear()
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    assert [wake.run_id for wake, _ in stack.queues.wakes if isinstance(wake, WakeRun)] == ["r"]


@pytest.mark.parametrize("limit", ["max_active_runs", "max_active_tasks"])
def test_runs_that_wait_for_room_go_on_when_an_edit_makes_some(stack, limit):
    """They stand still until somebody wakes them, for an hour."""
    stack.upload("a.py", "dag a")
    stack.deploy()
    stack.store.put_dag(stack.dag("a"), replace(stack.dag("a"), is_paused=False, **{limit: 1}))
    create_dag_run(stack.services, "a", run_id="r", triggered_by=DagRunTriggeredByType.REST_API)
    stack.queues.wakes.clear()
    stack.upload("a.py", "dag a 0 1 1 1 *")
    stack.deploy()
    assert [wake.run_id for wake, _ in stack.queues.wakes if isinstance(wake, WakeRun)] == ["r"]
    stack.queues.wakes.clear()
    stack.upload("a.py", "dag a 0 2 1 1 *")
    stack.deploy()
    assert [wake for wake, _ in stack.queues.wakes if isinstance(wake, WakeRun)] == [], "nothing has changed for them"


def test_events_that_wait_for_a_dag_are_forgotten_when_it_waits_for_none_any_more(stack):
    """Should it wait for the asset again later, it waits for a new event."""
    stack.upload("a.py", "dag a orders")
    stack.deploy()
    stack.store.put_dag(stack.dag("a"), replace(stack.dag("a"), is_paused=False))
    happened = AssetEvent(event_id="e", name="orders", uri="orders", timestamp=stack.clock.now())
    register_asset_events(stack.services, "e", [happened])
    assert stack.store.asset_queue("a").queued
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    waits = stack.store.asset_queue("a")
    assert (waits.queued, waits.due_at) == ({}, None)


# --- watchers of assets -----------------------------------------------------------------------------------------------


def watchers(stack) -> dict[str, list[str]]:
    return {watcher.classpath: [want.dag_id for want in watcher.wants] for watcher in stack.store.list_watchers()}


def test_watchers_come_and_go_with_the_dags_that_name_them(stack):
    stack.upload("a.py", "dag a watched")
    stack.upload("b.py", "dag b watched")
    stack.deploy()
    assert watchers(stack) == {"made.up.Trigger": ["a", "b"]}
    assert stack.dag("a").has_watchers

    stack.upload("a.py", "dag a orders")
    stack.deploy()
    assert watchers(stack) == {"made.up.Trigger": ["b"]}
    stack.delete("b.py")
    stack.deploy()
    assert watchers(stack) == {}


def test_a_dag_with_watchers_that_is_active_has_them_looked_after(stack):
    stack.are_paused_at_creation = False
    stack.upload("a.py", "dag a watched")
    stack.deploy()
    (watcher,) = stack.store.list_watchers()
    assert [w.watcher_id for w, _ in stack.queues.wakes if isinstance(w, WakeWatcher)] == [watcher.watcher_id]
    assert watcher.bundle_version == stack.store.active_bundle().version


@pytest.mark.parametrize("writes", range(14))
def test_who_dies_while_watchers_change_leaves_them_to_the_next(stack, dies, writes):
    stack.upload("a.py", "dag a watched")
    stack.deploy()
    stack.upload("a.py", "dag a")
    with dies(stack, writes):
        stack.deploy()
    stack.deploy()
    assert watchers(stack) == {}


# --- what is too large ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("large description", "description takes 500,000 bytes"),
        ("large tags", "tags takes"),
        ("large owners", "owners takes"),
        ("large access_control", "access_control takes"),
        ("large extra", "extra of asset large-asset takes"),
        ("large uri", "URI of the asset large-asset take"),
        ("large schedule", "list of the assets in its schedule takes"),
        ("large watcher", "arguments of the asset watcher w takes"),
        ("large deadline", "deadline takes"),
        ("large start_trigger_args", "start_trigger_args takes"),
        ("large modules", "list of imported modules takes"),
        ("large queue", "task t's queue takes"),
        ("large executor", "task t's executor takes"),
    ],
)
def test_what_does_not_fit_into_an_item_is_an_import_error_of_its_file(stack, line, told):
    stack.upload("huge.py", f"dag fits\n{line}\ndag large")
    stack.upload("good.py", "dag good")
    stack.deploy()
    assert stack.fresh() == {"good": "good.py", "fits": "huge.py"}
    assert list(stack.errors()) == ["huge.py"]
    assert stack.errors()["huge.py"].startswith("large is not activated: ")
    assert told in stack.errors()["huge.py"]
    assert not stack.snapshot().changed


def test_a_dag_that_grew_too_large_stays_at_its_last_good_version(stack):
    stack.upload("a.py", "dag large")
    stack.deploy()
    stack.upload("a.py", "large description\ndag large @daily")
    stack.deploy()
    assert stack.dag("large").has_import_errors
    assert stack.versions("large") == [1]


def test_an_import_error_is_cut_in_the_middle(stack):
    stack.upload("bad.py", "error Traceback " + "E" * 500_000 + " the end")
    stack.upload("good.py", "dag good")
    stack.deploy()
    assert stack.fresh() == {"good": "good.py"}
    told = stack.errors()["bad.py"]
    assert told.startswith("Traceback EEE")
    assert told.endswith("EEE the end")
    assert "bytes are left out here" in told
    assert len(told) < 65_000


def test_a_file_that_depends_on_very_many_depends_on_their_folders(stack):
    many = [f"data/{n % 10}/{n:05}-{'x' * 60}.yaml" for n in range(9_000)]
    stack.upload("a.py", "\n".join(["dag a", "imports other/one.txt", *(f"imports {path}" for path in many)]))
    stack.upload("data/3/00003.yaml", "1")
    stack.upload("elsewhere.txt", "1")
    stack.deploy()
    (source,) = stack.store.list_source_files()
    assert source.imports == (*(f"data/{n}/**" for n in range(10)), "other/one.txt")
    stack.upload("elsewhere.txt", "2")
    assert stack.deploy() == []
    stack.upload("data/3/00003.yaml", "2")
    assert stack.deploy() == ["a.py"]
    stack.upload("other/one.txt", "2")
    assert stack.deploy() == ["a.py"]
    assert not stack.snapshot().changed


def test_a_file_of_very_many_dags_has_those_that_its_item_can_name(stack):
    stack.upload("many.py", "\n".join(f"dag {'d' * 240}{n:04}" for n in range(1_000)))
    stack.upload("good.py", "dag good")
    stack.deploy()
    assert stack.dag("good")
    assert len(stack.fresh()) == 806 + 1
    assert "The ids of its file's DAGs take more than 200,000 bytes" in stack.errors()["many.py"]


def test_a_file_speaks_for_itself_alone(stack):
    stack.upload(
        "a.zip", "dag a\nerror-of a.zip/in.py broken\nerror-of good.py forged\nerror-of a.zip/" + "x" * 1000 + " long"
    )
    stack.upload("good.py", "dag good")
    stack.deploy()
    errors = stack.errors()
    assert set(errors) == {"a.zip", "a.zip/in.py"}
    assert "good.py: forged" in errors["a.zip"]
    assert "xxx: long" in errors["a.zip"]


def test_what_a_files_data_breaks_in_us_is_its_import_error(stack):
    stack.upload("a.py", "unreadable\ndag a")
    stack.upload("good.py", "dag good")
    stack.deploy()
    assert stack.fresh() == {"good": "good.py"}
    assert "a is not activated: " in stack.errors()["a.py"]


def test_what_a_parser_names_must_be_what_parsers_write(stack):
    stack.upload("a.py", "elsewhere\ndag a")
    stack.deploy()
    assert stack.fresh() == {}
    assert "xcom/secret is not a key under which a parser stores results" in stack.errors()["a.py"]


# --- what no disk takes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "shows", "told"),
    [
        ("n" * 256 + ".py", "n" * 256 + ".py", "a part of its name takes 259 bytes; 255 are possible"),
        ("data/" + "ü" * 128, "data/" + "ü" * 128, "a part of its name takes 256 bytes"),
        ("nul\0.py", "nul�.py… (", "has a control character"),
        ("line\nfeed.txt", "line�feed.txt… (", "has a control character"),
        ("/".join("d" * 200 for _ in range(5)) + ".py", "d" * 100 + "… (", "its path takes 1,008 bytes"),
    ],
    ids=["component", "bytes", "nul", "newline", "path"],
)
def test_a_name_that_no_disk_takes_is_left_out_and_told_of(stack, path, shows, told):
    stack.upload(path, "dag never")
    stack.upload("good.py", "dag good")
    assert stack.deploy() == ["good.py"]
    assert stack.fresh() == {"good": "good.py"}
    ((filename, error),) = stack.errors().items()
    assert filename.startswith(shows)
    assert told in error
    assert not stack.snapshot().changed

    stack.delete(path)
    stack.deploy()
    assert stack.errors() == {}
    assert [file.relative_path for file in stack.store.list_source_files()] == ["good.py"]


def test_names_as_long_as_a_disk_takes_are_files_as_any(stack):
    stack.upload("ü" * 126 + ".py", "dag a")
    stack.deploy()
    assert stack.fresh() == {"a": "ü" * 126 + ".py"}


class Heavy(MemoryObjects):
    """A bucket in which each kilobyte is said to be a hundred megabytes."""

    def entries(self, prefix: str) -> dict[str, ObjectEntry]:
        return {key: entry._replace(size=entry.size * 100_000) for key, entry in super().entries(prefix).items()}


def test_a_folder_that_no_disk_holds_loses_its_largest_files_and_says_so(stack):
    stack.objects = Heavy()
    stack.upload("good.py", "dag good")
    stack.upload("model.bin", "x" * 4_000)
    stack.upload("more.bin", "x" * 3_000)
    stack.deploy()
    assert stack.fresh() == {"good": "good.py"}
    assert list(stack.errors()) == ["model.bin"]
    assert "the folder takes 701 MB, 600 are possible" in stack.errors()["model.bin"]
    assert not stack.snapshot().changed

    stack.delete("more.bin")
    stack.deploy()
    assert stack.errors() == {}


def test_a_bundle_holds_what_changed_and_what_did_not(stack):
    stack.upload("a.py", "dag a")
    stack.upload("data/b.txt", "b")
    stack.deploy()
    stack.upload("a.py", "dag a @daily")
    stack.deploy()
    with ZipFile(BytesIO(stack.objects.get(bucket_keys.bundle(stack.store.active_bundle().version)))) as bundle:
        assert {path: bundle.read(path) for path in bundle.namelist()} == {"a.py": b"dag a @daily", "data/b.txt": b"b"}


def test_a_file_that_writes_into_its_batchs_progress_stops_no_other_batch(stack):
    for number in range(60):
        stack.upload(f"{number:02}.py", f"dag d{number}")
    taken = stack.snapshot()
    stack.parse(taken)
    stack.objects.put(bucket_keys.progress(taken.plan, 0), b"forged")
    stack.activate(taken)
    assert len(stack.fresh()) == 10
