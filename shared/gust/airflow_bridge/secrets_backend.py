"""The secrets backend of a child: asks the supervisor or the parser, which ask the execution API. The child has no right
to a secret.

A question is Airflow's request for a variable, under a key that no variable can have: it begins with `MARK`.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import comms, task_runner

from gust.model.secrets_backend import Kind

MARK: Final = "\x1fsecret\x1f"

log = structlog.get_logger(logger_name="task")


class SecretUnreadableError(Exception):
    """The secrets backend did not answer. Airflow notes it and asks the next place."""


class ExecutionApiSecrets(BaseSecretsBackend):  # type: ignore[misc]  # untyped to us
    """Takes the place of the amazon provider's classes."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:  # noqa: ARG002 - Airflow's signature
        return self._ask(Kind.CONNECTION, conn_id)

    def get_variable(self, key: str, team_name: str | None = None) -> str | None:  # noqa: ARG002
        return self._ask(Kind.VARIABLE, key)

    def get_config(self, key: str) -> str | None:
        return self._ask(Kind.OPTION, key)

    def _ask(self, kind: Kind, key: str) -> str | None:
        answer = task_runner.SUPERVISOR_COMMS.send(comms.GetVariable(key=f"{MARK}{kind}/{key}"))
        if isinstance(answer, comms.ErrorResponse):
            problem = str((answer.detail or {}).get("message", answer.error))
            # Airflow itself logs nothing about a connection.
            log.warning("The secrets backend could not be asked", problem=problem, logger="gust")
            raise SecretUnreadableError(problem)
        value: str | None = answer.value
        return value


def secret_of(key: str) -> tuple[Kind, str] | None:
    """The kind and the key of the secret that a question asks for; None for the key of a variable, however it begins."""
    kind, slash, name = key.removeprefix(MARK).partition("/")
    return (Kind(kind), name) if key.startswith(MARK) and slash and kind in set(Kind) else None


def reply(key: str, answer: Any) -> Any:
    """The child's message, of the execution API's answer."""
    if answer["problem"] is not None:
        return comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": answer["problem"]})
    return comms.VariableResult(key=key, value=answer["value"])
