"""Ours, since Airflow's triggerer reads the database: what the triggerer asks and reports of a watcher of assets, by the
token of one of its lives."""

from gust.execution_api.datamodels.trigger import ParkPayload
from gust.execution_api.datamodels.watcher import WatcherEventPayload, WatcherRunPayload, watcher_response
from gust.execution_api.routing import Access, Call, Fence, Routes, renewed_token
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import Scope
from gust.model.execution_paths import CLAIM_WATCHER, PARK_WATCHER, WATCHER_EVENT
from gust.services.assets.watchers import claim_watcher, park_watcher, report_event

routes = Routes()

CALLER = frozenset({Scope.WATCHER})


@routes.patch(CLAIM_WATCHER, access=Access.OWN, scopes=CALLER, body=WatcherRunPayload, fence=Fence.ITSELF, begins=True)
def run_watcher(call: Call[WatcherRunPayload, None]) -> Answer:
    """What to run. 409 where another runs it, or nobody wants it: drop the message. Who runs it asks again and again: it is
    told whether the watcher is still wanted, its claim is renewed, and its token."""
    watcher, wants = claim_watcher(call.services, call.caller, hostname=call.body.hostname)
    return Answer(body=watcher_response(watcher, wants), headers=renewed_token(call))


@routes.post(WATCHER_EVENT, access=Access.OWN, scopes=CALLER, body=WatcherEventPayload, fence=Fence.ITSELF)
def post_watcher_event(call: Call[WatcherEventPayload, None]) -> Answer:
    report_event(call.services, call.caller, number=call.body.number, payload=call.body.payload)
    return NO_CONTENT


@routes.post(PARK_WATCHER, access=Access.OWN, scopes=CALLER, body=ParkPayload, fence=Fence.ITSELF, begins=True)
def post_watcher_park(call: Call[ParkPayload, None]) -> Answer:
    how = call.body
    park_watcher(
        call.services, call.caller, wake_at=how.wake_at, sleeps_passed=how.sleeps_passed, is_poller=how.is_poller
    )
    return NO_CONTENT
