"""An event of AWS says that a resource has come to a steady state: have the triggers that wait for it poll at once."""

from __future__ import annotations

from typing import Final

from aws_lambda_powertools import Logger

from gust.model.awaited import Wait
from gust.model.dag_run import DagRun
from gust.model.dispatch import Dispatch, Scope
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.workload import TriggerWorkload, WakeWaiting
from gust.services.context import Services
from gust.services.make_workload import bundle_version, trigger_workload
from gust.services.specs import NO_SPEC, spec_of_instance

LOOKS: Final = 4
"""How often a trigger polls after an event: a service's API may show the new state some seconds after its event."""

AT_ONCE: Final = 500
"""How many waits one wake-up looks at: a look takes some milliseconds, and a shared resource (a crawler, an endpoint) may
have ten thousand."""

log = Logger(service="scheduler", child=True)


def wake_waiting(services: Services, resource: str, *, after: str = "") -> int:
    """Send the triggers that wait for the resource to the triggerer, beside their parked messages, and drop the waits that
    are over: the next event of the resource would find them again. Returns how many it sent. A further wake-up looks at what
    is left; `after`: the id of the last try that earlier ones have looked at.

    Called twice, they poll twice, and the first that fires counts. A trigger whose instance has not deferred yet is not
    sent: its first poll comes after the event anyway."""
    left = [wait for wait in services.store.waits_for(resource) if _id(wait) > after]
    waits = left[:AT_ONCE]
    instances = {one.key: one for one in services.store.get_instances(list(dict.fromkeys(wait.key for wait in waits)))}
    waiting = [wait for wait in waits if _waits(wait, instances.get(wait.key))]
    runs = {run.key: run for run in services.store.get_runs(list(dict.fromkeys(wait.key.run for wait in waiting)))}
    found = [(runs.get(wait.key.run), instances[wait.key]) for wait in waiting]
    workloads = [_workload(services, run, instance) for run, instance in found if run is not None]
    if sent := [workload for workload in workloads if workload is not None]:
        services.queues.send_triggers(sent)
    for wait in waits:
        if _is_over(wait, instances.get(wait.key)):
            services.store.drop_wait(wait)
    if len(left) > len(waits):
        services.queues.wake(WakeWaiting(resource=resource, after=_id(waits[-1])))
    return len(sent)


def _id(wait: Wait) -> str:
    return str(wait.key.uuid(wait.try_number))


def _dispatch(wait: Wait) -> Dispatch:
    return Dispatch(wait.key, wait.try_number, wait.dispatch_count, Scope.TRIGGER)


def _waits(wait: Wait, instance: TaskInstance | None) -> bool:
    return instance is not None and instance.state is S.DEFERRED and _dispatch(wait).is_current(instance)


def _is_over(wait: Wait, instance: TaskInstance | None) -> bool:
    """It waits no longer, and will not begin to: a wait is stored while its instance runs, before the deferral."""
    if instance is None or not _dispatch(wait).is_current(instance):
        return True
    return instance.state not in (S.RUNNING, S.DEFERRED)


def _workload(services: Services, run: DagRun, instance: TaskInstance) -> TriggerWorkload | None:
    """None if its spec cannot be read: its run ends by that, and others that wait for the same resource go on."""
    try:
        relative_fileloc = spec_of_instance(services, run, instance).relative_fileloc
    except NO_SPEC:
        log.exception("A trigger cannot be woken", **run.names)
        return None
    return trigger_workload(
        services,
        run,
        instance,
        bundle=bundle_version(services, run),
        relative_fileloc=relative_fileloc,
        now=services.clock.now(),
        woken=LOOKS,
    )
