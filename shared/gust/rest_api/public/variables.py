"""`/api/v2/variables`: variables by key. Values under sensitive names are masked."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from typing import Annotated, Final

from pydantic import Field, JsonValue, field_validator

from gust.errors import AlreadyExists
from gust.http.answer import Answer, Json, Problem, bad_request
from gust.model.variable import VARIABLES, Variable
from gust.rest_api.http.masking import MASK, redact, unmasked
from gust.rest_api.http.request import Body, Request, UpdateMask, WithoutTeam
from gust.rest_api.http.routing import operation
from gust.rest_api.lists import bulk
from gust.rest_api.lists.bulk import BulkCreateNamed, BulkDeleteNamed, BulkUpdateNamed, Named
from gust.rest_api.lists.filters import Filters, ListQuery, query_of, search
from gust.rest_api.lists.listing import Ordering, filtered_page
from gust.rest_api.lists.setting_row import SettingRow
from gust.services.context import Services
from gust.services.settings import variables
from gust.services.time_left import TimeLeft

LONGEST_KEY: Final = 250
IMMUTABLE: Final = {"key"}


def variable_response(variable: Variable) -> Json:
    return {
        "key": variable.key,
        "value": _shown(variable.value, variable.key),
        "description": variable.description,
        "is_encrypted": variable.is_encrypted,
        "team_name": None,
    }


def _shown(value: str | None, key: str) -> str | None:
    """The value with masks for secrets; in a JSON value also under sensitive names."""
    if value is None:
        return None
    try:
        return json.dumps(redact(json.loads(value), key))
    except ValueError:
        return str(redact(value, key))
    except RecursionError:  # nested too deeply to be searched
        return MASK


# --- reading ----------------------------------------------------------------------------------------------------------


FILTERS: Final = Filters[SettingRow](search("variable_key", lambda row: row.name))
VariablesQuery: Final = query_of(ListQuery, FILTERS)
ORDERING: Final = Ordering[SettingRow](
    attributes={
        "id": lambda row: row.place,
        "key": lambda row: row.name,
        "_val": lambda row: row.stored["value"],
        "description": lambda row: row.stored.get("description"),
        "is_encrypted": lambda row: row.stored.get("is_encrypted", False),
        "team_name": lambda _: None,
    },
    key=lambda row: (row.place,),
)


@operation("get_variables")
def get_variables(services: Services, request: Request) -> Json:
    query = request.query(VariablesQuery)
    found = filtered_page(SettingRow.of(variables.list_variables(services)), query, ORDERING, FILTERS)
    return found.answer(
        "variables", lambda row: variable_response(variables.show_variable(services, row.name, row.stored))
    )


@operation("get_variable")
def get_variable(services: Services, request: Request) -> Json:
    key = request.path["variable_key"]
    stored = services.store.get_setting(VARIABLES, key)
    if stored is None:
        raise variables.missing(key)
    return variable_response(variables.show_variable(services, key, stored))


# --- changing ---------------------------------------------------------------------------------------------------------


class VariableBody(WithoutTeam):
    key: str = Field(max_length=LONGEST_KEY)
    value: JsonValue
    description: str | None = None

    @field_validator("value")
    @classmethod
    def _as_text(cls, value: JsonValue) -> str:
        return value if isinstance(value, str) else json.dumps(value, indent=2)

    @property
    def text(self) -> str:
        return str(self.value)


@operation("post_variable")
def post_variable(services: Services, request: Request) -> Answer:
    body = request.body(VariableBody)
    made = _variable(body)
    try:
        variables.create_variable(services, made)
    except AlreadyExists as taken:
        raise Problem(409, str(taken)) from taken
    return Answer(201, variable_response(made))


@operation("patch_variable")
def patch_variable(services: Services, request: Request) -> Json:
    body, mask = request.body(VariableBody), request.query(UpdateMask).update_mask
    key = request.path["variable_key"]
    if body.key != key:
        raise bad_request("Invalid body, key from request body doesn't match uri parameter")
    return variable_response(variables.change_variable(services, key, _change(body, mask)))


@operation("delete_variable")
def delete_variable(services: Services, request: Request) -> Answer:
    variables.delete_variable(services, request.path["variable_key"])
    return Answer(204)


def _variable(body: VariableBody) -> Variable:
    return Variable(key=body.key, value=body.text, description=body.description)


def _change(body: VariableBody, mask: Collection[str] | None) -> Callable[[Variable], Variable]:
    """Applies the body's fields, or those in the mask. Problem 400 for a mask with the key, raised once the variable is
    found."""
    fields = body.model_fields_set & set(mask) if mask else body.model_fields_set

    def change(variable: Variable) -> Variable:
        if forbidden := IMMUTABLE.intersection(mask or ()):
            raise bad_request(
                f"Update not allowed: the following fields are immutable and cannot be modified: {forbidden}"
            )
        if "description" in fields:
            variable = replace(variable, description=body.description)
        if "value" in fields:
            variable = replace(variable, value=_kept(body.text, variable.value, variable.key), is_encrypted=True)
        return variable

    return change


def _kept(new: str, old: str | None, key: str) -> str:
    """The new value with the old secrets in place of their masks; Airflow stores the masks."""
    if old is None or MASK not in new:
        return new
    if new == MASK:
        return str(unmasked(new, old, key))
    try:
        given = json.loads(new)
        whole = unmasked(given, json.loads(old), key)
    except (ValueError, RecursionError):
        return new
    return new if whole == given else json.dumps(whole, indent=2)


# --- in bulk ----------------------------------------------------------------------------------------------------------


class BulkVariables(Body):
    actions: list[
        Annotated[
            BulkCreateNamed[VariableBody] | BulkUpdateNamed[VariableBody] | BulkDeleteNamed,
            Field(discriminator="action"),
        ]
    ]


@operation("bulk_variables")
def bulk_variables(services: Services, request: Request) -> Json:
    def put(body: VariableBody) -> None:
        variables.set_variable(services, _variable(body))

    named: Named[VariableBody] = Named(
        "variables with these keys",
        name=lambda body: body.key,
        names=lambda: variables.list_variables(services).keys(),
        create=put,
        overwrite=put,
        update=lambda body, mask: variables.change_variable(services, body.key, _change(body, mask)),
        delete=partial(variables.delete_variable, services),
        time_left=TimeLeft.of(services.clock, since=request.now),
    )
    return named.answer(bulk.read(request, BulkVariables).actions)
