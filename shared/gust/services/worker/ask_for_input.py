"""Stores a try's question to people, and parks the try until it is answered."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gust.errors import StaleHITLDetail
from gust.model.dispatch import Dispatch
from gust.model.hitl import HITLDetail, parked
from gust.model.moment import later
from gust.model.state import TaskInstanceState as S
from gust.scheduling import transition
from gust.services.context import Services
from gust.services.worker.report_task_instance import ending, move, running


def ask_for_input(
    services: Services,
    dispatch: Dispatch,
    *,
    options: list[str],
    subject: str,
    body: str | None,
    defaults: list[str] | None,
    multiple: bool,
    params: dict[str, Any],
    assigned_users: list[dict[str, str]],
) -> HITLDetail:
    """Store the question; returns it. A question that the instance has asked before, in any try, is repeated unchanged and
    loses its answer, as in Airflow. Raises NotFound and Conflict."""
    running(services, dispatch)
    store, try_number = services.store, dispatch.try_number
    before = store.get_hitl_detail(dispatch.key)
    if before is None:
        detail = HITLDetail(
            key=dispatch.key,
            try_number=try_number,
            options=options,
            subject=subject,
            body=body,
            defaults=defaults,
            multiple=multiple,
            params=params,
            assigned_users=assigned_users,
            created_at=services.clock.now(),
        )
        store.put_hitl_detail(detail)
        return detail
    again = replace(before, try_number=max(before.try_number, try_number), answer=None)
    if before.try_number < try_number or before.answer is not None:
        store.put_hitl_detail(again, before=before)
    return again


def report_awaiting_input(
    services: Services,
    dispatch: Dispatch,
    *,
    next_method: str,
    next_kwargs: dict[str, Any],
    timeout: timedelta | None,
    rendered_map_index: str | None = None,
) -> None:
    """running → awaiting_input, or → scheduled if the question was answered since the try asked. The answer's write and this
    move check each other, so no answer is overlooked."""
    if (before := ending(services, dispatch, or_already=S.AWAITING_INPUT)) is None:
        return
    detail, now = services.store.get_hitl_detail(dispatch.key), services.clock.now()
    if detail is None or detail.answer is None:
        waiting = transition.await_input(
            before,
            next_method=next_method,
            next_kwargs=next_kwargs,
            due_at=None if timeout is None else later(now, timeout),
            question=parked(detail) if detail else None,
            rendered_map_index=rendered_map_index,
        )
        try:
            move(services, waiting)
            return
        except StaleHITLDetail:
            detail = services.store.get_hitl_detail(dispatch.key)
            if detail is None or detail.answer is None:
                raise
    resumed = transition.resume_answered(
        before,
        at=now,
        answer=detail.answer,
        next_method=next_method,
        next_kwargs=next_kwargs,
        rendered_map_index=rendered_map_index,
    )
    move(services, resumed)
