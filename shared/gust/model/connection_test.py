"""The test of a connection: a person asks whether its hook reaches the other system, and a worker tries."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid5

TOKEN_NAMESPACE: Final = UUID("0d4c1f0e-5f0c-5b1e-9a55-6f1f7f0f1f35")


class ConnectionTestState(StrEnum):
    """Source: `airflow.models.connection_test.ConnectionTestState`."""

    PENDING = "pending"
    """Requested. Dies here: it was never sent, and reads as failed when its time is up."""
    QUEUED = "queued"
    """SQS accepted the message. Dies here: as above."""
    RUNNING = "running"
    """A worker has received the connection. Dies here: as above; a repeated message is refused."""
    SUCCESS = "success"
    FAILED = "failed"


WAITING: Final = frozenset({ConnectionTestState.PENDING, ConnectionTestState.QUEUED})
ENDED: Final = frozenset({ConnectionTestState.SUCCESS, ConnectionTestState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTest:
    """Moments are UTC."""

    test_id: str
    connection_id: str
    state: ConnectionTestState
    created_at: datetime
    updated_at: datetime
    """When its state last changed."""
    expires_at: datetime
    """When it is deleted."""
    connection: dict[str, Any] = field(default_factory=dict)
    """The connection under test, encrypted as stored connections are. Empty once the test has ended."""
    commit_on_success: bool = False
    """Make it the connection of this id when the test succeeds."""
    result_message: str | None = None

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def connection_test_id(token: str) -> str:
    """The id of the test that the token is for. The token does not follow from the id: the table's content and a worker's
    message are not enough to ask for the result."""
    return str(uuid5(TOKEN_NAMESPACE, token))
