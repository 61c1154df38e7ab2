"""Reports by the supervisor about its child; Gust's own."""

from gust.execution_api.datamodels.trigger import LostPayload
from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.execution_paths import LOSE_TRY
from gust.services.worker.report_task_instance import report_lost

routes = Routes()


@routes.post(LOSE_TRY, access=Access.OWN, body=LostPayload, fence=Fence.ITSELF)
def lose_try(call: Call[LostPayload, None]) -> Answer:
    """Fails a try whose process ended without a report or did not start; the task's retry rules apply.

    409 if the try has ended or a later dispatch has replaced it: then there is nothing to do.
    """
    now, lost = call.services.clock.now(), call.body
    report_lost(
        call.services,
        call.caller,
        at=now,
        reason=lost.reason,
        outgrew=lost.outgrew,
        has_called_back=lost.has_called_back,
    )
    return NO_CONTENT
