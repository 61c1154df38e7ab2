from gust.execution_api.datamodels.connection import connection_response
from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer
from gust.model.connection import CONNECTIONS
from gust.model.dispatch import OF_FILES
from gust.services.settings.connections import read_connection
from gust.services.settings.settings_read import VERSION_HEADER, stored_setting, version_of

routes = Routes("/connections")


@routes.get("/{connection_id}", scopes=OF_FILES)
def get_connection(call: Call[None, None]) -> Answer:
    """The connection, decrypted: the worker has no key."""
    connection_id = call.path["connection_id"]
    stored = stored_setting(
        call.services, CONNECTIONS, connection_id, missing=f"Connection with ID {connection_id} not found"
    )
    connection = read_connection(call.services, connection_id, stored)
    return Answer(body=connection_response(connection), headers={VERSION_HEADER: version_of(stored)})
