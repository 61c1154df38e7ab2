from gust.execution_api.datamodels.base import moment
from gust.execution_api.routing import Access, Call, Routes
from gust.http.answer import Answer
from gust.services.worker.report_task_instance import known

routes = Routes("/task-reschedules")


@routes.get("/{task_instance_id}/start_date", access=Access.OWN)
def get_start_date(call: Call[None, None]) -> Answer:
    """The try's start before its first reschedule; null if it was never rescheduled."""
    instance = known(call.services, call.caller)
    return Answer(body=moment(instance.first_start_date))
