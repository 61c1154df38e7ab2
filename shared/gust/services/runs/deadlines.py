"""Deadlines: moments by which a run must have succeeded; otherwise a callback is called.

They are made with the run, in the same write, from the alerts of its version; references are resolved at that moment, as in
Airflow. From then on their moments are part of the run's `due_at`, so nothing polls for them.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from aws_lambda_powertools import Logger

from gust.errors import BadRequest, StaleCallback, Unreadable
from gust.model.callback import CALLBACK_NAMESPACE, Callback, CallbackKind, CallbackState
from gust.model.correlation import new_correlation_id
from gust.model.dag import Dag
from gust.model.dag_run import DagRun
from gust.model.dag_spec import DagSpec
from gust.model.moment import later
from gust.model.state import DagRunState
from gust.scheduling.callback import CallbackMove, made, next_deadline
from gust.services.context import Services
from gust.services.make_workload import bundle_version
from gust.services.sealed import seal
from gust.services.settings.variables import find_variable
from gust.services.wake import wake_run

CUSTOM: Final = "__class_path"
"""In a reference: the class of a plugin that computes the moment."""

RUNS_LOOKED_AT: Final = 100
"""How many of the newest runs are searched for successful ones, if an average needs fewer than a tenth of that number."""

log = Logger(service="scheduler", child=True)


def create_run_with_deadlines(
    services: Services, run: DagRun, spec: DagSpec, *, moving: tuple[Dag, Dag] | None = None
) -> DagRun:
    """Store the new run with its deadlines; raises as `create_run` does. Returns the stored run."""
    run, deadlines = with_deadlines(services, run, spec)
    services.store.create_run(run, moving=moving, callbacks=deadlines)
    wake_for_deadlines(services, run, deadlines)
    return run


def with_deadlines(services: Services, run: DagRun, spec: DagSpec) -> tuple[DagRun, list[CallbackMove]]:
    """The new run with its correlation id and a `due_at` at its first deadline, and the deadlines to store with it."""
    run = replace(run, correlation_id=services.correlation_id or new_correlation_id())
    moves = deadlines_of(services, spec, run)
    first = next_deadline(made(moves))
    if first is not None and (run.due_at is None or first < run.due_at):
        run = replace(run, due_at=first)
    return run, moves


def wake_for_deadlines(services: Services, run: DagRun, deadlines: Sequence[CallbackMove]) -> None:
    """Send the wake-up for the first deadline. Called after storing a run `with_deadlines`."""
    first = next_deadline(made(deadlines))
    if first is not None and run.due_at == first:
        wake_run(services, run.key, first, now=services.clock.now())


def deadlines_of(services: Services, spec: DagSpec, run: DagRun) -> list[CallbackMove]:
    """One deadline for each alert of the DAG whose reference has a moment for this run."""
    now = services.clock.now()
    moves: list[CallbackMove] = []
    for number, alert in enumerate(spec.deadline or ()):
        try:
            refers_to = reference_moment(services, alert["reference"], run, file=spec.relative_fileloc, now=now)
            interval = alert_interval(services, alert["interval"])
        except BadRequest as problem:
            refers_to, interval = None, 0.0
            log.warning("The run gets no deadline", **run.names, reason=str(problem))
        if refers_to is None:
            continue
        moves.append(
            CallbackMove(
                None,
                Callback(
                    dag_id=run.dag_id,
                    run_id=run.run_id,
                    callback_id=f"deadline/{number}",
                    kind=CallbackKind.DEADLINE,
                    event="missed",
                    state=CallbackState.SCHEDULED,
                    created_at=now,
                    updated_at=now,
                    due_at=later(refers_to, interval),
                    alert_id=str(alert_uuid(run.dag_id, run.version_number, number)),
                    name=alert.get("name"),
                    follows_queueing=alert["reference"].get("reference_type") == "DagRunQueuedAtDeadline",
                    definition=seal(services, alert["callback"]),
                ),
            )
        )
    return moves


def alert_uuid(dag_id: str, version_number: int, number: int) -> UUID:
    """The id of the `number`th alert of one version of the DAG."""
    return uuid5(CALLBACK_NAMESPACE, f"{dag_id}\x1f{version_number}\x1f{number}")


def reference_moment(
    services: Services, reference: Mapping[str, Any], run: DagRun, *, file: str, now: datetime
) -> datetime | None:
    """The moment of the reference; `None` if the run has no such moment, and thus no deadline. Raises BadRequest with the
    error of a plugin's reference."""
    if CUSTOM in reference:
        bundle = bundle_version(services, run)
        return services.timetables.deadline(reference, bundle, file=file, dag_id=run.dag_id, run_id=run.run_id)
    match reference["reference_type"]:
        case "DagRunLogicalDateDeadline":
            return run.logical_date
        case "DagRunQueuedAtDeadline":
            return run.queued_at
        case "FixedDatetimeDeadline":
            return fixed_moment(reference["datetime"])
        case "AverageRuntimeDeadline":
            average = average_runtime(services, run.dag_id, reference["max_runs"], reference.get("min_runs"))
            return None if average is None else now + average
        case unknown:
            raise BadRequest(f"No release of Airflow that Gust knows has a deadline reference {unknown}")


def average_runtime(services: Services, dag_id: str, max_runs: int, min_runs: int | None) -> timedelta | None:
    """Seconds, averaged over the latest successful runs; runs without a logical date come first, as in PostgreSQL's order.
    `None` if there are too few."""
    newest = services.store.list_runs(dag_id, limit=max(RUNS_LOOKED_AT, 10 * max_runs))
    dated = sorted((r for r in newest if r.logical_date), key=lambda r: r.logical_date or r.run_after, reverse=True)
    took = [
        run.end_date - run.start_date
        for run in (*(r for r in newest if r.logical_date is None), *dated)
        if run.state is DagRunState.SUCCESS and run.start_date and run.end_date
    ][:max_runs]
    if len(took) < (min_runs or 1):
        return None
    return sum(took, timedelta()) / len(took)


def fixed_moment(timestamp: float) -> datetime:
    """The moment of an epoch timestamp. Raises BadRequest if it is beyond the calendar."""
    try:
        return datetime.fromtimestamp(timestamp, tz=UTC)
    except (OverflowError, ValueError, OSError) as problem:
        raise BadRequest(f"A deadline refers to the timestamp {timestamp}, which is no date: {problem}") from problem


def alert_interval(services: Services, interval: Mapping[str, Any] | float) -> float:
    """The interval in seconds. Raises BadRequest if it is a variable that holds no integer."""
    if isinstance(interval, int | float):
        return float(interval)
    if (seconds := fixed_seconds(interval)) is not None:
        return seconds
    key = interval["__data__"]["key"]
    try:
        variable = find_variable(services, key)
    except Unreadable as problem:
        raise BadRequest(str(problem)) from problem
    if variable is None:
        raise BadRequest(f"VariableInterval '{key}' not found")
    value = variable.value or ""
    try:
        return float(int(value))
    except (ValueError, OverflowError) as problem:
        raise BadRequest(f"VariableInterval '{key}' must be an integer (seconds), got: {value!r}") from problem


def fixed_seconds(interval: Mapping[str, Any] | float) -> float | None:
    """The interval in seconds; `None` if a variable sets it when a run is made."""
    if isinstance(interval, int | float):
        return float(interval)
    data = interval.get("__data__")
    return float(data) if isinstance(data, int | float) else None


def move_deadlines(services: Services, run: DagRun, callbacks: Sequence[Callback], *, queued_at: datetime) -> None:
    """Move the deadlines that count from queueing and were not missed: the run is queued again at `queued_at`."""
    for callback in callbacks:
        if callback.follows_queueing and callback.state is CallbackState.SCHEDULED and callback.due_at is not None:
            due_at = callback.due_at + (queued_at - run.queued_at)
            if due_at == callback.due_at:
                continue
            with suppress(StaleCallback):  # missed meanwhile
                services.store.move_callback(
                    CallbackMove(callback, replace(callback, due_at=due_at, updated_at=queued_at))
                )
