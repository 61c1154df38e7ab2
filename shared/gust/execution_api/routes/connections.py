from gust.errors import NotFound
from gust.execution_api.datamodels.connection import connection_response
from gust.execution_api.routing import Answer, Call, Routes
from gust.services.connections import find_connection

routes = Routes("/connections")


@routes.get("/{connection_id}")
def get_connection(call: Call[None, None]) -> Answer:
    """Decrypted: the worker has no key."""
    connection_id = call.path["connection_id"]
    connection = find_connection(call.services, connection_id)
    if connection is None:
        raise NotFound(f"Connection with ID {connection_id} not found")
    return Answer(body=connection_response(connection))
