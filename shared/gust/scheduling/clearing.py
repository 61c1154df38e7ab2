"""How clearing changes an instance and its run. Rules: Airflow's `clear_task_instances` and `DagRun.set_state`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.scheduling import transition
from gust.scheduling.transition import Transition


@dataclass(frozen=True, slots=True)
class Version:
    """The DAG version that a run goes on with."""

    number: int
    spec_key: str
    bundle_version: str | None
    """`None`: the DAG has bundle versioning turned off, or there is none; the run keeps what it has."""

    @property
    def fields(self) -> dict[str, object]:
        bundle = {} if self.bundle_version is None else {"bundle_version": self.bundle_version}
        return {"version_number": self.number, "spec_key": self.spec_key, **bundle}


def cleared(spec: DagSpec, instance: TaskInstance, *, at: datetime) -> Transition | None:
    """`spec` is of the version that it will run on. `None`: nothing has happened to it since it was last cleared."""
    task = spec.tasks.get(instance.task_id)
    reason = "Cleared by a person."
    if instance.state is None:
        return None
    if instance.state is S.RUNNING:
        return transition.interrupt(
            instance, reason="Cleared by a person while it ran; it runs again once it has ended."
        )
    return transition.clear(instance, at=at, retries=task.retries if task else None, reason=reason)


def reset(run: DagRun, *, at: datetime, version: Version | None = None) -> DagRun:
    """The run once instances of it are cleared: one that had finished is queued again. `version`: it goes on with this."""
    changed = replace(run, clear_number=run.clear_number + 1, queued_at=at, **(version.fields if version else {}))  # type: ignore[arg-type]
    return queued_again(changed, at=at) if run.is_finished else changed


def queued_again(run: DagRun, *, at: datetime) -> DagRun:
    return replace(
        run,
        state=DagRunState.QUEUED,
        queued_at=at,
        start_date=None,
        end_date=None,
        last_scheduling_decision=None,
        reason=None,
    )
