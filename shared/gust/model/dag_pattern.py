"""Entries of the access document that name DAGs: by their ids, or by their files."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from gust.errors import Invalid


class DagPattern(BaseModel):
    """`*` matches any characters, slashes included. An entry with both `dag` and `path` asks for both."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    dag: str | None = None
    """Of DAG ids."""
    path: str | None = None
    """Of DAG files, from the folder `dags/` on."""

    @model_validator(mode="after")
    def _names_dags(self) -> Self:
        if not self.dag and not self.path:
            raise ValueError('names neither dag nor path; {"dag": "*"} is every DAG')
        return self

    def fits(self, dag_id: str, path: str) -> bool:
        return matches(self.dag or "*", dag_id) and matches(self.path or "*", path)


Entry = TypeVar("Entry", bound=DagPattern)


def entries_of(document: str, part: str, kind: type[Entry]) -> tuple[Entry, ...]:
    """The entries of one part of an access document; none without one. Raises Invalid with the place and the fault."""
    if not document.strip():
        return ()
    try:
        found: Any = json.loads(document)
        if not isinstance(found, dict):
            raise Invalid("The access document is invalid: it is no JSON object")
        return TypeAdapter(tuple[kind, ...]).validate_python(found.get(part, ()))  # type: ignore[valid-type]  # a value
    except json.JSONDecodeError as error:
        raise Invalid(f"The access document is not JSON: {error}") from error
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join([part, *(str(each) for each in wrong["loc"])])
        reason = wrong["msg"].removeprefix("Value error, ")
        raise Invalid(f"The access document is invalid: {where}: {reason}") from error


def matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
