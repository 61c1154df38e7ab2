"""The contract's bulk operations: a list of actions, each on several entities, each with its own result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, Literal, TypeVar

from gust.errors import Rejected, Unfinished
from gust.http.answer import Json, Problem
from gust.rest_api.http.request import Body, Request
from gust.services.time_left import TimeLeft

T = TypeVar("T")
BodyT = TypeVar("BodyT", bound=Body)

ACTIONS: Final = ("create", "update", "delete")


class BulkAction(Body):
    """Fields of every action."""

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
    """Entities are named by an id, or by an object."""

    action: Literal["delete"]
    entities: list[str | Entity]


class BulkCreateNamed(Body, Generic[Entity]):
    action: Literal["create"]
    entities: list[Entity]
    action_on_existence: Literal["fail", "skip", "overwrite"] = "fail"


class BulkUpdateNamed(Body, Generic[Entity]):
    action: Literal["update"]
    entities: list[Entity]
    update_mask: list[str] | None = None
    action_on_non_existence: Literal["fail", "skip"] = "fail"


class BulkDeleteNamed(Body):
    action: Literal["delete"]
    entities: list[str]
    action_on_non_existence: Literal["fail", "skip"] = "fail"


ActionT = TypeVar("ActionT", bound=BulkUpsert[Any] | BulkDelete[Any])


@dataclass(frozen=True, slots=True)
class Named(Generic[Entity]):
    """Entities with a name each (pools, variables, connections), and the operations on one of them."""

    plural: str
    """The entities' name in messages, e.g. `pools with these pool names`."""
    name: Callable[[Entity], str]
    names: Callable[[], Collection[str]]
    """Names of the existing entities."""
    create: Callable[[Entity], object]
    overwrite: Callable[[Entity], object]
    update: Callable[[Entity, list[str] | None], object]
    delete: Callable[[str], object]

    time_left: TimeLeft

    def answer(self, actions: Iterable[BulkCreateNamed[Entity] | BulkUpdateNamed[Entity] | BulkDeleteNamed]) -> Json:
        results: dict[str, BulkResult] = {}
        for action in actions:
            result = results.setdefault(action.action, BulkResult())
            match action:
                case BulkCreateNamed():
                    result.guard(partial(self._create, action, result.success))
                case BulkUpdateNamed():
                    result.guard(partial(self._update, action, result.success))
                case BulkDeleteNamed():
                    result.guard(partial(self._delete, action, result.success))
        return answer(results)

    def _create(self, action: BulkCreateNamed[Entity], done: list[str]) -> None:
        taken = {self.name(entity) for entity in action.entities} & set(self.names())
        if taken and action.action_on_existence == "fail":
            raise Problem(409, f"The {self.plural}: {taken} already exist.")
        for entity in in_time(action.entities, self.time_left):
            if self.name(entity) not in taken:
                self.create(entity)
            elif action.action_on_existence == "overwrite":
                self.overwrite(entity)
            else:
                continue
            done.append(self.name(entity))

    def _update(self, action: BulkUpdateNamed[Entity], done: list[str]) -> None:
        missing = self._missing((self.name(entity) for entity in action.entities), action.action_on_non_existence)
        for entity in in_time(action.entities, self.time_left):
            if self.name(entity) not in missing:
                self.update(entity, action.update_mask)
                done.append(self.name(entity))

    def _delete(self, action: BulkDeleteNamed, done: list[str]) -> None:
        missing = self._missing(action.entities, action.action_on_non_existence)
        for name in in_time(list(dict.fromkeys(action.entities)), self.time_left):
            if name not in missing:
                self.delete(name)
                done.append(name)

    def _missing(self, wanted: Iterable[str], otherwise: str) -> set[str]:
        missing = set(wanted) - set(self.names())
        if missing and otherwise == "fail":
            raise Problem(404, f"The {self.plural}: {missing} were not found.")
        return missing


def answer_without_create(
    actions: Iterable[ActionT], *, refusal: str, plan: Callable[[ActionT, BulkResult], Callable[[], None]]
) -> Json:
    """The answer to actions of which `create` is refused with 405. `plan` checks an action, and returns its work."""
    results: dict[str, BulkResult] = {}
    for action in actions:
        result = results.setdefault(action.action, BulkResult())
        if action.action == "create":
            result.refuse(refusal, 405)
        else:
            result.guard(plan(action, result))
    return answer(results)


def in_time(entities: Collection[T], time_left: TimeLeft) -> Iterator[T]:
    """The entities, one by one, while the request has time. Raises Unfinished with the number of the rest: entities in
    the answer are done, the rest is not started."""
    for done, entity in enumerate(entities):
        if time_left.is_over:
            left = len(entities) - done
            raise Unfinished(
                f"Request ran out of time. The last {left} of {len(entities)} were not started: send them again"
            )
        yield entity


def read(request: Request, model: type[BodyT]) -> BodyT:
    """The body of a bulk request. As Airflow validates it twice, once to authorize the user, each error is listed
    twice."""
    try:
        return request.body(model)
    except Problem as problem:
        detail = problem.detail * 2 if isinstance(problem.detail, list) else problem.detail
        raise Problem(problem.status, detail) from problem


class BulkResult:
    """The result of the actions of one kind."""

    def __init__(self) -> None:
        self.success: list[str] = []
        self.errors: list[Json] = []

    def refuse(self, message: str, status: int) -> None:
        self.errors.append({"error": message, "status_code": status})

    def guard(self, work: Callable[[], None]) -> None:
        """Runs one action. A refusal ends the action, not the request."""
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
    """The results by kind of action; null for kinds that the request does not have."""
    return {action: results[action].answer if action in results else None for action in ACTIONS}
