"""`/api/v2/importErrors`: errors of DAG files that could not be parsed."""

from __future__ import annotations

from typing import Final

from gust.http.answer import Json, not_found
from gust.model.bundle import ImportProblem
from gust.model.field_values import values_of
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.rest_api.lists.filters import Filters, ListQuery, equal, query_of, search
from gust.rest_api.lists.listing import Ordering, filtered_page, named
from gust.services.context import Services

import_error_response: Final = values_of(
    ImportProblem, "import_error_id", "timestamp", "filename", "bundle_name", "stack_trace"
)


FILTERS: Final = Filters[ImportProblem](
    search("filename", lambda p: p.filename),
    equal("filename", str, lambda p: p.filename, blank_is_any=True),
    equal("bundle_name", str, lambda p: p.bundle_name, blank_is_any=True),
)
ImportErrorsQuery: Final = query_of(ListQuery, FILTERS)
ORDERING: Final = Ordering[ImportProblem](
    attributes={
        "id": lambda p: p.import_error_id,
        "import_error_id": lambda p: p.import_error_id,
        **named("timestamp", "filename", "bundle_name"),
        "stacktrace": lambda p: p.stack_trace,
    },
    key=lambda p: (p.import_error_id, p.filename),
)


@operation("get_import_error")
def get_import_error(services: Services, request: Request) -> Json:
    wanted = request.path_value("import_error_id", int)
    for problem in services.store.list_import_problems():
        if problem.import_error_id == wanted:
            return import_error_response(problem)
    raise not_found(f"The ImportError with import_error_id: `{wanted}` was not found")


@operation("get_import_errors")
def get_import_errors(services: Services, request: Request) -> Json:
    query = request.query(ImportErrorsQuery)
    found = filtered_page(services.store.list_import_problems(), query, ORDERING, FILTERS)
    return found.answer("import_errors", import_error_response)
