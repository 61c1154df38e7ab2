from gust.execution_api.routing import Access, Call, Routes
from gust.http.answer import Answer

routes = Routes("/health")


@routes.get("", access=Access.OPEN)
def health(_: Call[None, None]) -> Answer:
    return Answer(body={"status": "healthy"})


@routes.get("/ping", access=Access.OPEN)
def ping(call: Call[None, None]) -> Answer:
    """Reads the table once; fails if DynamoDB does not answer."""
    call.services.store.last_alive()
    return Answer(body={"ok": ["store"], "failing": {}})
