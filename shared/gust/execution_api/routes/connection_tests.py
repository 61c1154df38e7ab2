"""Requests of a worker that tests a connection, with a token for that test alone."""

from gust.execution_api.datamodels.connection import connection_response
from gust.execution_api.datamodels.connection_test import ConnectionTestResultBody
from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import Scope
from gust.services.settings.run_connection_test import end_connection_test, take_connection_test

routes = Routes("/connection-tests")

CALLER = frozenset({Scope.CONNECTION_TEST})


@routes.get("/{connection_test_id}/connection", access=Access.OWN, scopes=CALLER)
def get_connection_test_connection(call: Call[None, None]) -> Answer:
    """Claims the test and returns the connection. 409 if another worker has claimed it or the test has expired: drop
    the message."""
    return Answer(body=connection_response(take_connection_test(call.services, str(call.caller.id))))


@routes.patch(
    "/{connection_test_id}", access=Access.OWN, scopes=CALLER, body=ConnectionTestResultBody, fence=Fence.ITSELF
)
def patch_connection_test(call: Call[ConnectionTestResultBody, None]) -> Answer:
    end_connection_test(call.services, str(call.caller.id), call.body.state, call.body.result_message)
    return NO_CONTENT
