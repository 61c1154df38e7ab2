"""Ours, since Airflow's dag processor and executors are told by the database: what a worker that runs a callback asks and
reports, by the callback's own token."""

from gust.execution_api.datamodels.callback import CallbackEndPayload, CallbackRunPayload, callback_response
from gust.execution_api.routing import NO_CONTENT, Access, Answer, Call, Routes
from gust.model.dispatch import Scope
from gust.services.run_callback import claim_callback, end_callback

routes = Routes("/gust/callbacks")

CALLER = frozenset({Scope.CALLBACK})


@routes.patch("/{callback_uuid}/run", access=Access.OWN, scopes=CALLER, body=CallbackRunPayload)
def run_callback(call: Call[CallbackRunPayload, None]) -> Answer:
    """What to call. 409 where another worker has it, or had it: drop the message."""
    now = call.services.clock.now()
    return Answer(
        body=callback_response(claim_callback(call.services, call.caller, hostname=call.body.hostname, at=now))
    )


@routes.patch("/{callback_uuid}/state", access=Access.OWN, scopes=CALLER, body=CallbackEndPayload)
def finish_callback(call: Call[CallbackEndPayload, None]) -> Answer:
    end_callback(call.services, call.caller, at=call.services.clock.now(), output=call.body.output)
    return NO_CONTENT
