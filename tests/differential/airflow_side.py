"""Airflow's scheduler over a scratch database: it decides on a case's runs, and workers report to it.

The decisions are Airflow's own: `SchedulerJobRunner._schedule_dag_run`, its task instance's dependencies and expansion, and
the state changes of its Execution API and `clear`. This module only writes the start and the success of a try, the few
columns that Airflow's API sets.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import airflow._shared.timezones.timezone as airflow_timezone
import airflow.models.dagbag as airflow_dagbag
from airflow import settings
from airflow.api_fastapi.execution_api.routes import task_instances as api
from airflow.api_fastapi.execution_api.routes import xcoms as xcom_api
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance, clear_task_instances
from airflow.models.taskreschedule import TaskReschedule
from airflow.models.xcom import XComModel
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.deps.mapped_task_upstream_dep import MappedTaskUpstreamDep
from airflow.ti_deps.deps.not_in_retry_period_dep import NotInRetryPeriodDep
from airflow.ti_deps.deps.not_previously_skipped_dep import NotPreviouslySkippedDep
from airflow.ti_deps.deps.prev_dagrun_dep import PrevDagrunDep
from airflow.ti_deps.deps.trigger_rule_dep import TriggerRuleDep
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import create_engine, delete, select, update
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import StaticPool

from gust.model.dag_spec import DagSpec
from tests.differential.author import FIRST_RUN
from tests.differential.picture import InstancePicture, Picture
from tests.differential.plan import Case, Event
from tests.differential.worker import cleared, mapped_over, run_id, skips

PASSES = 40
"""More than any case needs: each pass of the scheduler carries a skip by at least one task."""

EMPTIED = (
    "xcom",
    "task_map",
    "task_reschedule",
    "task_instance_history",
    "task_instance",
    "dag_run",
    "dag",
    "log",
    "slot_pool",
    "trigger",
)
"""The tables that a case fills."""

VERSION = UUID(int=1)

COLUMNS = (
    TaskInstance.run_id,
    TaskInstance.task_id,
    TaskInstance.map_index,
    TaskInstance.state,
    TaskInstance.try_number,
    TaskInstance.max_tries,
)

MAPPED, RULE, BRANCH = MappedTaskUpstreamDep(), TriggerRuleDep(), NotPreviouslySkippedDep()
ORDERS = tuple(
    (NotInRetryPeriodDep(), PrevDagrunDep(), *three)
    for three in ((MAPPED, RULE, BRANCH), (RULE, MAPPED, BRANCH), (BRANCH, MAPPED, RULE))
)
"""In which a task's dependencies are asked: in one process of Airflow this, in another that."""


class InOrder(tuple[Any, ...]):
    """A task's dependencies, asked in this order. Airflow keeps them in a set: the order differs from process to process,
    and where two of them settle an instance's state, the last one mostly wins."""

    def __ror__(self, others: Iterable[Any]) -> list[Any]:
        return [*self, *others]


class AnyExecutor:
    """Takes whatever it is given."""

    name = "any"
    slots_available = 1000
    pre_assigns_external_executor_id = False
    team_name = None


class Standstill(Exception):
    pass


class AirflowSide:
    """One database for all cases of a process; `play` is given one of them at a time."""

    def __init__(self) -> None:
        import_all_models()
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        Base.metadata.create_all(self._engine)
        settings.engine = self._engine
        settings.Session = scoped_session(self._session)
        self.now = FIRST_RUN
        self.order: tuple[Any, ...] = ORDERS[0]
        airflow_timezone.utcnow = lambda: self.now
        airflow_dagbag.DBDagBag = lambda **_: self
        logging.disable(logging.CRITICAL)

    def _session(self) -> Session:
        return self.session

    # --- a case -------------------------------------------------------------------------------------------------------

    def begin(self, case: Case, spec: DagSpec, serialized: dict[str, Any]) -> None:
        """The case's DAG and runs, before anything happened."""
        self.case, self.spec, self._serialized = case, spec, serialized
        self._is_paused = False
        self.now = FIRST_RUN + timedelta(days=10)
        self.dag = DagSerialization.from_dict(serialized)
        for task in self.dag.task_dict.values():
            object.__setattr__(task, "deps", InOrder(self.order))
        self._empty_tables()
        self.session = Session(self._engine, expire_on_commit=True)
        self._scheduler = self._make_scheduler()
        self.session.add(
            DagModel(
                dag_id=self.dag.dag_id,
                bundle_name="dags",
                relative_fileloc="dag.py",
                fileloc="dag.py",
                is_paused=False,
                is_stale=False,
                max_active_tasks=case.max_active_tasks,
                max_active_runs=16,
                max_consecutive_failed_dag_runs=0,
                has_task_concurrency_limits=any(task.max_per_run for task in case.tasks),
                fail_fast=case.fail_fast,
            )
        )
        self.session.add(Pool(pool="default_pool", slots=10_000, include_deferred=False))
        for number in range(case.runs):
            self._add_run(number)
        self.session.commit()

    def _empty_tables(self) -> None:
        with self._engine.begin() as connection:
            for name in EMPTIED:
                connection.execute(Base.metadata.tables[name].delete())

    def _make_scheduler(self) -> Any:
        scheduler = object.__new__(SchedulerJobRunner)
        scheduler.scheduler_dag_bag = self
        scheduler.job = SimpleNamespace(id=None, max_tis_per_query=0)
        scheduler._multi_team = False
        scheduler.executor = AnyExecutor()
        scheduler.executors = [scheduler.executor]
        scheduler._try_to_load_executor = lambda *_, **__: scheduler.executor
        return scheduler

    def get_dag_for_run(self, dag_run: DagRun, session: Session) -> Any:
        """What Airflow's bag of DAGs answers."""
        return self.dag

    def get_latest_version_of_dag(self, dag_id: str, *, session: Session) -> Any:
        return self.dag

    def _add_run(self, number: int) -> None:
        date = FIRST_RUN + timedelta(days=number)
        run = DagRun(
            dag_id=self.dag.dag_id,
            run_id=run_id(number),
            run_type=DagRunType.SCHEDULED,
            triggered_by=DagRunTriggeredByType.TIMETABLE,
            logical_date=date,
            data_interval=(date, date),
            run_after=date,
            state=DagRunState.RUNNING,
            start_date=self.now,
            bundle_version="1",
        )
        run.created_dag_version_id = VERSION
        run.dag = self.dag
        self.session.add(run)
        self.session.flush()
        run.verify_integrity(session=self.session, dag_version_id=VERSION)

    # --- the scheduler ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """The scheduler's loop, until it changes nothing any more; what it schedules is then queued."""
        # Each pass of the scheduler has a session of its own; what the API looked at before is none of its business.
        self.session.expunge_all()
        seen = self._snapshot()
        for _ in range(PASSES):
            for run in self._runs():
                if self._is_paused:
                    if run.state == DagRunState.RUNNING:
                        # As `_update_dag_run_state_for_paused_dags` does.
                        run.dag = self.dag
                        run.update_state(execute_callbacks=False, session=self.session)
                        self.session.flush()
                    continue
                if run.state == DagRunState.QUEUED:
                    run.set_state(DagRunState.RUNNING)
                if run.state == DagRunState.RUNNING:
                    self._scheduler._schedule_dag_run(run, self.session)
                    self.session.flush()
            self.session.commit()
            now = self._snapshot()
            if now == seen:
                # Nothing follows from being queued.
                while not self._is_paused and self._queue():
                    pass
                return
            seen = now
        raise Standstill(f"Airflow's scheduler was not done after {PASSES} passes")

    def _queue(self) -> bool:
        """Give the executor what is scheduled, as far as the limits have room; whether there was any.

        Once the scheduler is done: what becomes ready a pass later may be more important.
        """
        scheduled = update(TaskInstance).where(TaskInstance.state == "scheduled")
        if self.case.max_active_tasks >= 1000 and not any(task.max_per_run for task in self.case.tasks):
            queued = self.session.execute(scheduled.values(state="queued")).rowcount
        else:
            queued = len(self._scheduler._executable_task_instances_to_queued(1000, self.session))
        self.session.commit()
        self.session.expunge_all()
        return bool(queued)

    def _runs(self) -> list[DagRun]:
        return list(self.session.scalars(select(DagRun).order_by(DagRun.logical_date)))

    def _snapshot(self) -> list[Any]:
        """Everything the scheduler may change."""
        instances = self.session.execute(select(*COLUMNS)).all()
        return [sorted(map(tuple, instances), key=str), self.session.execute(select(DagRun.id, DagRun.state)).all()]

    def picture(self) -> Picture:
        numbers = {run_id(number): number for number in range(9)}
        runs = [str(run.state) for run in self._runs()]
        instances = {
            (numbers[run], task, index): InstancePicture(state and str(state), try_number, max_tries)
            for run, task, index, state, try_number, max_tries in self.session.execute(select(*COLUMNS))
        }
        return Picture(runs, instances)

    # --- what happens -------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        if event.task and event.task not in self.spec.tasks:
            return
        match event.do:
            case "wait":
                self.now += timedelta(seconds=event.seconds)
            case "pause" | "unpause":
                self._is_paused = event.do == "pause"
            case "clear":
                self._clear(event)
            case "mark":
                self._mark(event)
            case _ if (instance := self._instance(event)) is not None:
                match event.do, instance.state:
                    case "start", TaskInstanceState.QUEUED:
                        self._start(instance)
                    case "end", TaskInstanceState.RUNNING:
                        self._end(instance, event)
                    case "fire", TaskInstanceState.DEFERRED:
                        self._set(instance, state=TaskInstanceState.SCHEDULED, trigger_id=None)
                    case "die", TaskInstanceState.RESTARTING:
                        # As `process_executor_events` does, once the worker has ended it.
                        instance.max_tries = instance.try_number + self.dag.get_task(instance.task_id).retries
                        instance.set_state(None, session=self.session)
                    case "die", TaskInstanceState.RUNNING:
                        instance.task = self.dag.get_task(instance.task_id)
                        instance.dag_run.dag = self.dag
                        instance.handle_failure("lost", session=self.session)
        self.session.commit()

    def _instance(self, event: Event) -> TaskInstance | None:
        return self.session.scalar(
            select(TaskInstance).where(
                TaskInstance.run_id == run_id(event.run),
                TaskInstance.task_id == event.task,
                TaskInstance.map_index == event.index,
            )
        )

    def _start(self, instance: TaskInstance) -> None:
        """As `ti_run` does, and the SDK on its answer."""
        if not instance.next_method:
            self.session.execute(
                delete(XComModel).where(
                    XComModel.run_id == instance.run_id,
                    XComModel.task_id == instance.task_id,
                    *([XComModel.map_index == instance.map_index] if instance.map_index >= 0 else []),
                )
            )
        self._set(
            instance,
            state=TaskInstanceState.RUNNING,
            end_date=None,
            retry_delay_override=None,
            **({} if instance.next_kwargs else {"start_date": self.now}),
        )

    def _end(self, instance: TaskInstance, event: Event) -> None:
        """As the SDK's task runner reports the outcome of a try."""
        match event.outcome:
            case "success":
                self._push(instance, event)
                self._skip(instance, event)
                self._set(instance, state=TaskInstanceState.SUCCESS, end_date=self.now, next_method=None)
            case "skip":
                self._set(instance, state=TaskInstanceState.SKIPPED, end_date=self.now, next_method=None)
            case "retry" if api._is_eligible_to_retry(instance.state, instance.try_number, instance.max_tries):
                instance.end_date = self.now
                instance.prepare_db_for_next_try(self.session)
                self.session.flush()
                self._set(instance, state=TaskInstanceState.UP_FOR_RETRY, next_method=None)
            case "fail" | "retry":
                api._handle_fail_fast_for_dag(instance, instance.dag_id, self.session, self)
                self._set(instance, state=TaskInstanceState.FAILED, end_date=self.now, next_method=None)
            case "defer":
                self._set(instance, state=TaskInstanceState.DEFERRED, next_method="execute_complete", next_kwargs={})
            case "reschedule":
                due = self.now + timedelta(seconds=60)
                self.session.add(TaskReschedule(instance.id, self.now, self.now, due))
                self._set(instance, state=TaskInstanceState.UP_FOR_RESCHEDULE, end_date=self.now)

    def _push(self, instance: TaskInstance, event: Event) -> None:
        task = self.dag.get_task(instance.task_id)
        if event.length < 0 or instance.task_id not in mapped_over(self.spec):
            return
        xcom_api.set_xcom(
            instance.dag_id,
            instance.run_id,
            instance.task_id,
            "return_value",
            self.session,
            value=list(range(event.length)),
            map_index=instance.map_index,
            mapped_length=None if task.is_mapped else event.length,
        )

    def _skip(self, instance: TaskInstance, event: Event) -> None:
        decision, targets = skips(self.case, self.spec, event)
        if decision is None:
            return
        xcom_api.set_xcom(
            instance.dag_id,
            instance.run_id,
            instance.task_id,
            "skipmixin_key",
            self.session,
            value=decision,
            map_index=instance.map_index,
        )
        if instance.map_index < 0 and targets:
            tasks = SimpleNamespace(tasks=targets)
            api.ti_skip_downstream(instance.id, tasks, self.session)

    def _set(self, instance: TaskInstance, **values: Any) -> None:
        self.session.execute(update(TaskInstance).where(TaskInstance.id == instance.id).values(**values))

    def _clear(self, event: Event) -> None:
        wanted = cleared(self.spec, event)
        of_run = self.session.scalars(select(TaskInstance).where(TaskInstance.run_id == run_id(event.run)))
        instances = [
            instance
            for instance in of_run
            if instance.task_id in wanted or (instance.task_id, instance.map_index) in wanted
        ]
        clear_task_instances(instances, self.session)

    def _mark(self, event: Event) -> None:
        # A DAG of its own: making a subset of it leaves its tasks with groups that are gone.
        DagSerialization.from_dict(self._serialized).set_task_instance_state(
            task_id=event.task,
            map_indexes=[event.index],
            run_id=run_id(event.run),
            state=TaskInstanceState(event.outcome),
            session=self.session,
        )
