"""Gust's scheduler over the store in memory, moved by the same verbs that move it on AWS."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch
from gust.model.keys import DagRunKey
from gust.model.run_state import RunState
from gust.model.state import DagRunState, DagRunType
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import ParkedTrigger, TaskInstance
from gust.ports.clock import ManualClock
from gust.scheduling import retry, transition
from gust.scheduling.decision import Decision, SendTask
from gust.scheduling.quick_look import SUCCEEDED, Change
from gust.scheduling.run_view import RunView
from gust.scheduling.transition import Transition
from gust.services.context import Services
from gust.services.people.clear_task_instances import Clear, clear_task_instances
from gust.services.people.pause_dag import set_paused
from gust.services.people.set_state import Mark, mark_task_instances
from gust.services.scheduler.advance import advance, decide_on
from gust.services.scheduler.follow import Told, quick_look
from gust.services.worker.push_xcom import push_xcom
from gust.services.worker.report_task_instance import (
    report_deferral,
    report_failure,
    report_lost,
    report_reschedule,
    report_retry,
    report_stopped,
    report_success,
)
from gust.services.worker.skip_downstream import skip_downstream
from gust.services.worker.start_task_instance import start_task_instance
from gust.store.memory import MemoryStore
from tests.differential.author import FIRST_RUN
from tests.differential.picture import InstancePicture, Picture
from tests.differential.plan import Case, Event
from tests.differential.worker import cleared, mapped_over, run_id, skips


class Stream(MemoryStore):
    """Notes what others than the scheduler write, as the table's stream tells of it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[DagRunKey, list[Transition]] = {}

    def move(self, transition: Transition) -> None:
        super().move(transition)
        self.records.setdefault(transition.after.key.run, []).append(transition)


class GustSide:
    quick_looks: ClassVar[Counter[Told]] = Counter()
    """Of all cases: what quick looks told."""

    def begin(self, case: Case, spec: DagSpec, serialized: dict[str, Any]) -> None:
        self.case, self.spec = case, spec
        self.clock = ManualClock(FIRST_RUN + timedelta(days=10))
        self.services = Services(
            store=(store := Stream()),
            objects=MemoryObjects(),
            queues=MemoryQueues(),
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=None,  # type: ignore[arg-type] # nobody reads them here
            cipher=FernetCipher(lambda: "a key of the stack"),
        )
        self.stream = store
        key = f"specs/{hash(spec.model_dump_json())}.json"
        self.services.objects.put(key, spec.model_dump_json().encode())
        dag = Dag(
            dag_id=spec.dag_id,
            version_number=1,
            spec_key=key,
            bundle_version="1",
            max_active_runs=16,
            max_active_tasks=case.max_active_tasks,
        )
        self.services.store.put_dag(None, dag)
        for number in range(case.runs):
            self._add_run(number, key)

    def _add_run(self, number: int, spec_key: str) -> None:
        date, now = FIRST_RUN + timedelta(days=number), self.clock.now()
        self.services.store.create_run(
            DagRun(
                dag_id=self.spec.dag_id,
                run_id=run_id(number),
                run_type=DagRunType.SCHEDULED,
                state=DagRunState.RUNNING,
                logical_date=date,
                data_interval_start=date,
                data_interval_end=date,
                run_after=date,
                queued_at=now,
                start_date=now,
                version_number=1,
                spec_key=spec_key,
                bundle_version="1",
            )
        )

    # --- the scheduler ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everybody is woken until nothing moves: the table's stream and the wakes queue, in one. Where all records of a run
        tell of successes, they are followed first, by quick looks where that is possible."""
        seen = self._snapshot()
        records, self.stream.records = self.stream.records, {}
        for key, moves in records.items():
            if moves and all(moved.edge in (SUCCEEDED, "start") for moved in moves):
                ends = [moved.after for moved in moves if moved.edge == SUCCEEDED]
                self._follow(key, [Change(i.task_id, i.map_index, SUCCEEDED, i.dispatch_count) for i in ends])
        while True:
            for number in range(self.case.runs):
                advance(self.services, self._run_key(number))
            now = self._snapshot()
            if now == seen:
                break
            seen = now
        self.stream.records.clear()  # what is left the scheduler has written itself

    def _follow(self, key: DagRunKey, changes: list[Change]) -> None:
        """All in one batch, or one after the other: whatever was told, a full look finds nothing more to do."""
        batches = [changes] if len(changes) % 2 else [[change] for change in changes[::-1]]
        for batch in batches:
            before, expected = self._full_look(key)
            told = quick_look(self.services, key, batch)
            self.quick_looks[told] += 1
            if told is Told.LOOK:
                advance(self.services, key)
            elif len(batches) == 1:
                self._check(told, before, expected, self._full_look(key)[0])
        if changes:
            state, left = self._full_look(key)
            self._check(Told.NOTHING, state, left, state)

    def _full_look(self, key: DagRunKey) -> tuple[RunState, Decision]:
        state = self.services.store.load_run(key)
        dag, pools = self.services.store.get_dag_and_pools(key.dag_id, ["default_pool"])
        assert state is not None
        assert dag is not None
        if state.run.is_finished or dag.is_paused:
            return state, Decision()
        return state, decide_on(self.services, state, dag, pools, now=self.clock.now())

    def _check(self, told: Told, before: RunState, full: Decision, after: RunState) -> None:
        """The full look says the same as the quick one: nothing but that instances go, or begin to wait for their run."""
        assert {moved.edge for moved in full.transitions} <= ({"schedule"} if told is Told.LET_GO else set()), (
            told,
            full,
        )
        assert (full.stopped, full.waiting) == ((), ()), (told, full)
        assert full.run is None or not full.run.is_finished, (told, full)
        sent = {(e.instance.task_id, e.instance.map_index) for e in full.effects if isinstance(e, SendTask)}
        assert len(sent) == len(full.effects), (told, full)
        begin = {(moved.after.task_id, moved.after.map_index) for moved in full.transitions}
        moved = {key: i for key, i in after.instances.items() if i != before.instances.get(key)}
        assert begin | sent == moved.keys(), (told, full)
        assert all(i.state is (S.QUEUED if key in sent else S.SCHEDULED) for key, i in moved.items()), (told, full)

    def _snapshot(self) -> Picture:
        return self.picture()

    def picture(self) -> Picture:
        picture = Picture()
        for number in range(self.case.runs):
            state = self.services.store.load_run(self._run_key(number))
            assert state is not None
            picture.runs.append(str(state.run.state))
            view = RunView(self.spec, state.run, state.instances, self.clock.now())
            for task, instance in view.all_instances():
                max_tries = instance.max_tries if instance.try_number else task.retries
                picture.instances[number, task.task_id, instance.map_index] = InstancePicture(
                    instance.state and str(instance.state), instance.try_number, max_tries
                )
        return picture

    def _run_key(self, number: int) -> DagRunKey:
        return DagRunKey(self.spec.dag_id, run_id(number))

    # --- what happens -------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        if event.task and event.task not in self.spec.tasks:
            return
        match event.do:
            case "wait":
                self._wait(event.seconds)
            case "pause" | "unpause":
                set_paused(self.services, self.spec.dag_id, event.do == "pause")
            case "clear":
                clear = Clear(markers=cleared(self.spec, event))
                clear_task_instances(self.services, [self._run_key(event.run)], clear)
            case "mark":
                mark = Mark(tasks=[(event.task, event.index)], state=S(event.outcome))
                mark_task_instances(self.services, self._run_key(event.run), mark)
            case _ if (instance := self._instance(event)) is not None:
                self._work(instance, event)

    def _work(self, instance: TaskInstance, event: Event) -> None:
        now = self.clock.now()
        dispatch = Dispatch.of(instance)
        match event.do, instance.state:
            case "start", S.QUEUED:
                started = start_task_instance(self.services, dispatch, hostname="worker", pid=1, at=now)
                for name in started.xcom_keys_to_clear:
                    self.services.store.delete_xcom(instance.key, name)
            case "end", S.RUNNING:
                self._end(instance, dispatch, event)
            case "fire", S.DEFERRED:
                self.services.store.move(transition.resume(instance, at=now, event=None))
            case "die", S.RUNNING | S.RESTARTING:
                report_lost(self.services, dispatch, at=now, reason="lost")

    def _wait(self, seconds: float) -> None:
        """Workers show that they live, so that time alone loses none: Airflow's scheduler leaves that to its sweeps."""
        now = self.clock.advance(seconds)
        for key in self.picture().instances:
            run, task_id, index = key
            instance = self.services.store.get_instance(self._run_key(run).task_instance(task_id, index))
            if instance is not None and instance.state is S.RESTARTING:
                # Its worker has not been told yet.
                self.services.store.move(
                    transition.Transition("annotate", instance, replace(instance, heartbeat_at=now))
                )
            if instance is not None and instance.state is S.RUNNING:
                self.services.store.heartbeat(
                    instance.key, try_number=instance.try_number, dispatch_count=instance.dispatch_count, at=now
                )

    def _instance(self, event: Event) -> TaskInstance | None:
        return self.services.store.get_instance(self._run_key(event.run).task_instance(event.task, event.index))

    def _end(self, instance: TaskInstance, dispatch: Dispatch, event: Event) -> None:
        services, now = self.services, self.clock.now()
        match event.outcome:
            case "success":
                self._push(instance, dispatch, event)
                self._skip(dispatch, event)
                report_success(services, dispatch, at=now)
            case "skip":
                report_stopped(services, dispatch, state=S.SKIPPED, at=now)
            case "retry" if retry.is_eligible(instance):
                report_retry(services, dispatch, at=now)
            case "fail" | "retry":
                report_failure(services, dispatch, at=now)
            case "defer":
                trigger = ParkedTrigger(classpath="some.Trigger", kwargs={}, next_method="execute_complete")
                report_deferral(services, dispatch, trigger=trigger)
            case "reschedule":
                report_reschedule(services, dispatch, at=now, due_at=now + timedelta(seconds=60))

    def _push(self, instance: TaskInstance, dispatch: Dispatch, event: Event) -> None:
        if event.length < 0 or instance.task_id not in mapped_over(self.spec):
            return
        length = event.length if self.spec.tasks[instance.task_id].expansion is None else None
        value = list(range(event.length))
        push_xcom(self.services, dispatch, name="return_value", value=value, mapped_length=length)

    def _skip(self, dispatch: Dispatch, event: Event) -> None:
        decision, targets = skips(self.case, self.spec, event)
        if decision is None:
            return
        push_xcom(self.services, dispatch, name="skipmixin_key", value=decision)
        if event.index < 0 and targets:
            named = [(target, -1) if isinstance(target, str) else target for target in targets]
            skip_downstream(self.services, dispatch, named)
