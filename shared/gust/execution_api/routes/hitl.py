from gust.errors import NotSupportedYet
from gust.execution_api.routing import Access, Answer, Call, Routes

routes = Routes("/hitlDetails")

LATER = "Human-in-the-loop operators are not supported yet"


@routes.post("/{task_instance_id}", access=Access.OWN)
def upsert_hitl_detail(_: Call[None, None]) -> Answer:
    raise NotSupportedYet(LATER)


@routes.patch("/{task_instance_id}", access=Access.OWN)
def update_hitl_detail(_: Call[None, None]) -> Answer:
    raise NotSupportedYet(LATER)


@routes.get("/{task_instance_id}", access=Access.OWN)
def get_hitl_detail(_: Call[None, None]) -> Answer:
    raise NotSupportedYet(LATER)
