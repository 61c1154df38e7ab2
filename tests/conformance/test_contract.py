"""Every operation of the contract, asked at random within it and beside it: no 500, each answer as its schema says."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gust.rest_api.http.routing import HANDLERS, UI_HANDLERS
from tests.conformance.server import Server, known
from tests.unit.rest_api import contract

EXAMPLES: Final = int(os.environ.get("GUST_EXAMPLES", "6"))
"""Of requests that the contract allows, and as many of others; more of them find more."""

NOTHING_TO_GET_WRONG: Final = {"get_health", "get_version"}


def corrected(file: str) -> dict[str, Any]:
    """The contract where it does not say what Airflow itself answers."""
    document = contract.raw(file)
    schemas = document["components"]["schemas"]
    if "NewTaskResponse" in schemas:
        # `oneOf` this and an instance with all its fields: an instance is both, unless this has no more than it lists.
        schemas["NewTaskResponse"]["additionalProperties"] = False
    if "DAGWithLatestDagRunsResponse" in schemas:
        # Answered without the fields that have no value, in Airflow, too.
        for schema in (schemas["DAGWithLatestDagRunsResponse"], schemas["DAGRunLightResponse"]):
            schema["required"] = [name for name in schema["required"] if not may_be_null(schema["properties"][name])]
    for name in KINDS.values():
        schemas.setdefault(name, contract.raw()["components"]["schemas"][name])
    for methods in document["paths"].values():
        for operation in methods.values():
            before_it = {status: ["sentence"] for status in ("401", "403") if "security" in operation}
            if "requestBody" in operation:
                before_it["400"] = ["sentence"]
            for status, kinds in (before_it | ANSWERS.get(operation["operationId"], {})).items():
                # FastAPI's own 422 is a list, Airflow's a sentence. Each operation lists one of them, and may give both.
                documented = KINDS_OF.get(reference(operation["responses"].get(status, {})), set())
                operation["responses"][status] = refusal(documented.union(kinds))
    return document


ANSWERS: Final[dict[str, dict[str, list[str]]]] = json.loads(
    Path(__file__).with_name("airflow_answers.json").read_text()
)["answers"]
"""By operation and status what real Airflow was seen to refuse with, or to answer beside the contract:
`tests.oracle.statuses` records it. What Airflow refuses before it looks at the operation, it refuses at each: a token that
is none (401, 403), and a body that is no text (400)."""

KINDS: Final = {"list": "HTTPValidationError", "sentence": "HTTPExceptionResponse", "object": "HTTPExceptionResponse"}
KINDS_OF: Final = {"HTTPValidationError": {"list"}, "HTTPExceptionResponse": {"sentence", "object"}}


def reference(response: Mapping[str, Any]) -> str:
    """The name of the schema that the contract has for the answer."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]


def refusal(kinds: Collection[str]) -> dict[str, Any]:
    either = [
        {"$ref": f"#/components/schemas/{name}"} for name in sorted({KINDS[kind] for kind in kinds if kind in KINDS})
    ]
    return {"description": "", **({"content": {"application/json": {"schema": {"anyOf": either}}}} if either else {})}


def may_be_null(schema: Mapping[str, Any]) -> bool:
    return {"type": "null"} in schema.get("anyOf", ())


def look_at_what_exists(context: Any, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Two of three requests are about what exists: others seldom get beyond 404."""

    def choose(drawn: tuple[Any, int]) -> Any:
        parameters, which = drawn
        return known(parameters) if which and isinstance(parameters, Mapping) else parameters

    return st.tuples(strategy, st.integers(0, 2)).map(choose)


SERVERS: Final = {file: Server(corrected(file)) for file in (contract.FILE, contract.UI_FILE)}
SCHEMAS: Final = {file: schemathesis.openapi.from_wsgi("/openapi.json", server) for file, server in SERVERS.items()}
for _schema in SCHEMAS.values():
    _schema.hook("before_generate_path_parameters")(look_at_what_exists)

FROM_THE_LAYER: Final = {"hook_meta_data"}
"""Answered with a file that only a built layer `web` has."""

OPERATIONS: Final = [
    *((contract.FILE, operation_id) for operation_id in sorted(HANDLERS)),
    *((contract.UI_FILE, operation_id) for operation_id in sorted(UI_HANDLERS.keys() - FROM_THE_LAYER)),
]


def content_type(context: CheckContext, response: Response, case: schemathesis.Case) -> bool | None:
    """A redirect has no content."""
    return content_type_conformance(context, response, case) if response.content else None


def nothing_is_missing(context: CheckContext, response: Response, case: schemathesis.Case) -> None:
    """Beyond the schema: an answer has all of a model's fields, and no others."""
    is_public = case.operation.schema is SCHEMAS[contract.FILE]  # for the UI, some leave out what has no value
    if is_public and response.status_code == 200 and response.headers["content-type"] == ["application/json"]:
        contract.check(case.operation.definition.raw["operationId"], 200, response.json())


CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    response_schema_conformance,
    content_type,
    nothing_is_missing,
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["within", "beside"])
@pytest.mark.parametrize(("file", "operation_id"), OPERATIONS, ids=[operation_id for _, operation_id in OPERATIONS])
def test_every_answer_keeps_the_contract(file: str, operation_id: str, mode: GenerationMode) -> None:
    if mode is GenerationMode.NEGATIVE and operation_id in NOTHING_TO_GET_WRONG:
        return
    operation = SCHEMAS[file].find_operation_by_id(operation_id)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        SERVERS[file].begin()
        case.call_and_validate(checks=CHECKS)

    ask()
