"""Source: `airflow.api_fastapi.execution_api.datamodels.connection_test`, whose fields these are."""

from pydantic import Field, field_validator

from gust.execution_api.datamodels.base import Strict
from gust.model.connection_test import ENDED, ConnectionTestState


class ConnectionTestResultBody(Strict):
    state: ConnectionTestState
    result_message: str | None = Field(default=None, max_length=2000)

    @field_validator("state", mode="after")
    @classmethod
    def _only_ends(cls, state: ConnectionTestState) -> ConnectionTestState:
        if state not in ENDED:
            raise ValueError(f"Workers may only report terminal states (success/failed); got {state.value!r}")
        return state
