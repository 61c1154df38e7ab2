"""Phase: choose the instances that go to workers, within the limits of the run and the limits across runs.

Every ready instance becomes `scheduled`. The scheduler sends as many as there is room for, the highest priority first.

Two schedulers may decide on the same run at once. If all ready instances fit, both decisions together fit too. If not, every
ready instance is first written as waiting, and a write to the run (`admitted_dispatches`) names those that may go. The write
is conditional, so that only one of the two schedulers can make it: docs/adr/0011. A run that has kept an instance back once
(`keeps_back`) lets every later one go by that write, so that its item shows which can be under way (`quick_look`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gust.model.dag_run import DagRun
from gust.model.dag_spec import TaskSpec
from gust.model.pool import RUN_LIMIT
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import slots, transition
from gust.scheduling.dependency import Dependency
from gust.scheduling.draft import Draft
from gust.scheduling.retry import start_trigger


@dataclass(slots=True)
class Admitted:
    """The dispatches that the run has let go, this decision's included."""

    run: DagRun
    """The run, with the instances that this decision admits in `admitted_dispatches`."""
    dispatches: frozenset[slots.Admission]
    is_never_full: bool = False
    """The run's limits cannot bind: it has no more instances that can be active at once than may be."""
    keeps_places_free: bool = False
    """The run keeps instances back, because others that are about to get slots across runs will take its free places."""

    @classmethod
    def before(cls, run: DagRun) -> Admitted:
        return cls(run, slots.admissions(run))

    def may_be_sent(self, scheduled: TaskInstance) -> bool:
        waits_for_nothing_else = scheduled.blocked_by_limit == RUN_LIMIT and self.is_never_full
        return waits_for_nothing_else or slots.is_on_its_way(scheduled, self.dispatches)

    def keeps_back(self, instance: TaskInstance) -> bool:
        return slots.waits(instance) and not self.may_be_sent(instance)


def admit(draft: Draft, ready: list[tuple[TaskSpec, TaskInstance]]) -> Admitted:
    """Schedule every instance of `ready`, and admit as many as there is room for."""
    return _Admission(draft).run(ready)


class _Admission:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._view = draft.view
        self._admitted = Admitted.before(draft.run)

    def run(self, ready: list[tuple[TaskSpec, TaskInstance]]) -> Admitted:
        draft, admitted = self._draft, self._admitted
        self._count_what_pools_count()
        to_workers = [(task, i) for task, i in ready if not self._start_from_trigger(task, i)]
        waiting = [(task, i) for task, i in self._view.all_instances() if slots.waits(i)]
        kept_back = [(task, i) for task, i in waiting if self._waits_for_its_run(i)]
        everything = [instance for _, instance in self._view.all_instances()]
        admitted.is_never_full = not draft.run.keeps_back and slots.can_never_be_full(
            draft.spec, draft.run, draft.max_active_tasks, everything
        )
        if admitted.is_never_full:
            for task, instance in to_workers:
                self._let_go(task, instance)
            for task, instance in kept_back:
                self._stand_in_line(task, instance)
        elif not kept_back and not draft.run.keeps_back and self._all_fits(everything, to_workers + waiting):
            for task, instance in to_workers:
                self._let_go(task, instance)
        else:
            by_importance = sorted(waiting + to_workers, key=lambda pair: slots.order_in_run(*pair))
            self._admit_in_order(everything, by_importance)
        return admitted

    def _count_what_pools_count(self) -> None:
        """Correct the slots that instances hold: after an API user changes a pool, it may count instances that it did not
        count, or stop counting them."""
        for task, instance in self._view.all_instances():
            if not self._view.has_moved(instance):
                claims = self._draft.claims(task)
                if slots.recounted(instance, claims) is not instance:
                    self._view.move(transition.recount(instance, claims=claims))

    def _start_from_trigger(self, task: TaskSpec, instance: TaskInstance) -> bool:
        """Defer the instance at once if its task begins with a trigger; returns whether it does. As in Airflow, no limit
        delays it, but it counts against its limits once it is deferred."""
        trigger = start_trigger(task, self._draft.now)
        if trigger is None:
            return False
        self._view.move(
            transition.start_from_trigger(
                instance,
                at=self._draft.now,
                retries=task.retries,
                trigger=trigger,
                claims=self._draft.claims(task),
            )
        )
        return True

    def _waits_for_its_run(self, instance: TaskInstance) -> bool:
        return instance.blocked_by_limit == RUN_LIMIT and not slots.is_on_its_way(instance, self._admitted.dispatches)

    def _all_fits(self, everything: list[TaskInstance], more: list[tuple[TaskSpec, TaskInstance]]) -> bool:
        room = self._room(everything)
        for task, _ in more:
            if room.objection(task):
                return False
            room.take(task)
        return True

    def _room(self, everything: list[TaskInstance]) -> slots.Room:
        return slots.Room(self._draft.max_active_tasks, everything, self._admitted.dispatches)

    def _let_go(self, task: TaskSpec, instance: TaskInstance) -> None:
        """Schedule the instance; the run has room. It is sent, unless it must first get slots of a limit across runs."""
        claims = self._draft.claims(task)
        self._schedule(task, instance, blocked_by_limit=claims[0].limit if claims else None)

    def _stand_in_line(self, task: TaskSpec, instance: TaskInstance) -> None:
        """Move an instance that waited for its run to the line of the first limit whose slots it needs, if it needs any."""
        if claims := self._draft.claims(task):
            order = slots.waiting_order(task, self._draft.run, instance.map_index)
            self._view.move(transition.wait(instance, blocked_by_limit=claims[0].limit, waiting_order=order))

    def _admit_in_order(self, everything: list[TaskInstance], ordered: list[tuple[TaskSpec, TaskInstance]]) -> None:
        """Admit the instances in order, as many as there is room for. An instance that is about to get its slots across runs
        takes a place in the run already; an instance that has to wait for them takes none."""
        room = self._room(everything)
        promised: Counter[str] = Counter()
        admissions: list[slots.Admission] = []
        for task, instance in ordered:
            is_new = instance.state is not S.SCHEDULED
            is_in_line = not is_new and not self._waits_for_its_run(instance)
            if slots.is_on_its_way(instance, self._admitted.dispatches):
                continue
            if (objection := room.objection(task)) is not None:
                dependency = Dependency.RUN_SLOTS if room.is_full else Dependency.TASK_CONCURRENCY
                self._draft.wait(instance, objection, dependency)
                if is_new:
                    self._schedule(task, instance, blocked_by_limit=RUN_LIMIT)
            elif claims := self._draft.claims(task):
                if not is_in_line:
                    self._let_go(task, instance) if is_new else self._stand_in_line(task, instance)
                if all(self._has_room(claim, promised) for claim in claims):
                    promised.update({claim.limit: claim.slots for claim in claims})
                    room.take(task)
            elif not is_in_line:
                room.take(task)
                after = self._schedule(task, instance, blocked_by_limit=RUN_LIMIT) if is_new else instance
                admissions.append(slots.admission(after))
        if admissions:
            self._admitted.run = slots.admitting(self._draft.run, admissions, everything)
            self._admitted.dispatches = slots.admissions(self._admitted.run)
        kept_back = any(slots.waits(i) and self._waits_for_its_run(i) for _, i in self._view.all_instances())
        self._admitted.keeps_places_free = bool(promised) and kept_back

    def _has_room(self, claim: slots.Claim, promised: Counter[str]) -> bool:
        used = claim.pool.used if claim.pool else self._draft.used.get(claim.limit)
        return used is not None and claim.has_room(used + promised[claim.limit])

    def _schedule(self, task: TaskSpec, instance: TaskInstance, *, blocked_by_limit: str | None) -> TaskInstance:
        is_in_line = blocked_by_limit not in {None, RUN_LIMIT}
        order = slots.waiting_order(task, self._draft.run, instance.map_index) if is_in_line else None
        moved = transition.schedule(
            instance, at=self._draft.now, retries=task.retries, blocked_by_limit=blocked_by_limit, waiting_order=order
        )
        self._view.move(moved)
        return moved.after
