from gust.errors import NotSupportedYet
from gust.execution_api.routing import Answer, Call, Routes

routes = Routes("/connection-tests")

LATER = "Testing connections on a worker is not supported yet"


@routes.get("/{connection_test_id}/connection")
def get_connection_test_connection(_: Call[None, None]) -> Answer:
    raise NotSupportedYet(LATER)


@routes.patch("/{connection_test_id}")
def patch_connection_test(_: Call[None, None]) -> Answer:
    raise NotSupportedYet(LATER)
