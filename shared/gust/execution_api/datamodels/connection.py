"""Source: `airflow.api_fastapi.execution_api.datamodels.connection`, whose fields these are."""

from typing import Final

from gust.model.connection import Connection
from gust.model.field_values import values_of

connection_response: Final = values_of(
    Connection, "conn_id", "conn_type", "host", "schema", "login", "password", "port", "extra"
)
"""All fields of the connection but its description."""
