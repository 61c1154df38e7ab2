"""Credentials of a task's AWS role; Gust's own."""

from typing import Any

from gust.execution_api.datamodels.credentials import credentials_response
from gust.execution_api.routing import Call, Fence, Routes
from gust.http.answer import Answer
from gust.model.dispatch import OF_DAGS, Scope
from gust.model.execution_paths import CREDENTIALS
from gust.services.worker.vend_credentials import vend_credentials

routes = Routes()


@routes.get(CREDENTIALS, scopes=OF_DAGS | {Scope.CONNECTION_TEST}, fence=Fence.ITSELF)
def get_credentials(call: Call[Any, None]) -> Answer:
    """New credentials of the caller's role for an hour. 403, with AWS's reason, where AWS refuses the role."""
    return Answer(200, credentials_response(vend_credentials(call.services, call.caller)))
