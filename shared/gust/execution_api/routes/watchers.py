"""The triggerer's requests about an asset watcher; Gust's own, since Airflow's triggerer reads the database. The token
is for one invocation of the watcher."""

from gust.execution_api.datamodels.watcher import (
    WatcherEventPayload,
    WatcherParkPayload,
    WatcherRunPayload,
    watcher_response,
)
from gust.execution_api.routing import Access, Call, Fence, Routes, renewed_token
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import Scope
from gust.model.execution_paths import CLAIM_WATCHER, PARK_WATCHER, WATCHER_EVENT
from gust.services.assets.watchers import claim_watcher, park_watcher, report_event

routes = Routes()

CALLER = frozenset({Scope.WATCHER})


@routes.patch(CLAIM_WATCHER, access=Access.OWN, scopes=CALLER, body=WatcherRunPayload, fence=Fence.ITSELF, begins=True)
def run_watcher(call: Call[WatcherRunPayload, None]) -> Answer:
    """Claims the watcher and returns its workload. 409 if another invocation runs it or no DAG needs it: drop the
    message. A triggerer repeats the request while it runs the watcher, which renews claim and token."""
    watcher, wants = claim_watcher(call.services, call.caller, hostname=call.body.hostname)
    return Answer(body=watcher_response(watcher, wants), headers=renewed_token(call))


@routes.post(WATCHER_EVENT, access=Access.OWN, scopes=CALLER, body=WatcherEventPayload, fence=Fence.ITSELF)
def post_watcher_event(call: Call[WatcherEventPayload, None]) -> Answer:
    report_event(call.services, call.caller, number=call.body.number, payload=call.body.payload)
    return NO_CONTENT


@routes.post(PARK_WATCHER, access=Access.OWN, scopes=CALLER, body=WatcherParkPayload, fence=Fence.ITSELF, begins=True)
def post_watcher_park(call: Call[WatcherParkPayload, None]) -> Answer:
    how = call.body
    park_watcher(
        call.services,
        call.caller,
        wake_at=how.wake_at,
        sleeps_passed=how.sleeps_passed,
        is_poller=how.is_poller,
        looked_at=how.looked_at,
    )
    return NO_CONTENT
