"""Write a person's note to task instances of a run."""

from __future__ import annotations

from dataclasses import dataclass

from gust.model.run_state import RunState
from gust.scheduling import transition
from gust.services.context import Services
from gust.services.people.edit_run import Edit
from gust.services.specs import load_spec
from gust.services.worker.find_task_instances import all_instances


@dataclass(frozen=True, slots=True)
class Annotate:
    """The request, for one run."""

    instances: frozenset[tuple[str, int]]
    note: str | None
    """An empty one removes it."""

    def plan(self, services: Services, state: RunState) -> Edit:
        note = self.note or None
        spec = load_spec(services.objects, state.run.spec_key)
        found = [
            instance
            for instance in all_instances(spec, state, services.clock.now())
            if (instance.task_id, instance.map_index) in self.instances and instance.note != note
        ]
        return Edit(moves=[[transition.annotate(instance, note=note) for instance in found]])
