"""Sessions of tasks' roles, by STS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from gust.errors import Forbidden, ServiceUnavailable
from gust.model.task_role import AwsCredentials, RoleSession

LIFETIME: Final = 3600
"""Seconds; the most that STS gives to a role that assumes another."""

ASK_AGAIN_AFTER: Final = 60.0
"""Seconds until a changed access document takes effect."""

_LATER: Final = frozenset(
    {
        *("Throttling", "ThrottlingException", "RequestLimitExceeded"),
        *("ServiceUnavailable", "InternalFailure", "InternalServerError"),
    }
)


class StsTaskRoles:
    """Implements `ports.TaskRoles`. `text` returns the access document."""

    def __init__(
        self,
        client: Any,
        *,
        default: str,
        external_id: str,
        text: Callable[[], str] = lambda: "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.default = default
        self._client = client
        self._external_id = external_id
        self._text = text
        self._monotonic = monotonic
        self._known: tuple[float, str] | None = None

    def document(self) -> str:
        now = self._monotonic()
        if self._known is None or now - self._known[0] >= ASK_AGAIN_AFTER:
            try:
                self._known = now, self._text()
            except (ClientError, BotoCoreError) as error:
                message = f"The access document cannot be read, so no task gets a role: {error}"
                if isinstance(error, BotoCoreError) or error.response["Error"]["Code"] in _LATER:
                    raise ServiceUnavailable(message) from error
                raise Forbidden(message) from error
        return self._known[1]

    def assume(self, role: str, session: RoleSession) -> AwsCredentials:
        arguments: dict[str, Any] = {"ExternalId": self._external_id} if self._external_id else {}
        try:
            answer = self._client.assume_role(
                RoleArn=role,
                RoleSessionName=session.name,
                DurationSeconds=LIFETIME,
                Tags=[{"Key": name, "Value": value} for name, value in session.tags.items()],
                **arguments,
            )["Credentials"]
        except ClientError as error:
            if error.response["Error"]["Code"] in _LATER:
                raise ServiceUnavailable(str(error)) from error
            raise Forbidden(f"AWS refuses the role {role}: {error}") from error
        except BotoCoreError as error:
            raise ServiceUnavailable(f"STS did not answer: {error}") from error
        return AwsCredentials(
            role=role,
            access_key_id=answer["AccessKeyId"],
            secret_access_key=answer["SecretAccessKey"],
            session_token=answer["SessionToken"],
            expires_at=answer["Expiration"],
        )
