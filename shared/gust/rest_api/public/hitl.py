"""`…/hitlDetails`: questions of tasks to people, and the answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import Field

from gust.http.answer import Json, Problem, bad_request, not_found
from gust.model.field_values import values_of
from gust.model.history_query import HITLQuery
from gust.model.hitl import HITLAnswer, HITLDetail
from gust.model.keys import DagRunKey
from gust.model.state import TaskInstanceState
from gust.model.user import User
from gust.rest_api.access.auth import ANONYMOUS
from gust.rest_api.http.request import ALL_PAGES, Body, Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import (
    MAXIMUM_LIMIT,
    Elsewhere,
    Filters,
    ListQuery,
    between,
    contains,
    equal,
    narrows,
    one_of,
    query_of,
    search,
    where,
)
from gust.rest_api.lists.history import COUNTED, in_parts, page_of_walk, views_of, window_of
from gust.rest_api.lists.listing import Order, Ordering, Page, page
from gust.rest_api.lists.shown_run import InstanceView, load_view
from gust.rest_api.public.task_instances import (
    find_try,
    states_of_instances,
    task_instance_history_response,
    task_instance_responses,
)
from gust.scheduling.run_view import is_gone
from gust.services.context import Services
from gust.services.people.answer_question import AnsweredAlready, answer_question

SORTED_QUESTIONS: Final = 200
"""At most so many questions are all read for a page; the newest are sorted if the order is not by time."""


@dataclass(frozen=True, slots=True)
class HITLRow:
    detail: HITLDetail
    view: InstanceView


# --- answers ----------------------------------------------------------------------------------------------------------


_plain_values: Final = values_of(
    HITLDetail, "options", "subject", "body", "defaults", "multiple", "assigned_users", "created_at"
)


def hitl_detail_response(detail: HITLDetail, task_instance: Json) -> Json:
    answer = detail.answer
    return {
        **_plain_values(detail),
        "params": {name: _param(value) for name, value in detail.params.items()},
        "responded_by_user": answer.responded_by if answer else None,
        "responded_at": answer.responded_at if answer else None,
        "chosen_options": answer.chosen_options if answer else None,
        "params_input": answer.params_input if answer else {},
        "response_received": answer is not None,
        "task_instance": task_instance,
    }


def _param(value: Any) -> Json:
    if isinstance(value, dict) and {"description", "schema", "value"} <= set(value):
        return value
    return {"value": value, "description": None, "schema": {}}


# --- one question -----------------------------------------------------------------------------------------------------


class AnswerBody(Body):
    model_config = {"extra": "ignore", "frozen": True, "defer_build": True}

    chosen_options: list[str] = Field(min_length=1)
    params_input: dict[str, Any] = Field(default_factory=dict)


@operation("update_hitl_detail")
def update_hitl_detail(services: Services, request: Request) -> Json:
    """Stores the answer and resumes the task. The first answer counts."""
    body = request.body(AnswerBody)
    row = _existing(services, request)
    instance_id = row.view.instance.key.uuid(row.view.instance.try_number)
    answered = Problem(
        409,
        f"Human-in-the-loop detail has already been updated for Task Instance with id {instance_id} "
        "and is not allowed to write again.",
    )
    if row.detail.answer is not None:
        raise answered
    _check_may_answer(request.user, row.detail)
    _check_answer(row.detail, body)
    answer = HITLAnswer(
        chosen_options=body.chosen_options,
        params_input=body.params_input,
        responded_at=request.now,
        responded_by={"id": request.user.name, "name": request.user.name},
    )
    try:
        answer_question(services, row.detail, answer)
    except AnsweredAlready as already:
        raise answered from already
    return {
        "responded_by": answer.responded_by,
        "responded_at": answer.responded_at,
        "chosen_options": answer.chosen_options,
        "params_input": answer.params_input,
    }


@operation("get_hitl_detail")
def get_hitl_detail(services: Services, request: Request) -> Json:
    row = _existing(services, request)
    return hitl_detail_response(row.detail, task_instance_responses(services, [row.view])[0])


@operation("get_hitl_detail_try_detail")
def get_hitl_detail_try_detail(services: Services, request: Request) -> Json:
    row = _existing(services, request, request.path_value("try_number", int))
    version = services.store.get_version(row.view.run.dag_id, row.view.version_number)
    return hitl_detail_response(row.detail, task_instance_history_response(row.view, version))


def _existing(services: Services, request: Request, try_number: int | None = None) -> HITLRow:
    names, map_index = request.path, request.path_value("map_index", int)
    view = load_view(services, DagRunKey(names["dag_id"], names["dag_run_id"]))
    found = view.instance(names["task_id"], map_index) if view else None
    if found is not None and try_number is not None:
        found = find_try(services, found, try_number)
    if found is None:
        raise not_found(
            f"The Task Instance with dag_id: `{names['dag_id']}`, run_id: `{names['dag_run_id']}`, "
            f"task_id: `{names['task_id']}` and map_index: `{map_index}` was not found"
        )
    instance = found.instance
    detail = services.store.get_hitl_detail(instance.key, until_try=instance.try_number)
    if detail is None:
        instance_id = instance.key.uuid(instance.try_number)
        raise not_found(f"Human-in-the-loop detail does not exist for Task Instance with id {instance_id}")
    return HITLRow(detail, found)


def _check_may_answer(user: User, detail: HITLDetail) -> None:
    """The anonymous administrator may answer for every user, as with Airflow's `simple_auth_manager_all_admins`."""
    if not detail.assigned_users or user == ANONYMOUS:
        return
    if user.name not in {assigned["id"] for assigned in detail.assigned_users}:
        raise Problem(403, f"User={user.name} (id={user.name}) is not a respondent for the task.")


def _check_answer(detail: HITLDetail, body: AnswerBody) -> None:
    if unknown := set(body.chosen_options) - set(detail.options):
        raise bad_request(f"Invalid options {sorted(unknown)}; allowed options are {sorted(set(detail.options))}.")
    if not detail.multiple and len(body.chosen_options) > 1:
        raise bad_request("Multiple options chosen but this Human-in-the-loop task accepts only a single option.")


# --- lists ------------------------------------------------------------------------------------------------------------


class _HITLDetailsQuery(ListQuery):
    order_by: list[str] = ["ti_id"]
    response_received: Annotated[bool | None, Elsewhere("the store lists answered or open questions")] = None


def _responder(detail: HITLDetail, what: str) -> str | None:
    answer = detail.answer
    return answer.responded_by[what] if answer and answer.responded_by else None


def _asked_at(row: HITLRow) -> datetime:
    """Also in place of the instance's id, which grows with time in Airflow."""
    return row.detail.created_at


FILTERS: Final = Filters[HITLDetail](
    search("dag_id", lambda d: d.key.dag_id),
    equal("task_id", str, lambda d: d.key.task_id),
    search("task_id", lambda d: d.key.task_id),
    equal("map_index", int, lambda d: d.key.map_index),
    one_of("responded_by_user_id", str, lambda d: _responder(d, "id")),
    one_of("responded_by_user_name", str, lambda d: _responder(d, "name")),
    where("subject_search", str, lambda d, text: contains(d.subject, text)),
    where("body_search", str, lambda d, text: contains(d.body, text)),
    between("created_at", datetime, lambda d: d.created_at),
)
ROW_FILTERS: Final = Filters[HITLRow](states_of_instances(lambda r: r.view.instance.state))
"""Filters of the task instance, which is read for the questions that pass `FILTERS`."""
HITLDetailsQuery: Final = query_of(_HITLDetailsQuery, FILTERS, ROW_FILTERS)
ORDERING: Final = Ordering[HITLRow](
    attributes={
        "ti_id": _asked_at,
        "subject": lambda r: r.detail.subject,
        "responded_at": lambda r: r.detail.answer.responded_at if r.detail.answer else None,
        "created_at": _asked_at,
        "responded_by_user_id": lambda r: _responder(r.detail, "id"),
        "responded_by_user_name": lambda r: _responder(r.detail, "name"),
        "dag_id": lambda r: r.view.run.dag_id,
        "run_id": lambda r: r.view.run.run_id,
        "task_display_name": lambda r: r.view.display_name,
        "run_after": lambda r: r.view.run.run_after,
        "rendered_map_index": lambda r: r.view.instance.rendered_map_index,
        "task_instance_operator": lambda r: r.view.operator,
        "task_instance_state": lambda r: r.view.instance.state.value if r.view.instance.state else None,
    },
    key=lambda r: (
        r.detail.created_at,
        r.view.run.dag_id,
        r.view.run.run_id,
        r.view.place,
        r.view.instance.task_id,
        r.view.instance.map_index,
    ),
)


@operation("get_hitl_details")
def get_hitl_details(services: Services, request: Request) -> Json:
    """The last question of each instance. The list is empty for a DAG or run that does not exist."""
    query = request.query(HITLDetailsQuery)
    dag_id, run_id = (_unless_all(request.path[name]) for name in ("dag_id", "dag_run_id"))
    order = ORDERING.resolve(query.order_by)
    if run_id is not None:
        details = services.store.list_hitl_details(dag_id=dag_id, run_id=run_id, answered=query.response_received)
        rows = _rows(services, filter(FILTERS.matches(query), details))
        found = page(filter(ROW_FILTERS.matches(query), rows), order, limit=query.limit, offset=query.offset)
    else:
        found = _page_of_many(services, dag_id, query, order)
    return {"hitl_details": hitl_row_responses(services, found.rows), "total_entries": found.total_entries}


def _page_of_many(
    services: Services, dag_id: str | None, query: _HITLDetailsQuery, order: Order[HITLRow]
) -> Page[HITLRow]:
    """A page of the questions of one DAG or of all. Few are all read. Many are read in order of time until the page is
    full; another order is made among the newest."""
    matches, row_matches = FILTERS.matches(query), ROW_FILTERS.matches(query)
    newest_first = window_of(query, "created_at")
    asked = HITLQuery(dag_id, newest_first, answered=query.response_received)
    total = services.store.count_hitl_details(asked, limit=query.offset + COUNTED)
    if not order.is_by(_asked_at) or total <= SORTED_QUESTIONS:
        newest = islice(services.store.walk_hitl_details(asked), SORTED_QUESTIONS)
        rows = _rows(services, filter(matches, newest))
        return page(filter(row_matches, rows), order, limit=query.limit, offset=query.offset)

    known = None if narrows(query, except_={"response_received"}) else total
    in_order = replace(asked, window=newest_first.read(ascending=not order.key_descends))
    passing = filter(matches, services.store.walk_hitl_details(in_order))
    rows_of = in_parts(partial(_rows, services), passing, first=query.offset + min(query.limit, MAXIMUM_LIMIT) + 1)
    return page_of_walk(rows_of, row_matches, order, limit=query.limit, offset=query.offset, total=lambda: known)


def pending_questions(services: Services) -> list[HITLRow]:
    """Open questions of all DAGs whose task waits for the answer."""
    waiting = (TaskInstanceState.DEFERRED, TaskInstanceState.AWAITING_INPUT)
    unanswered = services.store.list_hitl_details(dag_id=None, run_id=None, answered=False)
    return [row for row in _rows(services, unanswered) if row.view.instance.state in waiting]


def hitl_row_responses(services: Services, rows: Sequence[HITLRow]) -> list[Json]:
    shown = task_instance_responses(services, [row.view for row in rows])
    return [hitl_detail_response(row.detail, ti) for row, ti in zip(rows, shown, strict=True)]


def _rows(services: Services, details: Iterable[HITLDetail]) -> list[HITLRow]:
    """Rows with their instances. An instance that asks has started, so it has an item."""
    questions = list(details)
    views = {view.instance.key: view for view in views_of(services, [detail.key for detail in questions])}
    return [
        HITLRow(detail, view) for detail in questions if (view := views.get(detail.key)) and not is_gone(view.instance)
    ]


def _unless_all(name: str) -> str | None:
    return None if name == ALL_PAGES else name
