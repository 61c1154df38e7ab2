"""Requests of a worker that runs a callback, with the callback's own token; Gust's own, since Airflow's dag processor
and executors read the database."""

from gust.execution_api.datamodels.callback import CallbackEndPayload, CallbackRunPayload, callback_response
from gust.execution_api.routing import Access, Call, Fence, Routes, renewed_token
from gust.http.answer import NO_CONTENT, Answer
from gust.model.callback import CallbackKind
from gust.model.dispatch import Scope
from gust.model.execution_paths import CLAIM_CALLBACK, END_CALLBACK
from gust.services.worker.run_callback import claim_callback, end_callback

routes = Routes()

CALLER = frozenset({Scope.CALLBACK})


@routes.patch(
    CLAIM_CALLBACK, access=Access.OWN, scopes=CALLER, body=CallbackRunPayload, fence=Fence.ITSELF, begins=True
)
def run_callback(call: Call[CallbackRunPayload, None]) -> Answer:
    """Claims the callback and returns it with a token. 409 if another worker has claimed it: drop the message. A
    callback that belongs to no run is complete in its message: it has no item and no claim."""
    services, caller = call.services, call.caller
    if caller.is_owed:
        claimed = claim_callback(services, caller, hostname=call.body.hostname, at=services.clock.now())
        body = callback_response(claimed)
    else:
        body = {"kind": CallbackKind.HOOK, "ti": None}
    return Answer(body=body, headers=renewed_token(call))


@routes.patch(END_CALLBACK, access=Access.OWN, scopes=CALLER, body=CallbackEndPayload, fence=Fence.ITSELF)
def finish_callback(call: Call[CallbackEndPayload, None]) -> Answer:
    end_callback(call.services, call.caller, at=call.services.clock.now(), output=call.body.output)
    return NO_CONTENT
