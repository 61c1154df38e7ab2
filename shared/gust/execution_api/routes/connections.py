from gust.errors import NotFound
from gust.execution_api.routing import Answer, Call, Routes
from gust.model.connection import CONNECTIONS, Connection

routes = Routes("/connections")


@routes.get("/{connection_id}")
def get_connection(call: Call[None, None]) -> Answer:
    connection_id = call.path["connection_id"]
    stored = call.services.store.get_setting(CONNECTIONS, connection_id)
    if stored is None:
        raise NotFound(f"Connection with ID {connection_id} not found")
    connection = Connection.from_document(connection_id, stored)
    return Answer(
        body={
            "conn_id": connection.conn_id,
            "conn_type": connection.conn_type,
            "host": connection.host,
            "schema": connection.schema,
            "login": connection.login,
            "password": connection.password,
            "port": connection.port,
            "extra": connection.extra,
        }
    )
