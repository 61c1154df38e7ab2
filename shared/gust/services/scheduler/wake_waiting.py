"""An event of AWS says that a resource has come to a steady state: have the triggers that wait for it poll at once."""

from __future__ import annotations

from typing import Final

from gust.model.awaited import Wait
from gust.model.dispatch import Dispatch, Scope
from gust.model.state import TaskInstanceState as S
from gust.model.workload import TriggerWorkload
from gust.services.context import Services
from gust.services.make_workload import bundle_version, trigger_workload
from gust.services.specs import spec_of_instance

LOOKS: Final = 4
"""How often a trigger polls after an event: a service's API may show the new state some seconds after its event."""


def wake_waiting(services: Services, resource: str) -> int:
    """Send the triggers that wait for the resource to the triggerer, beside their parked messages. Returns how many.

    Called twice, they poll twice, and the first that fires counts. A trigger whose instance has not deferred yet is not
    sent: its first poll comes after the event anyway."""
    workloads = [_workload(services, wait) for wait in services.store.waits_for(resource)]
    sent = [workload for workload in workloads if workload is not None]
    if sent:
        services.queues.send_triggers(sent)
    return len(sent)


def _workload(services: Services, wait: Wait) -> TriggerWorkload | None:
    dispatch = Dispatch(wait.key, wait.try_number, wait.dispatch_count, Scope.TRIGGER)
    instance, run = services.store.get_instance(wait.key), services.store.get_run(wait.key.run)
    if instance is None or run is None or instance.state is not S.DEFERRED or not dispatch.is_current(instance):
        return None
    return trigger_workload(
        services,
        run,
        instance,
        bundle=bundle_version(services, run),
        relative_fileloc=spec_of_instance(services, run, instance).relative_fileloc,
        now=services.clock.now(),
        woken=LOOKS,
    )
