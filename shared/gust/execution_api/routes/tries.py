"""Ours, not Airflow's: for what runs a worker, which may outlive it."""

from gust.execution_api.datamodels.trigger import LostPayload
from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.execution_paths import LOSE_TRY
from gust.services.worker.report_task_instance import report_lost

routes = Routes()


@routes.post(LOSE_TRY, access=Access.OWN, body=LostPayload, fence=Fence.ITSELF)
def lose_try(call: Call[LostPayload, None]) -> Answer:
    """The try's process ended without a report, or could not begin: the try failed, its own retry rules apply.

    409 where the try has ended or a later dispatch has taken its place: then there is nothing to do.
    """
    report_lost(call.services, call.caller, at=call.services.clock.now(), reason=call.body.reason)
    return NO_CONTENT
