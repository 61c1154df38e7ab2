"""A case's DAG, written with Airflow's own SDK and serialized as its DAG processor does it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup, XComArg
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.taskgroup import MappedTaskGroup
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import StartTriggerArgs

from tests.differential.plan import Case, GroupPlan, Source, TaskPlan

FIRST_RUN = datetime(2026, 3, 1, tzinfo=UTC)
"""Logical date of the first run; those after it follow by the day."""


class Work(BaseOperator):
    def __init__(self, *, a: Any = None, b: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a, self.b = a, b


class Nothing(EmptyOperator):
    """What the scheduler itself marks success, and may be mapped all the same."""

    def __init__(self, *, a: Any = None, b: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.a, self.b = a, b


class Deferred(Work):
    """Begins with its trigger, without a worker."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(trigger_cls="some.Trigger", next_method="execute_complete", trigger_kwargs={})


class Skipper(Work):
    """Stands for any operator that skips what is downstream of it."""

    inherits_from_skipmixin = True


def author(case: Case, dag_id: str) -> dict[str, Any]:
    """The serialized DAG. Raises what Airflow's parser would where such a DAG cannot be."""
    dag = written(case, dag_id)
    dag.relative_fileloc = "dag.py"
    dag.check_cycle()
    return DagSerialization.to_dict(dag)


def written(case: Case, dag_id: str) -> DAG:
    with DAG(
        dag_id,
        schedule=None,
        start_date=FIRST_RUN - timedelta(days=365),
        fail_fast=case.fail_fast,
        dagrun_timeout=timedelta(seconds=case.timeout) if case.timeout else None,
        catchup=case.catchup,
        max_active_tasks=case.max_active_tasks,
    ) as dag:
        made: dict[str, Any] = {}
        groups: dict[str, TaskGroup] = {}
        for plan in case.tasks:
            group = _group(case, groups, plan.group, made)
            task = made[plan.name] = _task(plan, group, made)
            for upstream in plan.after:
                made[upstream] >> task
        for plan in case.tasks:
            if plan.is_setup:
                made[plan.name].as_setup()
            if plan.is_teardown:
                made[plan.name].as_teardown(on_failure_fail_dagrun=plan.fails_run)
        for group in groups.values():
            if isinstance(group, MappedTaskGroup):
                for operator, _ in group._expand_input.iter_references():
                    group.set_upstream(operator)
    return dag


def _group(case: Case, groups: dict[str, TaskGroup], name: str | None, made: dict[str, Any]) -> TaskGroup | None:
    if name is None:
        return None
    if name not in groups:
        plan: GroupPlan = next(group for group in case.groups if group.name == name)
        parent = _group(case, groups, plan.parent, made)
        if plan.over is None:
            groups[name] = TaskGroup(group_id=name, parent_group=parent, prefix_group_id=False)
        else:
            groups[name] = MappedTaskGroup(
                group_id=name,
                parent_group=parent,
                prefix_group_id=False,
                expand_input=DictOfListsExpandInput({"a": _source(plan.over, made)}),
            )
    return groups[name]


def _task(plan: TaskPlan, group: TaskGroup | None, made: dict[str, Any]) -> Any:
    arguments: dict[str, Any] = {
        "task_id": plan.name,
        "trigger_rule": plan.rule,
        "task_group": group,
        "retries": plan.retries,
        "retry_delay": timedelta(seconds=plan.retry_delay),
        "retry_exponential_backoff": plan.backoff,
        "depends_on_past": plan.depends_on_past,
        "ignore_first_depends_on_past": plan.ignore_first_depends_on_past,
        "wait_for_downstream": plan.wait_for_downstream,
        "max_active_tis_per_dagrun": plan.max_per_run,
        "priority_weight": plan.weight,
        "weight_rule": "absolute",
        "start_date": None if plan.starts is None else FIRST_RUN + timedelta(days=plan.starts),
    }
    operator = {"empty": Nothing, "work": Deferred if plan.begins_deferred else Work}.get(plan.kind, Skipper)
    if plan.kwargs_over is not None:
        return operator.partial(**arguments).expand_kwargs(_source(plan.kwargs_over, made, as_kwargs=True))
    if plan.over:
        sources = dict(zip("ab", (_source(source, made) for source in plan.over), strict=False))
        return operator.partial(**arguments).expand(**sources)
    return operator(**arguments)


def _source(source: Source, made: dict[str, Any], *, as_kwargs: bool = False) -> Any:
    match source:
        case ["literal", int(length)]:
            return [{"a": i} for i in range(length)] if as_kwargs else list(range(length))
        case ["xcom", str(task)]:
            return XComArg(made[task])
        case ["map", inner]:
            return _source(inner, made).map(_same)
        case ["zip", *parts]:
            first, *others = (_source(part, made) for part in parts)
            return first.zip(*others)
        case ["zip_longest", *parts]:
            first, *others = (_source(part, made) for part in parts)
            return first.zip(*others, fillvalue=0)
        case ["concat", *parts]:
            first, *others = (_source(part, made) for part in parts)
            return first.concat(*others)
    raise ValueError(source)


def _same(value: Any) -> Any:
    return value
