"""Have workers run the callbacks that a run owes, and send lost ones again.

The write that makes a callback due stores it; this module sends it and marks it as sent. If the scheduler dies in between,
the next look at the run finds it still pending; a finished run keeps a `due_at` for that until its callbacks have ended.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from aws_lambda_powertools import Logger

from gust.errors import StaleCallback
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag_run import DagRun
from gust.scheduling import callback
from gust.services.context import Services
from gust.services.make_workload import bundle_version, callback_workload
from gust.services.specs import NO_SPEC, load_spec
from gust.services.wake import look_soon, wake_run

log = Logger(service="scheduler", child=True)


def look_after_callbacks(
    services: Services, run: DagRun, callbacks: Sequence[Callback], *, now: datetime
) -> tuple[Callback, ...]:
    """Note missed deadlines, send pending callbacks. Returns the callbacks as they are afterwards."""
    found = {one.callback_id: one for one in callbacks}
    for move in callback.due_moves(callbacks, now=now):
        try:
            services.store.move_callback(move)
        except StaleCallback as stale:
            moved = stale.current
        else:
            moved = move.after
        if moved is not None:
            found[moved.callback_id] = moved
    send_callbacks(services, run, [one for one in found.values() if one.state is CallbackState.PENDING])
    return tuple(found.values())


def look_after_end(services: Services, run: DagRun, callbacks: Sequence[Callback], *, now: datetime) -> None:
    """Have a finished run looked at again while a callback has not ended. Raises StaleDagRun."""
    if not run.calls_back and all(one.has_ended for one in callbacks):
        return
    at = callback.next_look(look_after_callbacks(services, run, callbacks, now=now), now=now)
    if at is None:
        if run.calls_back:
            services.store.update_run(run, replace(run, calls_back=False, due_at=None))
    elif not run.calls_back or run.due_at is None or run.due_at <= now or at < run.due_at:
        wake_run(services, run.key, at, now=now)
        services.store.update_run(run, replace(run, calls_back=True, due_at=at))


def send_callbacks(services: Services, run: DagRun, callbacks: Sequence[Callback]) -> None:
    """Put callbacks on the queue of tasks, then mark the accepted ones as queued. A worker may be faster than the mark.
    Containers are stopped at once, without a worker."""
    stop_containers(services, run, [one for one in callbacks if one.kind is CallbackKind.CONTAINER])
    callbacks = [one for one in callbacks if one.kind is not CallbackKind.CONTAINER]
    if not callbacks:
        return None
    now = services.clock.now()
    try:
        spec = load_spec(services.objects, run.spec_key)
    except NO_SPEC as error:
        log.exception("The DAG's version cannot be read; nothing is called back", **run.names)
        return give_up(services, callbacks, f"The DAG's version cannot be read: {error}", now=now)
    bundle = bundle_version(services, run)
    workloads = [callback_workload(services, spec, run, one, bundle=bundle, now=now) for one in callbacks]
    refused = {workload.callback_id for workload in services.queues.send_callbacks(workloads)}
    for one in callbacks:
        if one.callback_id not in refused:
            with suppress(StaleCallback):
                services.store.move_callback(callback.queue(one, at=now))
    if refused:
        look_soon(services, run.key, delay=1)
    return None


def stop_containers(services: Services, run: DagRun, stops: Sequence[Callback]) -> None:
    """Stop the containers of tries that were taken away. A stop that Step Functions refuses for now is asked for again. One
    that is lost does no harm: the container's supervisor learns from its next heartbeat that its try is over."""
    if not stops:
        return
    now = services.clock.now()
    refused = services.containers.stop([one.definition["name"] for one in stops])
    for one in stops:
        if one.definition["name"] not in refused:
            with suppress(StaleCallback):
                services.store.move_callback(callback.end(one, at=now, output=None))
    if refused:
        look_soon(services, run.key, delay=1)


def give_up(services: Services, callbacks: Sequence[Callback], why: str, *, now: datetime) -> None:
    """End callbacks that no worker will ever be able to call."""
    for one in callbacks:
        with suppress(StaleCallback):
            services.store.move_callback(callback.end(one, at=now, output=why))
