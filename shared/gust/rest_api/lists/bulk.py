"""The contract's bulk operations: several actions, each over several things, each answered for itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, Literal, TypeVar

from gust.errors import Rejected, Unfinished
from gust.http.answer import Json, Problem
from gust.rest_api.http.request import Body, Request
from gust.services.time_left import TimeLeft

T = TypeVar("T")
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


@dataclass(frozen=True, slots=True)
class Named(Generic[Entity]):
    """Things with one name each (pools, variables, connections), and what is done with one of them."""

    told: str
    """How messages speak of several."""
    name: Callable[[Entity], str]
    names: Callable[[], Collection[str]]
    """Of those that exist."""
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
            raise Problem(409, f"The {self.told}: {taken} already exist.")
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
            raise Problem(404, f"The {self.told}: {missing} were not found.")
        return missing


def in_time(entities: Collection[T], time_left: TimeLeft) -> Iterator[T]:
    """One after the other, while there is time. Raises Unfinished, which says how many are left: what the answer lists as
    done is done, and the rest is not begun."""
    for done, entity in enumerate(entities):
        if time_left.is_over:
            left = len(entities) - done
            raise Unfinished(
                f"Request ran out of time. The last {left} of {len(entities)} were not started: send them again"
            )
        yield entity


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
