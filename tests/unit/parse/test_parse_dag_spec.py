"""The DagSpec says what the DAG file says, with Airflow's defaults where it says nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from gust.airflow_bridge.dag_spec import seconds
from gust.model.access import access_control_of
from gust.model.dag_spec import (
    AssetRef,
    ConcatLength,
    DagSpec,
    ExpandedKwarg,
    Expansion,
    Length,
    LiteralLength,
    TaskSpec,
    TimetableSpec,
    XComLength,
    ZipLength,
)
from gust.model.moment import MOST_SECONDS
from gust.model.state import TriggerRule

NUMBERS, LETTERS = XComLength(task_id="numbers"), XComLength(task_id="letters")


@pytest.fixture(scope="module")
def everything(parsed) -> DagSpec:
    outcome, specs = parsed("everything.py")
    assert outcome.import_errors == {}
    return specs["everything"]


@pytest.fixture(scope="module")
def mapping(parsed) -> DagSpec:
    outcome, specs = parsed("mapping.py")
    assert outcome.import_errors == {}
    return specs["mapping"]


def test_fields_of_a_dag(everything):
    assert everything.model_dump(include=set(DAG_FIELDS)) == DAG_FIELDS


DAG_FIELDS = {
    "dag_display_name": "Everything",
    "description": "All of it",
    "doc_md": "# Docs",
    "bundle_name": "dags-folder",
    "fileloc": "/dags/everything.py",
    "relative_fileloc": "everything.py",
    "timezone": "UTC",
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "end_date": datetime(2027, 1, 1, tzinfo=UTC),
    "catchup": True,
    "is_paused_upon_creation": False,
    "max_active_runs": 3,
    "max_active_tasks": 5,
    "max_consecutive_failed_dag_runs": 4,
    "dagrun_timeout": 7200.0,
    "fail_fast": False,
    "render_template_as_native_obj": True,
    "tags": ("ant", "zebra"),
    "owners": ("data", "ops"),
    "owner_links": {"data": "mailto:data@example.com"},
    "has_on_failure_callback": True,
    "has_on_success_callback": False,
    "root_children": ("start", "watched", "work", "outer", "last"),
}


def test_what_a_dag_gives_to_roles_has_one_form(everything):
    assert access_control_of(everything.access_control) == {
        "Viewer": {"DAG Runs": ["can_create"]},
        "team-a": {"DAGs": ["can_edit", "can_read"]},
    }


def test_timetable(everything):
    assert everything.timetable.type == "airflow.timetables.trigger.CronTriggerTimetable"
    assert everything.timetable.data["expression"] == "30 6 * * 1-5"
    assert everything.timetable.summary == "30 6 * * 1-5"
    assert everything.timetable.description == "At 06:30, Monday through Friday"
    assert everything.timetable.periodic
    assert everything.timetable.can_be_scheduled
    assert not everything.timetable.partitioned


def test_params_carry_value_and_schema(everything, parsed):
    limit, needed = everything.params["limit"], parsed("mapping.py")[1]["asks"].params["needed"]
    assert (limit.value, limit.has_value, limit.description) == (10, True, "How many")
    assert limit.json_schema == {"type": "integer", "minimum": 1}
    assert (needed.value, needed.has_value) == (None, False)


def test_default_args_are_json(everything):
    assert everything.default_args["retry_delay"] == "PT1M"
    assert everything.default_args["has_on_failure_callback"] is True


def test_fields_of_a_task(everything):
    work = everything.tasks["work"]
    assert work.model_dump(include=set(TASK_FIELDS)) == TASK_FIELDS
    assert work.inlets == (AssetRef(name="in", uri="s3://bucket/in"),)
    assert work.outlets == (AssetRef(kind="alias", name="alias", group="asset"),)


TASK_FIELDS = {
    "task_display_name": "Work hard",
    "operator": "BashOperator",
    "operator_name": "BashOperator",
    "module": "airflow.providers.standard.operators.bash",
    "owner": "ops",
    "upstream_task_ids": ("start",),
    "downstream_task_ids": ("outer.inner.deep",),
    "group_id": None,
    "trigger_rule": TriggerRule.NONE_FAILED,
    "is_empty": False,
    "retries": 5,
    "retry_delay": 30.0,
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": 600.0,
    "execution_timeout": 1200.0,
    "depends_on_past": True,
    "wait_for_downstream": True,
    "pool": "heavy",
    "pool_slots": 2,
    "queue": "fargate",
    "priority_weight": 10,
    "weight_rule": "absolute",
    "max_active_tis_per_dag": 7,
    "max_active_tis_per_dagrun": 6,
    "executor_config": {"gust": {"compute": "fargate", "cpu": 1024}},
    "has_on_execute_callback": True,
    "has_on_success_callback": True,
    "has_on_failure_callback": True,
    "has_on_retry_callback": True,
    "has_on_skipped_callback": True,
    "doc_md": "Works",
    "params": {"limit": 3},
    "template_fields": ("bash_command", "env", "cwd"),
    "start_date": datetime(2026, 1, 1, tzinfo=UTC),
}


def test_default_args_reach_tasks_as_airflow_applies_them(everything):
    start = everything.tasks["start"]
    assert (start.owner, start.retries, start.retry_delay) == ("data", 2, 60.0)
    assert start.has_on_failure_callback


def test_only_an_operator_that_nothing_hangs_on_is_empty(everything):
    assert everything.tasks["start"].is_empty
    assert not everything.tasks["watched"].is_empty


def test_taskflow_names(everything):
    last = everything.tasks["last"]
    assert (last.operator, last.operator_name) == ("_PythonDecoratedOperator", "@task")
    assert last.multiple_outputs


def test_groups_know_their_place(everything):
    outer, inner = everything.task_groups["outer"], everything.task_groups["outer.inner"]
    assert list(everything.task_groups) == ["outer", "outer.inner"]
    assert (outer.parent_group_id, inner.parent_group_id) == (None, "outer")
    assert outer.children == ("outer.inner", "outer.beside")
    assert (outer.tooltip, outer.upstream_task_ids, outer.downstream_task_ids) == ("Outer group", ("work",), ("last",))
    assert everything.tasks["outer.inner.deep"].group_id == "outer.inner"


def test_tasks_come_after_their_upstreams(everything):
    order = list(everything.tasks)
    for task in everything.tasks.values():
        assert all(order.index(up) < order.index(task.task_id) for up in task.upstream_task_ids)
    assert set(everything.leaves) == {"watched", "last"}


def test_assets_are_told_with_their_extras(parsed):
    outcome, _ = parsed("everything.py")
    assert outcome.dags[0].assets == (
        AssetRef(name="in", uri="s3://bucket/in"),
        AssetRef(name="out", uri="s3://bucket/out", extra={"k": 1}),
    )


@pytest.mark.parametrize(
    ("task_id", "kwargs"),
    [
        ("literal", {"x": LiteralLength(length=4)}),
        ("of_dict", {"x": LiteralLength(length=2)}),
        ("product", {"x": NUMBERS, "y": LiteralLength(length=2)}),
        ("mapped", {"x": NUMBERS}),
        ("zipped", {"x": ZipLength(parts=(NUMBERS, LETTERS))}),
        ("zipped_longest", {"x": ZipLength(parts=(NUMBERS, LETTERS), has_fillvalue=True)}),
        ("joined", {"x": ConcatLength(parts=(NUMBERS, LETTERS))}),
        ("kwargs", {"": LiteralLength(length=2)}),
        ("kwargs_from_task", {"": NUMBERS}),
        ("second", {"x": XComLength(task_id="chained")}),
    ],
)
def test_expansions(mapping, task_id, kwargs: dict[str, Length]):
    expansion = mapping.tasks[task_id].expansion
    assert {kwarg.kwarg: kwarg.length for kwarg in expansion.kwargs} == kwargs


def test_a_mapped_task_keeps_the_arguments_of_partial(mapping):
    chained = mapping.tasks["chained"]
    assert (chained.retries, chained.pool, chained.max_active_tis_per_dag) == (4, "heavy", 2)
    assert (chained.operator, chained.operator_name) == ("_PythonDecoratedOperator", "@task")
    assert mapping.tasks["second"].map_index_template == "{{ task.x }}"


def test_tasks_of_a_mapped_group(mapping):
    group = mapping.task_groups["group"]
    assert group.expansion is not None
    assert [kwarg.length for kwarg in group.expansion.kwargs] == [NUMBERS]
    for task_id in ("group.first", "group.after"):
        task = mapping.tasks[task_id]
        assert (task.mapped_groups, task.expansion, task.is_mapped) == (("group",), None, True)


def test_setups_and_teardowns(parsed):
    _, specs = parsed("setups.py")
    tasks = specs["setups"].tasks
    assert [(t, tasks[t].is_setup, tasks[t].is_teardown) for t in ("make", "use", "tidy")] == [
        ("make", True, False),
        ("use", False, False),
        ("tidy", False, True),
    ]
    assert tasks["tidy"].on_failure_fail_dagrun
    assert tasks["tidy"].trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS
    assert tasks["tidy"].upstream_task_ids == ("make", "use")


def test_weights_by_rule_and_by_a_plugins_strategy(parsed):
    outcome, specs = parsed("weighted.py")
    assert outcome.import_errors == {}
    tasks = specs["weighted"].tasks
    assert {t: tasks[t].priority_weight for t in tasks} == {
        "first": 1111,
        "second": 1110,
        "third": 1100,
        "up": 1111,
        "by_try": 40,
        "by_run": 6,
    }
    assert tasks["by_try"].weight_rule == "weights.ByTry"
    assert (tasks["up"].weight_rule, tasks["first"].weight_rule) == ("upstream", "downstream")


def test_asset_schedules(parsed):
    outcome, specs = parsed("assets.py")
    assert outcome.import_errors == {}
    orders = {"asset": {"uri": "s3://lake/orders", "name": "orders", "group": "asset"}}
    prices = {"asset": {"uri": "prices", "name": "prices", "group": "asset"}}
    assert specs["waits_for_both"].timetable.asset_expression == {"all": [orders, prices]}
    assert specs["waits_for_either"].timetable.asset_expression == {"any": [orders, prices]}
    nightly = specs["waits_or_nightly"].timetable
    assert (nightly.type, nightly.asset_expression) == ("airflow.timetables.assets.AssetOrTimeSchedule", orders)
    assert nightly.data["timetable"]["__var"]["timezone"] == "Europe/Paris"
    assert {dag.dag_id: [a.name for a in dag.assets] for dag in outcome.dags}["waits_for_both"] == ["orders", "prices"]


def test_start_from_trigger_is_encoded_as_a_deferral(parsed):
    outcome, specs = parsed("defers.py")
    assert outcome.import_errors == {}
    waiting = specs["defers"].tasks["waiting"]
    assert waiting.start_from_trigger
    assert waiting.start_trigger_args == {
        "trigger_cls": "airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
        "trigger_kwargs": {"delta": {"__classname__": "datetime.timedelta", "__version__": 2, "__data__": 300.0}},
        "next_method": "execute_complete",
        "next_kwargs": None,
        "timeout": 3600.0,
    }
    assert specs["defers"].tasks["branch"].can_skip_downstream
    assert specs["defers"].timetable.type == "airflow.timetables.simple.OnceTimetable"


def test_a_dag_without_schedule_has_no_summary(mapping):
    assert mapping.timetable.summary is None
    assert not mapping.timetable.can_be_scheduled


def test_fail_fast(parsed):
    assert parsed("mapping.py")[1]["asks"].fail_fast


def test_a_spec_leaves_out_what_is_default():
    """Storage and load time of a spec are its tasks'."""
    from gust.airflow_bridge.parse import compact

    expansion = Expansion(kwargs=(ExpandedKwarg(kwarg="x", length=NUMBERS),))
    spec = DagSpec(
        dag_id="d", timetable=TimetableSpec(type="t"), tasks={"a": TaskSpec(task_id="a", expansion=expansion)}
    )
    text = compact(spec)
    assert DagSpec.model_validate_json(text) == spec
    assert len(text) < 2000


def test_durations_are_such_as_a_timedelta_holds(parsed):
    _, specs = parsed("bounds.py")
    assert timedelta(seconds=specs["endless"].dagrun_timeout) == timedelta(days=3_000_000)
    assert timedelta(seconds=specs["endless"].tasks["a"].retry_delay) == timedelta(days=3_000_000)
    assert timedelta(seconds=seconds(timedelta.max)) == timedelta(seconds=MOST_SECONDS)
    assert timedelta(seconds=seconds(timedelta.min)) == timedelta(seconds=-MOST_SECONDS)


def test_more_deadlines_than_one_write_holds_are_an_import_error(parsed):
    outcome, specs = parsed("bounds.py")
    assert set(specs) == {"endless", "as_many_deadlines_as_fit"}
    (error,) = outcome.import_errors.values()
    assert "The DAG has 81 deadline alerts; Gust allows 80 per DAG." in error


def test_executors_of_aws_are_known_though_no_configuration_lists_them(parsed):
    outcome, specs = parsed("executors.py")
    assert outcome.import_errors == {}
    executors = {name: task.executor for name, task in specs["executors"].tasks.items()}
    assert executors["by_name"] == "AwsEcsExecutor"
    assert executors["by_path"].endswith(".ecs_executor.AwsEcsExecutor")
    assert executors["on_lambda"] == "AwsLambdaExecutor"
    assert specs["executors"].tasks["by_name"].executor_config == {"overrides": {"cpu": "1024"}}
