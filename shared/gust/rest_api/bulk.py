"""The contract's bulk operations: several actions, each over several things, each answered for itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, Literal, TypeVar

from gust.errors import Rejected
from gust.rest_api.request import Body, Json, Problem, Request

BodyT = TypeVar("BodyT", bound=Body)

ACTIONS: Final = ("create", "update", "delete")


class BulkAction(Body):
    """What all actions have in common."""

    action_on_existence: Literal["fail", "skip", "overwrite"] = "fail"
    action_on_non_existence: Literal["fail", "skip"] = "fail"
    update_mask: list[str] | None = None

    @property
    def skips_missing(self) -> bool:
        return self.action_on_non_existence == "skip"


Entity = TypeVar("Entity")


class BulkUpsert(BulkAction, Generic[Entity]):
    action: Literal["create", "update"]
    entities: list[Entity]


class BulkDelete(BulkAction, Generic[Entity]):
    """Of things that are named by an id alone, or by more of what they hold."""

    action: Literal["delete"]
    entities: list[str | Entity]


def read(request: Request, model: type[BodyT]) -> BodyT:
    """A body whose entities Airflow looks at before it runs the operation: it reads it twice then, once to see who may do
    what is asked, and tells of each mistake twice."""
    try:
        return request.body(model)
    except Problem as problem:
        detail = problem.detail * 2 if isinstance(problem.detail, list) else problem.detail
        raise Problem(problem.status, detail) from problem


class BulkResult:
    """What the actions of one kind did."""

    def __init__(self) -> None:
        self.success: list[str] = []
        self.errors: list[Json] = []

    def refuse(self, message: str, status: int) -> None:
        self.errors.append({"error": message, "status_code": status})

    def guard(self, work: Callable[[], None]) -> None:
        """A refusal ends the action it belongs to, not the request."""
        try:
            work()
        except Problem as problem:
            self.refuse(str(problem.detail), problem.status)
        except Rejected as problem:
            self.refuse(str(problem), problem.status)

    @property
    def answer(self) -> Json:
        return {"success": self.success, "errors": self.errors}


def answer(results: Mapping[str, BulkResult]) -> Json:
    """Kinds of action that the request does not have are null."""
    return {action: results[action].answer if action in results else None for action in ACTIONS}
