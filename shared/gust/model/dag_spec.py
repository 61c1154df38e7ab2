"""The scheduler's view of one version of a DAG: small, complete, and readable without Airflow.

The parser writes it (`airflow_bridge.dag_spec` is the only maker), S3 keeps it under its own hash, and it never changes:
a run keeps the spec it started with. Durations are seconds, moments are aware datetimes in UTC. A field that a later
release adds has a default, so that old specs stay readable; a change of meaning raises `SPEC_VERSION`.
"""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from gust.model.same_parse import SameParse
from gust.model.state import TriggerRule

SPEC_VERSION: Final = 1


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


# --- how many instances a mapped task has: Airflow's XComArg algebra, lengths only ------------------------------------


class LiteralLength(_Spec):
    """A list or dict written in the DAG file."""

    kind: Literal["literal"] = "literal"
    length: int


class XComLength(_Spec):
    """The length of the value that `task_id` pushed under `key`; of a mapped `task_id`, how many instances pushed one."""

    kind: Literal["xcom"] = "xcom"
    task_id: str
    key: str = "return_value"


class ZipLength(_Spec):
    """`a.zip(b)`: the shortest part, or the longest where a fill value is given."""

    kind: Literal["zip"] = "zip"
    parts: tuple[Length, ...]
    has_fillvalue: bool = False


class ConcatLength(_Spec):
    """`a.concat(b)`: the sum of the parts."""

    kind: Literal["concat"] = "concat"
    parts: tuple[Length, ...]


Length = Annotated[LiteralLength | XComLength | ZipLength | ConcatLength, Field(discriminator="kind")]
"""`.map(f)` keeps the length of its argument and leaves no trace here."""


class Expansion(_Spec):
    """`expand(**kwargs)`: the product of the kwargs' lengths. `expand_kwargs(list)`: one length, `kwarg=""`."""

    kwargs: tuple[ExpandedKwarg, ...]

    def upstream_task_ids(self) -> frozenset[str]:
        """The tasks whose XCom decides the length."""
        return frozenset(x for kwarg in self.kwargs for x in _xcom_sources(kwarg.length))


class ExpandedKwarg(_Spec):
    kwarg: str
    length: Length


def _xcom_sources(length: LiteralLength | XComLength | ZipLength | ConcatLength) -> frozenset[str]:
    match length:
        case LiteralLength():
            return frozenset()
        case XComLength(task_id=task_id):
            return frozenset({task_id})
        case ZipLength(parts=parts) | ConcatLength(parts=parts):
            return frozenset(x for part in parts for x in _xcom_sources(part))


# --- tasks ------------------------------------------------------------------------------------------------------------


class AssetRef(_Spec):
    """An asset or alias that a task or DAG names. `name` alone, `uri` alone, or both."""

    kind: Literal["asset", "alias", "name_ref", "uri_ref"] = "asset"
    name: str | None = None
    uri: str | None = None
    group: str = "asset"
    extra: dict[str, Any] = {}


class WatcherSpec(_Spec):
    """A watcher of an asset that the DAG's schedule names."""

    name: str
    asset_name: str
    asset_uri: str
    classpath: str
    kwargs: dict[str, Any] = {}
    """As Airflow serializes them."""


class TaskSpec(_Spec):
    task_id: str
    task_display_name: str = ""
    operator: str = "BaseOperator"
    """Class name, as Airflow's `operator`."""
    operator_name: str = ""
    """The name in the UI, e.g. `@task`; Airflow's `operator_name`."""
    module: str = ""
    owner: str = "airflow"
    upstream_task_ids: tuple[str, ...] = ()
    downstream_task_ids: tuple[str, ...] = ()
    group_id: str | None = None
    """The innermost task group; `None` in the root group."""
    mapped_groups: tuple[str, ...] = ()
    """Enclosing *mapped* task groups, outermost first."""
    expansion: Expansion | None = None
    """Own `expand`/`expand_kwargs`; `None` for a plain task, also for a plain one inside a mapped group."""
    map_index_template: str | None = None
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    is_setup: bool = False
    is_teardown: bool = False
    on_failure_fail_dagrun: bool = False
    is_empty: bool = False
    """An EmptyOperator without callbacks, inlets or outlets: the scheduler marks it success itself, as Airflow's does."""
    can_skip_downstream: bool = False
    retries: int = 0
    retry_delay: float = 300.0
    retry_exponential_backoff: float = 0.0
    """The multiplier; 0 = constant delay. (Airflow's `True` is 2.0.)"""
    max_retry_delay: float | None = None
    has_retry_policy: bool = False
    execution_timeout: float | None = None
    depends_on_past: bool = False
    ignore_first_depends_on_past: bool = True
    wait_for_downstream: bool = False
    wait_for_past_depends_before_skipping: bool = False
    start_date: datetime | None = None
    end_date: datetime | None = None
    priority_weight: int = 1
    """The total by the task's weight rule (a custom strategy is evaluated at parse time)."""
    weight_rule: str = "downstream"
    queue: str = "default"
    pool: str = "default_pool"
    pool_slots: int = 1
    executor: str | None = None
    executor_config: dict[str, Any] = {}
    """JSON-able part of it; `{"gust": {"compute": "fargate", …}}` is ours."""
    environment_size: int = 0
    """Megabytes of the packages of its `requirements.txt`, unpacked, in hundreds; 0 where every worker has room for them."""
    max_active_tis_per_dag: int | None = None
    max_active_tis_per_dagrun: int | None = None
    inlets: tuple[AssetRef, ...] = ()
    outlets: tuple[AssetRef, ...] = ()
    start_from_trigger: bool = False
    start_trigger_args: dict[str, Any] | None = None
    has_on_execute_callback: bool = False
    has_on_success_callback: bool = False
    has_on_failure_callback: bool = False
    has_on_retry_callback: bool = False
    has_on_skipped_callback: bool = False
    emails_on: tuple[str, ...] = ()
    """Of `failure` and `retry`, as far as the task has an address."""
    multiple_outputs: bool = False
    template_fields: tuple[str, ...] = ()
    template_fields_renderers: dict[str, str] = {}
    ui_color: str | None = None
    ui_fgcolor: str | None = None
    doc_md: str | None = None
    params: dict[str, Any] = {}
    extra_links: tuple[str, ...] = ()

    @property
    def is_mapped(self) -> bool:
        """Has more than one possible map index: by its own expansion or by a mapped group around it."""
        return self.expansion is not None or bool(self.mapped_groups)


class TaskGroupSpec(_Spec):
    group_id: str
    parent_group_id: str | None = None
    display_name: str = ""
    tooltip: str = ""
    prefix_group_id: bool = True
    children: tuple[str, ...] = ()
    """Task ids and group ids, in Airflow's order."""
    expansion: Expansion | None = None
    upstream_task_ids: tuple[str, ...] = ()
    downstream_task_ids: tuple[str, ...] = ()
    upstream_group_ids: tuple[str, ...] = ()
    downstream_group_ids: tuple[str, ...] = ()


# --- the DAG ----------------------------------------------------------------------------------------------------------


class TimetableSpec(_Spec):
    """Airflow's own encoding of a timetable, `{"__type": class path, "__var": arguments}`, and its texts for people."""

    type: str
    """Class path, e.g. `airflow.timetables.trigger.CronTriggerTimetable`."""
    data: dict[str, Any] = {}
    summary: str | None = None
    description: str | None = None
    can_be_scheduled: bool = True
    periodic: bool = True
    partitioned: bool = False
    own_run_ids: bool = False
    """Its class generates the run ids."""
    asset_expression: dict[str, Any] | None = None


class ParamSpec(_Spec):
    """One `Param`: the trigger form shows it, and a run's conf is validated against it."""

    value: Any = None
    has_value: bool = True
    description: str | None = None
    json_schema: dict[str, Any] = {}
    source: str | None = None


class DagSpec(_Spec):
    spec_version: int = SPEC_VERSION
    dag_id: str
    dag_display_name: str = ""
    description: str | None = None
    doc_md: str | None = None
    bundle_name: str = "dags-folder"
    fileloc: str = ""
    relative_fileloc: str = ""
    timezone: str = "UTC"
    start_date: datetime | None = None
    end_date: datetime | None = None
    timetable: TimetableSpec
    catchup: bool = False
    is_paused_upon_creation: bool | None = None
    max_active_runs: int = 16
    max_active_tasks: int = 16
    max_consecutive_failed_dag_runs: int = 0
    dagrun_timeout: float | None = None
    fail_fast: bool = False
    allowed_run_types: tuple[str, ...] | None = None
    render_template_as_native_obj: bool = False
    disable_bundle_versioning: bool = False
    rerun_with_latest_version: bool | None = None
    tags: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    owner_links: dict[str, str] = {}
    params: dict[str, ParamSpec] = {}
    default_args: dict[str, Any] = {}
    access_control: dict[str, Any] | None = None
    has_on_success_callback: bool = False
    has_on_failure_callback: bool = False
    deadline: list[dict[str, Any]] | None = None
    listeners: tuple[str, ...] = ()
    """Hooks that a listener of the bundle's plugins implements, by name, except those about tries. Other hooks are not
    called."""
    watchers: tuple[WatcherSpec, ...] = ()
    tasks: dict[str, TaskSpec] = {}
    """By task id, in topological order: a task comes after its upstreams."""
    task_groups: dict[str, TaskGroupSpec] = {}
    """By group id, outer before inner; the root group is not in it."""
    root_children: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    """Modules of the file's environment that it imports while it is parsed. Workers import them before its tasks."""
    same_parse: SameParse | None = None
    """Its file may be parsed once for many tasks, where this holds."""

    @cached_property
    def looks_back(self) -> bool:
        """Whether a task depends on earlier runs. Kept: each look asks, and a DAG may have thousands of tasks."""
        return any(task.depends_on_past or task.wait_for_downstream for task in self.tasks.values())

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Tasks with no downstream, in topological order."""
        return tuple(t.task_id for t in self.tasks.values() if not t.downstream_task_ids)

    @cached_property
    def has_setups(self) -> bool:
        return any(task.is_setup for task in self.tasks.values())

    @cached_property
    def places(self) -> dict[str, int]:
        """Task id → its place in topological order."""
        return {task_id: place for place, task_id in enumerate(self.tasks)}

    @cached_property
    def chains(self) -> int:
        """How many chains its tasks form, without mapped ones. In a chain each task waits for the success of the one before.
        So at most one of them is active, as long as no person edits the run (docs/adr/0072)."""
        count = 0
        ends: set[str] = set()
        for task in self.tasks.values():
            if task.is_mapped:
                continue
            waits = task.trigger_rule is TriggerRule.ALL_SUCCESS and not (task.is_setup or task.is_teardown)
            before = next((above for above in task.upstream_task_ids if above in ends), None) if waits else None
            if before is None:
                count += 1
            else:
                ends.remove(before)
            if not (task.is_setup or task.is_teardown):
                ends.add(task.task_id)
        return count

    @cached_property
    def sources_of_groups(self) -> frozenset[str]:
        """The tasks whose XCom decides how many turns a mapped task group has."""
        expansions = (group.expansion for group in self.task_groups.values())
        return frozenset(source for e in expansions if e is not None for source in e.upstream_task_ids())


Expansion.model_rebuild()
ZipLength.model_rebuild()
ConcatLength.model_rebuild()
