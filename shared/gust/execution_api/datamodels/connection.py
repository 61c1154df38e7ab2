"""Source: `airflow.api_fastapi.execution_api.datamodels.connection`, whose fields these are."""

from typing import Any

from gust.model.connection import Connection


def connection_response(connection: Connection) -> dict[str, Any]:
    """All fields of the connection but its description."""
    return {
        "conn_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "host": connection.host,
        "schema": connection.schema,
        "login": connection.login,
        "password": connection.password,
        "port": connection.port,
        "extra": connection.extra,
    }
