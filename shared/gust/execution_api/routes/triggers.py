"""The triggerer's requests, with a trigger's token; Gust's own, since Airflow's triggerer reads the database."""

from gust.execution_api.datamodels.trigger import ParkPayload, TriggerEventPayload, parked_trigger_response
from gust.execution_api.routing import Access, Call, Fence, Routes, renewed_token
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import Scope
from gust.model.execution_paths import PARK_TRIGGER, TRIGGER, TRIGGER_EVENT
from gust.services.worker.make_trigger_template import make_trigger_template
from gust.services.worker.report_trigger import park, parked_trigger, report_broken, report_ended, report_fired

routes = Routes()

TRIGGERER = frozenset({Scope.TRIGGER})


@routes.get(TRIGGER, access=Access.OWN, scopes=TRIGGERER, begins=True)
def get_trigger(call: Call[None, None]) -> Answer:
    """The trigger to run, with a new token for that of the message or for the current one. 409 if no instance waits for
    the trigger: drop the message."""
    instance, trigger = parked_trigger(call.services, call.caller)
    template = make_trigger_template(call.services, instance, trigger)
    # A stack that receives no events any longer polls as often as without them.
    looks_seldom = trigger.looks_seldom and bool(call.services.wakes_in)
    body = parked_trigger_response(call.caller, trigger, template, looks_seldom=looks_seldom)
    return Answer(body=body, headers=renewed_token(call))


@routes.post(TRIGGER_EVENT, access=Access.OWN, scopes=TRIGGERER, body=TriggerEventPayload, fence=Fence.ITSELF)
def post_trigger_event(call: Call[TriggerEventPayload, None]) -> Answer:
    """The trigger fired, failed or ended the task. The first report counts: 409 for any later one."""
    body = call.body
    if body.error is not None:
        report_broken(call.services, call.caller, error=body.error, traceback=body.traceback)
    elif body.state is not None:
        report_ended(call.services, call.caller, state=body.state, xcoms=body.xcoms or {})
    else:
        report_fired(call.services, call.caller, event=body.event)
    return NO_CONTENT


@routes.post(PARK_TRIGGER, access=Access.OWN, scopes=TRIGGERER, body=ParkPayload, fence=Fence.ITSELF, begins=True)
def post_park(call: Call[ParkPayload, None]) -> Answer:
    """Runs the trigger again at `wake_at`; also one that has not started, since SQS delays a message by 15 minutes at
    most. 409 if no instance waits for the trigger."""
    body = call.body
    park(
        call.services,
        call.caller,
        wake_at=body.wake_at,
        sleeps_passed=body.sleeps_passed,
        is_poller=body.is_poller,
        looks=body.looks,
        place=body.place,
        woken=body.woken,
        kwargs=body.kwargs,
        relative_fileloc=body.relative_fileloc,
    )
    return NO_CONTENT
