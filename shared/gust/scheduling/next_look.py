"""Phase: when the scheduler must look at the run again, though no other word comes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from gust.model.dag_run import DagRun
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import callback
from gust.scheduling.admission import Admitted
from gust.scheduling.draft import Draft
from gust.scheduling.pure_wait import pure_wait
from gust.scheduling.timers import looked_after_at, run_deadline

SOON: Final = timedelta(milliseconds=1)
"""After `now`, and before anything else."""


@dataclass(frozen=True, slots=True)
class NextLook:
    exact: datetime | None
    """The earliest moment at which something is due; `None` if nothing is."""
    lazy: datetime
    """The earliest moment at which a worker or a message may be found lost. A few seconds later serves as well."""

    @property
    def at(self) -> datetime:
        return self.lazy if self.exact is None else min(self.exact, self.lazy)


def next_look(draft: Draft, admitted: Admitted, unfinished: list[TaskInstance]) -> NextLook:
    now = draft.now
    exact = [None if draft.is_paused else run_deadline(draft.spec, draft.run), callback.next_deadline(draft.callbacks)]
    lost = [now + (draft.config.look_again_at_jobs if _waits_for_jobs(unfinished) else draft.config.look_again)]
    for instance in unfinished:
        match instance.state:
            case None:
                if draft.view.has_moved(instance):
                    exact.append(now + SOON)  # cleared, and its worker is lost: it runs again at once
            case S.UP_FOR_RETRY | S.UP_FOR_RESCHEDULE:
                # It may be due at once, and this decision may have moved it already: the next one is then due now.
                has_moved = draft.view.has_moved(instance)
                exact.append(_at_least(instance.due_at, now + SOON) if has_moved else instance.due_at)
            case S.AWAITING_INPUT:
                exact.append(instance.due_at)
            case S.DEFERRED:
                if instance.trigger is not None:
                    wait = pure_wait(instance.trigger, since=instance.start_date)
                    exact += [instance.due_at, wait.until if wait else None, instance.trigger.rests_until]
            case S.SCHEDULED:
                if admitted.may_be_sent(instance):
                    lost.append(looked_after_at(instance, now=now, config=draft.config))
            case S.QUEUED | S.RUNNING | S.RESTARTING:
                lost.append(looked_after_at(instance, now=now, config=draft.config))
            case S.SUCCESS | S.FAILED | S.SKIPPED | S.UPSTREAM_FAILED | S.REMOVED:
                pass
            case _:
                assert_never(instance.state)
    return NextLook(min((at for at in exact if at is not None and at > now), default=None), min(lost))


def _waits_for_jobs(unfinished: list[TaskInstance]) -> bool:
    begun = [instance for instance in unfinished if instance.state is not None]
    return bool(begun) and all(
        instance.state is S.DEFERRED and instance.trigger is not None and instance.trigger.looks_seldom
        for instance in begun
    )


def due_while_still(draft: Draft, admitted: Admitted) -> datetime | None:
    """When a begun instance may have to be ended, though the run stands still; `None` for later than any look."""
    look = next_look(draft, admitted, draft.begun())
    return look.at if look.lazy < draft.now + draft.config.look_again else look.exact


def run_due_again(draft: Draft, admitted: Admitted, look: NextLook) -> DagRun | None:
    """The run with `due_at` moved, where it has to be; `None` where the stored one serves.

    Each write is billed and an early look is harmless, so `due_at` only moves when it has passed or comes too late. A
    worker that may be lost is looked for some seconds late rather than written about at every step.
    """
    stored = draft.run.due_at
    wanted: datetime | None = look.at
    if stored is not None and stored > draft.now:
        late_for_exact = look.exact is not None and stored > look.exact
        late_for_lost = stored > look.lazy + draft.config.heartbeat_timeout / 4
        if not late_for_exact and not late_for_lost:
            wanted = stored
    if wanted == stored and admitted.run is draft.run:
        return None
    return replace(admitted.run, due_at=wanted, last_scheduling_decision=draft.now)


def _at_least(at: datetime | None, least: datetime) -> datetime:
    return least if at is None else max(at, least)
