"""Signs of life of workers elsewhere; Gust's own."""

from gust.execution_api.routing import Access, Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.execution_paths import HEAR_OF_WORKERS
from gust.services.worker.hear_of_workers import hear_of_workers

routes = Routes()


@routes.put(HEAR_OF_WORKERS, access=Access.OPEN, fence=Fence.NONE)
def put_sign_of_life(call: Call[None, None]) -> Answer:
    """Needs no token, because a host without a task has none: IAM says who may invoke the function. It can only make an
    operator's own registered queue look served. 404 for any other queue."""
    hear_of_workers(call.services, call.path["queue"], at=call.services.clock.now())
    return NO_CONTENT
