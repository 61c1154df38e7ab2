"""Events of AWS wake the triggers that wait for what they tell of.

The wait is stored before the deferral is written. So an event that comes afterwards finds it, and of one that came before
the trigger's first poll, which follows the deferral, sees the result.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from gust.model.awaited import Wait, awaited
from gust.model.dispatch import Dispatch
from gust.model.task_instance import ParkedTrigger
from gust.services.context import Services

KEPT: Final = timedelta(days=30)
"""How long a wait is stored. A trigger that waits for longer only polls."""


def await_events(services: Services, dispatch: Dispatch, trigger: ParkedTrigger) -> ParkedTrigger:
    """Store what the trigger waits for, if events tell of it and the stack receives them. Returns the trigger, which polls
    seldom where the events tell everything that it looks for. `trigger`: not sealed."""
    if not services.wakes_in:
        return trigger
    found = awaited(trigger.classpath, trigger.kwargs, region=services.wakes_in)
    if found is None:
        return trigger
    for resource in found.resources:
        services.store.put_wait(Wait.of(resource, dispatch, services.clock.now() + KEPT))
    return replace(trigger, looks_seldom=found.has_all_told)
