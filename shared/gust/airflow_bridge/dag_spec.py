"""The only maker of `DagSpec`: Airflow's serialized DAG in, what the scheduler must know out.

It reads Airflow's own deserialized DAG (defaults applied, references resolved) rather than the JSON, so that a default
that Airflow leaves out is Airflow's and not ours. Import it after `compat.prepare_environment`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from datetime import datetime, timedelta
from graphlib import TopologicalSorter
from types import SimpleNamespace
from typing import Any, Final

from airflow.configuration import conf
from airflow.sdk.serde import serialize
from airflow.serialization.definitions import assets, xcom_arg
from airflow.serialization.definitions.notset import is_arg_set
from pydantic_core import to_jsonable_python

from gust.airflow_bridge import compat
from gust.model.dag_spec import (
    AssetRef,
    ConcatLength,
    DagSpec,
    ExpandedKwarg,
    Expansion,
    Length,
    LiteralLength,
    ParamSpec,
    TaskGroupSpec,
    TaskSpec,
    TimetableSpec,
    WatcherSpec,
    XComLength,
    ZipLength,
)
from gust.model.moment import MOST_SECONDS
from gust.model.state import TriggerRule
from gust.scheduling.retry import MAX_RETRY_DELAY

MOST_DEADLINES: Final = 80
"""Per DAG. A run and its deadlines are one transaction, of at most 100 items."""

DEADLINES_SIZE: Final = 200_000
"""Bytes of a DAG's deadlines in all. Each is an item of at most 400 KB."""


def build_spec(
    serialized: str, *, bundle_name: str, environment_size: int = 0, modules: tuple[str, ...] = ()
) -> tuple[DagSpec, tuple[AssetRef, ...]]:
    """The spec of a serialized DAG (JSON text), and the assets that its schedule, inlets and outlets define. For
    `environment_size` see `TaskSpec`, for `modules` DagSpec.

    Raises what Airflow raises where it cannot read its own form, e.g. a timetable that no plugin registers.
    """
    raw = json.loads(serialized)["dag"]
    dag = compat.deserialized(json.loads(serialized))
    upstreams = upstreams_of(dag)
    groups = {g: group for g, group in dag.task_group.get_task_group_dict().items() if g}
    spec = DagSpec(
        dag_id=dag.dag_id,
        dag_display_name=dag.dag_display_name,
        description=dag.description,
        doc_md=dag.doc_md,
        bundle_name=bundle_name,
        fileloc=raw["fileloc"],
        relative_fileloc=raw["relative_fileloc"],
        timezone=str(dag.timezone),
        start_date=dag.start_date,
        end_date=dag.end_date,
        timetable=timetable_spec(dag.timetable, raw["timetable"]),
        catchup=bool(dag.catchup),
        is_paused_upon_creation=dag.is_paused_upon_creation,
        max_active_runs=dag.max_active_runs,
        max_active_tasks=dag.max_active_tasks,
        max_consecutive_failed_dag_runs=dag.max_consecutive_failed_dag_runs,
        dagrun_timeout=seconds(dag.dagrun_timeout),
        fail_fast=bool(dag.fail_fast),
        allowed_run_types=tuple(raw["allowed_run_types"]) if raw.get("allowed_run_types") else None,
        render_template_as_native_obj=bool(dag.render_template_as_native_obj),
        disable_bundle_versioning=bool(dag.disable_bundle_versioning),
        rerun_with_latest_version=dag.rerun_with_latest_version,
        tags=tuple(sorted(dag.tags or ())),
        owners=owners_of(raw),
        owner_links=dict(dag.owner_links or {}),
        params={name: param_spec(param) for name, param in dag.params.items()},
        default_args=jsonable(dag.default_args or {}),
        access_control=jsonable(dag.access_control),
        has_on_success_callback=bool(dag.has_on_success_callback),
        has_on_failure_callback=bool(dag.has_on_failure_callback),
        deadline=deadlines_of(raw),
        listeners=compat.listeners(),
        watchers=watchers_of(dag),
        tasks={
            task_id: task_spec(dag.task_dict[task_id], upstreams[task_id], environment_size)
            for task_id in in_order(dag, upstreams)
        },
        task_groups={group_id: group_spec(group) for group_id, group in groups.items()},
        root_children=children_of(dag.task_group),
        modules=modules,
    )
    return spec, assets_of(dag)


# --- order ------------------------------------------------------------------------------------------------------------


def upstreams_of(dag: Any) -> dict[str, list[str]]:
    """Task id → its direct upstreams, both in the order of the file."""
    upstreams: dict[str, list[str]] = {task_id: [] for task_id in dag.task_dict}
    for task_id, task in dag.task_dict.items():
        for downstream in sorted(task.downstream_task_ids):
            upstreams[downstream].append(task_id)
    return upstreams


def in_order(dag: Any, upstreams: Mapping[str, list[str]]) -> Iterable[str]:
    """Task ids, each after its upstreams."""
    return TopologicalSorter({task_id: upstreams[task_id] for task_id in dag.task_dict}).static_order()


def children_of(group: Any) -> tuple[str, ...]:
    """Ids of tasks and groups directly in a group, as Airflow's UI orders them."""
    try:
        children = group.topological_sort()
    except ValueError:
        # Two groups that depend on each other through different tasks: no cycle of tasks, yet no order of groups.
        children = list(group.children.values())
    return tuple(child.node_id for child in children)


# --- parts ------------------------------------------------------------------------------------------------------------


def timetable_spec(timetable: Any, raw: Mapping[str, Any]) -> TimetableSpec:
    return TimetableSpec(
        type=raw["__type"],
        data=raw["__var"],
        summary=None if timetable.summary in (None, "None") else str(timetable.summary),
        description=timetable.description,
        can_be_scheduled=timetable.can_be_scheduled,
        periodic=timetable.periodic,
        partitioned=timetable.partitioned,
        own_run_ids=compat.has_own_run_ids(timetable),
        asset_expression=timetable.asset_condition.as_expression(),
    )


def param_spec(param: Any) -> ParamSpec:
    has_value = bool(is_arg_set(param.value))
    return ParamSpec(
        value=jsonable(param.value) if has_value else None,
        has_value=has_value,
        description=param.description,
        json_schema=jsonable(param.schema),
        source=param.source,
    )


def owners_of(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Owners as Airflow's DagModel lists them: the tasks' owners, or the default owner where no task has one."""
    named = {task["__var"].get("owner") for task in raw["tasks"]} - {None, ""}
    return tuple(sorted(named)) or (conf.get("operators", "default_owner"),)


def longest_retry_delay(task: Any) -> float | None:
    """Seconds. `[core] max_task_retry_delay` counts where it is less than the scheduler's own bound."""
    own, told = seconds(task.max_retry_delay), conf.getint("core", "max_task_retry_delay")
    return own if told >= MAX_RETRY_DELAY else float(min(own or told, told))


def group_spec(group: Any) -> TaskGroupSpec:
    parent = group.parent_group
    return TaskGroupSpec(
        group_id=group.group_id,
        parent_group_id=parent.group_id if parent is not None else None,
        display_name=group.group_display_name or group.label,
        tooltip=group.tooltip or "",
        prefix_group_id=group.prefix_group_id,
        children=children_of(group),
        expansion=expansion_of(compat.expand_input_of_group(group)) if group.is_mapped else None,
        upstream_task_ids=ids(group.upstream_task_ids),
        downstream_task_ids=ids(group.downstream_task_ids),
        upstream_group_ids=ids(group.upstream_group_ids),
        downstream_group_ids=ids(group.downstream_group_ids),
    )


def task_spec(task: Any, upstream_task_ids: list[str], environment_size: int = 0) -> TaskSpec:
    return TaskSpec(
        task_id=task.task_id,
        task_display_name=task.task_display_name,
        operator=task.task_type,
        operator_name=task.operator_name,
        module=compat.module_of_operator(task),
        owner=task.owner,
        upstream_task_ids=tuple(sorted(upstream_task_ids)),
        downstream_task_ids=ids(task.downstream_task_ids),
        group_id=task.task_group.group_id if task.task_group is not None else None,
        mapped_groups=tuple(reversed([group.group_id for group in task.iter_mapped_task_groups()])),
        expansion=expansion_of(compat.expand_input_of_task(task)) if task.is_mapped else None,
        map_index_template=task.map_index_template,
        trigger_rule=TriggerRule(str(getattr(task.trigger_rule, "value", task.trigger_rule))),
        is_setup=bool(task.is_setup),
        is_teardown=bool(task.is_teardown),
        on_failure_fail_dagrun=bool(task.on_failure_fail_dagrun),
        is_empty=is_empty(task),
        can_skip_downstream=bool(task.inherits_from_skipmixin),
        retries=task.retries or 0,
        retry_delay=seconds(task.retry_delay) or 0.0,
        retry_exponential_backoff=multiplier(task.retry_exponential_backoff),
        max_retry_delay=longest_retry_delay(task),
        has_retry_policy=bool(task.has_retry_policy),
        execution_timeout=seconds(task.execution_timeout),
        depends_on_past=bool(task.depends_on_past),
        ignore_first_depends_on_past=bool(task.ignore_first_depends_on_past),
        wait_for_downstream=bool(task.wait_for_downstream),
        wait_for_past_depends_before_skipping=bool(own(task, "wait_for_past_depends_before_skipping", False)),
        start_date=task.start_date,
        end_date=task.end_date,
        priority_weight=total_weight(task),
        weight_rule=compat.encoded_weight_rule(task.weight_rule),
        queue=task.queue,
        pool=task.pool,
        pool_slots=task.pool_slots,
        executor=task.executor,
        executor_config=jsonable(task.executor_config or {}),
        environment_size=environment_size,
        max_active_tis_per_dag=task.max_active_tis_per_dag,
        max_active_tis_per_dagrun=task.max_active_tis_per_dagrun,
        inlets=asset_refs(task.inlets),
        outlets=asset_refs(task.outlets),
        start_from_trigger=bool(own(task, "start_from_trigger", False)),
        start_trigger_args=start_trigger_args(task.start_trigger_args),
        has_on_execute_callback=bool(task.has_on_execute_callback),
        has_on_success_callback=bool(task.has_on_success_callback),
        has_on_failure_callback=bool(task.has_on_failure_callback),
        has_on_retry_callback=bool(task.has_on_retry_callback),
        has_on_skipped_callback=bool(task.has_on_skipped_callback),
        emails_on=emails_on(task),
        multiple_outputs=bool(own(task, "multiple_outputs", False)),
        template_fields=tuple(task.template_fields or ()),
        template_fields_renderers=dict(task.template_fields_renderers or {}),
        ui_color=task.ui_color,
        ui_fgcolor=task.ui_fgcolor,
        doc_md=task.doc_md,
        params=task_params(task),
        extra_links=tuple(task.extra_links),
    )


def emails_on(task: Any) -> tuple[str, ...]:
    if not own(task, "email", None):
        return ()
    return tuple(event for event in ("failure", "retry") if own(task, f"email_on_{event}", True))


def own(task: Any, name: str, default: Any) -> Any:
    """An attribute that a mapped task keeps among the arguments of `partial`."""
    if task.is_mapped and name in task.partial_kwargs:
        return task.partial_kwargs[name]
    return getattr(task, name, default)


def is_empty(task: Any) -> bool:
    """Airflow's rule for what its scheduler marks success without a worker."""
    return bool(
        task.inherits_from_empty_operator
        and not task.has_on_execute_callback
        and not task.has_on_success_callback
        and not task.outlets
        and not task.inlets
    )


def total_weight(task: Any) -> int:
    """The priority weight by the task's rule, as Airflow computes it for a new task instance.

    A strategy of a plugin is asked about an instance that has not been tried. A strategy that fails because it wants more of
    an instance than there is at parse time (its run, say) leaves the task's own weight.
    """
    instance = SimpleNamespace(
        task=task, dag_id=task.dag_id, task_id=task.task_id, run_id="", map_index=-1, try_number=0, state=None
    )
    try:
        return int(task.weight_rule.get_weight(instance))
    except AttributeError:
        return int(task.priority_weight)


def task_params(task: Any) -> dict[str, Any]:
    params = task.params
    if task.is_mapped and not params:
        params = task.partial_kwargs.get("params") or {}
    return {name: jsonable(params[name]) for name in params}


def start_trigger_args(args: Any) -> dict[str, Any] | None:
    """The arguments, encoded as a worker that defers encodes them: the triggerer need not know where they came from."""
    if args is None:
        return None

    def recoded(value: Any) -> Any:
        return serialize(compat.decoded_values(value)) if value is not None else None

    return {
        "trigger_cls": args.trigger_cls,
        "trigger_kwargs": recoded(args.trigger_kwargs) or {},
        "next_method": args.next_method,
        "next_kwargs": recoded(args.next_kwargs),
        "timeout": seconds(args.timeout),
    }


# --- expansion --------------------------------------------------------------------------------------------------------


def expansion_of(expand_input: Any) -> Expansion:
    if expand_input.EXPAND_INPUT_TYPE == "list-of-dicts":
        return Expansion(kwargs=(ExpandedKwarg(kwarg="", length=length_of(expand_input.value)),))
    return Expansion(
        kwargs=tuple(ExpandedKwarg(kwarg=kwarg, length=length_of(value)) for kwarg, value in expand_input.value.items())
    )


def length_of(value: Any) -> Length:
    match value:
        case xcom_arg.SchedulerPlainXComArg():
            return XComLength(task_id=value.operator.task_id, key=value.key)
        case xcom_arg.SchedulerMapXComArg():
            return length_of(value.arg)
        case xcom_arg.SchedulerZipXComArg():
            parts = tuple(length_of(part) for part in value.args)
            return ZipLength(parts=parts, has_fillvalue=bool(is_arg_set(value.fillvalue)))
        case xcom_arg.SchedulerConcatXComArg():
            return ConcatLength(parts=tuple(length_of(part) for part in value.args))
        case Sized():
            return LiteralLength(length=len(value))
    raise TypeError(f"A task is expanded over {type(value).__name__}, whose length no release of Airflow knows")


# --- assets -----------------------------------------------------------------------------------------------------------


def asset_refs(ports: Iterable[Any]) -> tuple[AssetRef, ...]:
    """The assets among inlets or outlets (Airflow allows any object as an inlet)."""
    refs = (asset_ref(port) for port in ports or ())
    return tuple(ref for ref in refs if ref is not None)


def asset_ref(port: Any) -> AssetRef | None:
    match port:
        case assets.SerializedAsset():
            return AssetRef(kind="asset", name=port.name, uri=port.uri, group=port.group, extra=jsonable(port.extra))
        case assets.SerializedAssetAlias():
            return AssetRef(kind="alias", name=port.name, group=port.group)
        case assets.SerializedAssetNameRef():
            return AssetRef(kind="name_ref", name=port.name)
        case assets.SerializedAssetUriRef():
            return AssetRef(kind="uri_ref", uri=port.uri)
    return None


def assets_of(dag: Any) -> tuple[AssetRef, ...]:
    """Every asset the DAG defines, once, by name and URI."""
    ports = [asset for _, asset in dag.timetable.asset_condition.iter_assets()]
    for task in dag.task_dict.values():
        ports += [*(task.inlets or ()), *(task.outlets or ())]
    found = {(ref.name or "", ref.uri or ""): ref for ref in asset_refs(ports) if ref.kind == "asset"}
    return tuple(found[key] for key in sorted(found))


def watchers_of(dag: Any) -> tuple[WatcherSpec, ...]:
    """Watchers of the assets that the schedule names; Gust does not start an outlet's."""
    return tuple(
        WatcherSpec(
            name=watcher.name,
            asset_name=asset.name,
            asset_uri=asset.uri,
            classpath=watcher.trigger["classpath"],
            kwargs=watcher.trigger["kwargs"],
        )
        for _, asset in dag.timetable.asset_condition.iter_assets()
        for watcher in asset.watchers
    )


def deadlines_of(raw: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The DAG's deadline alerts. Raises ValueError where one write cannot hold them: a run is stored with its
    deadlines."""
    alerts: list[dict[str, Any]] | None = raw.get("deadline")
    if alerts is None:
        return None
    if len(alerts) > MOST_DEADLINES:
        raise ValueError(f"The DAG has {len(alerts)} deadline alerts; Gust allows {MOST_DEADLINES} per DAG.")
    size = len(json.dumps(alerts))
    if size > DEADLINES_SIZE:
        raise ValueError(f"The DAG's deadline alerts take {size} bytes; Gust allows {DEADLINES_SIZE} per DAG.")
    return alerts


# --- values -----------------------------------------------------------------------------------------------------------


def ids(of: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted(x for x in of if x))


def seconds(value: timedelta | float | None) -> float | None:
    """Seconds, limited to what a `timedelta` can hold."""
    if value is None:
        return None
    given = value.total_seconds() if isinstance(value, timedelta) else float(value)
    return min(max(given, -MOST_SECONDS), MOST_SECONDS)


def multiplier(value: Any) -> float:
    """Airflow's older `True` is 2.0."""
    return 2.0 if value is True else float(value or 0)


def jsonable(value: Any) -> Any:
    """As the REST API would write it; what JSON has no form for becomes its `str`."""
    if isinstance(value, datetime):
        return value.isoformat()
    return to_jsonable_python(value, fallback=str)
