"""Who is cleared along with a task: compared with Airflow's own answer on random DAGs."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

from airflow.models.taskinstance import find_relevant_relatives
from airflow.serialization.definitions import mappedoperator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gust.model.keys import UNMAPPED
from gust.scheduling import task_selection
from gust.scheduling.run_view import RunView
from gust.scheduling.task_selection import Marker
from tests.unit.scheduling.given import NOW, run_of, ti
from tests.unit.scheduling.test_upstream_against_airflow import Scene, scenes

CASES = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@CASES
@given(scene=scenes(), data=st.data(), upstream=st.booleans(), downstream=st.booleans(), exclude=st.booleans())
def test_subsets(scene: Scene, data: st.DataObject, upstream: bool, downstream: bool, exclude: bool) -> None:
    chosen = data.draw(st.sets(st.sampled_from(sorted(scene.spec.tasks)), min_size=1, max_size=2))
    theirs = scene.dag.partial_subset(
        task_ids=chosen, include_upstream=upstream, include_downstream=downstream, exclude_original=exclude
    )
    ours = task_selection.select(scene.spec, chosen, upstream=upstream, downstream=downstream, exclude_original=exclude)
    assert ours == set(theirs.task_dict)


@CASES
@given(scene=scenes(), data=st.data(), upstream=st.booleans())
def test_relatives_of_instances(scene: Scene, data: st.DataObject, upstream: bool) -> None:
    view = RunView(
        scene.spec,
        run_of(scene.spec),
        {
            key: ti(key[0], state, map_index=key[1], xcom_lengths=pushed(scene, *key))
            for key, state in scene.states.items()
        },
        NOW,
    )
    markers = data.draw(st.sets(st.sampled_from(possible(view)), min_size=1, max_size=2))
    lengths = {t: view.map_length(task) for t, task in scene.spec.tasks.items() if task.is_mapped}
    if any(length is None for length in lengths.values()):
        return  # Airflow raises here: it does not know the length yet.
    ours = task_selection.relatives_in_run(view, markers, upstream=upstream)
    theirs = airflows(scene, view, markers, upstream=upstream)
    # One instance of a task that is there as a whole says nothing more.
    assert without_parts(ours) == without_parts(theirs)


def possible(view: RunView) -> list[Marker]:
    whole: list[Marker] = list(view.spec.tasks)
    return whole + [(t, i) for t in view.spec.tasks for i in view.instances_of(t) if i != UNMAPPED]


def airflows(scene: Scene, view: RunView, markers: set[Marker], *, upstream: bool) -> set[Marker]:
    def counted(task: Any, run_id: str, *, session: Any) -> int:
        spec = view.spec
        if task.node_id in spec.task_groups:
            return view.group_length(task.node_id) or 0
        if not spec.tasks[task.task_id].is_mapped:
            raise mappedoperator.NotMapped
        return view.map_length(spec.tasks[task.task_id]) or 0

    original = mappedoperator.get_mapped_ti_count
    mappedoperator.get_mapped_ti_count = counted
    try:
        return set(
            find_relevant_relatives(
                {m for m in markers if isinstance(m, str)},
                {m for m in markers if isinstance(m, tuple)},
                direction="upstream" if upstream else "downstream",
                dag=scene.dag,
                run_id="r",
                session=Mock(),
            )
        )
    finally:
        mappedoperator.get_mapped_ti_count = original


def without_parts(markers: set[Marker]) -> set[Marker]:
    return {m for m in markers if isinstance(m, str) or m[0] not in markers}


def pushed(scene: Scene, task_id: str, map_index: int) -> dict[str, int]:
    length = scene.lengths.get(task_id) if map_index == UNMAPPED else None
    return {} if length is None else {"return_value": length}
