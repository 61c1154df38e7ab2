"""Delete a run, or an instance of one."""

from contextlib import suppress
from dataclasses import replace

from gust.errors import Conflict, NotFound, StaleDagRun
from gust.model.callback import CallbackKind
from gust.model.dag_run import DagRun
from gust.model.keys import DagRunKey, TaskInstanceKey
from gust.model.run_state import RunState
from gust.model.state import DagRunState
from gust.scheduling import transition
from gust.scheduling.callback import with_kill
from gust.services.backfills.start_waiting_runs import start_waiting_runs
from gust.services.context import Services
from gust.services.people.edit_run import HOLD, Edit, edit_run
from gust.services.specs import NO_SPEC, load_spec

ATTEMPTS = 10


def delete_dag_run(services: Services, key: DagRunKey) -> None:
    """Delete a run that is not running, with its whole partition. After the latest scheduled run, the timetable makes
    that run again.

    Raises NotFound, and Conflict if it runs. If the deletion dies half-way, the request can be repeated.
    """
    # Imported here: timetables are slow to import.
    from gust.services.runs.recompute_next_run import recompute_without  # noqa: PLC0415

    recompute_without(services, delete_run(services, key, but=frozenset({DagRunState.RUNNING})))


def delete_run(services: Services, key: DagRunKey, *, but: frozenset[DagRunState] = frozenset()) -> DagRun:
    for _ in range(ATTEMPTS):
        run = services.store.get_run(key)
        if run is None:
            raise NotFound(f"The DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` was not found")
        if run.state in but:
            raise Conflict(
                f"The DagRun with dag_id: `{key.dag_id}` and run_id: `{key.run_id}` "
                f"cannot be deleted in {run.state} state"
            )
        try:
            held = _held(services, run)
            if not _gave_back_all(services, key):
                continue
            _stop_containers(services, held)
            services.store.delete_run(held)
        except StaleDagRun:
            continue
        _start_next(services, held)
        return run
    raise Conflict(f"Another action on the DagRun `{key.run_id}` of `{key.dag_id}` is under way; try again")


def _held(services: Services, run: DagRun) -> DagRun:
    """Hold the run, so that the scheduler does not start it while its items are deleted. Raises StaleDagRun."""
    now = services.clock.now()
    if run.is_held(now) and run.held_by != _DELETED:
        raise StaleDagRun(f"DagRun {run.run_id!r} of {run.dag_id!r} is held", run)
    until = now + HOLD
    held = replace(run, held_by=_DELETED, held_until=until, due_at=None if run.is_finished else until)
    services.store.update_run(run, held)
    return held


def _gave_back_all(services: Services, key: DagRunKey) -> bool:
    """Give back the slots that its instances hold: they would outlive the run. False if a worker moved an instance
    meanwhile."""
    state = services.store.load_run(key)
    holders = [] if state is None else [instance for instance in state.instances.values() if instance.holds]
    return not services.store.move_all([transition.forget(instance) for instance in holders])


def _stop_containers(services: Services, run: DagRun) -> None:
    """Stop the containers of tries that run or begin. A container that AWS does not stop now ends with its next heartbeat:
    its try is gone."""
    state = services.store.load_run(run.key) if services.workers.has_fargate else None
    if state is None:
        return
    spec = None
    with suppress(*NO_SPEC):
        spec = load_spec(services.objects, run.spec_key)
    moves = [with_kill(transition.forget(each), spec, services.workers) for each in state.instances.values()]
    stops = [move.callback for move in moves if move.callback is not None]
    names = [stop.definition["name"] for stop in stops if stop.kind is CallbackKind.CONTAINER]
    if names:
        services.containers.stop(names)


def _start_next(services: Services, deleted: DagRun) -> None:
    """Wake the next queued runs: they may have waited for this one."""
    if deleted.is_finished:
        return
    start_waiting_runs(services, deleted)


_DELETED = "deletion"
"""The same holder for all deletions: two requests may delete the same run together."""


def delete_task_instance(services: Services, key: TaskInstanceKey) -> None:
    """Delete an instance with its tries and XComs, as if it had never run. Later reports of its worker are stale. A run that
    is not finished runs it again. Deleting it twice is no error."""

    def plan(state: RunState) -> Edit:
        instance = state.instances.get((key.task_id, key.map_index))
        if instance is None:
            return Edit()
        return Edit(moves=[[transition.forget(instance, reason="Deleted by a person.")]])

    edit_run(services, key.run, plan)
    services.store.delete_history(key)
