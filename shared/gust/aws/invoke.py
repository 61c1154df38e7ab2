"""Synchronous calls of one Lambda function by another."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from gust.errors import ServiceUnavailable, Throttled

THROTTLED: Final = frozenset({"TooManyRequestsException", "ThrottlingException", "Throttling", "EC2ThrottledException"})


@dataclass(frozen=True, slots=True)
class LambdaInvoker:
    """Invokes one function and waits for its answer."""

    function_name: str
    client: Any

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The function's answer. Raises Throttled if the account or the function has no concurrency left, and
        ServiceUnavailable if the function cannot be reached or died: then the call may have had its effect nevertheless."""
        payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            answer = self.client.invoke(FunctionName=self.function_name, Payload=payload)
            result = json.loads(answer["Payload"].read())
        except (BotoCoreError, ClientError, ValueError) as error:
            if _code(error) in THROTTLED:
                raise Throttled(f"{self.function_name} has no concurrency left: {error}") from error
            raise ServiceUnavailable(f"{self.function_name} cannot be invoked: {error}") from error
        if "FunctionError" in answer:
            raise ServiceUnavailable(f"{self.function_name} died: {result.get('errorMessage', result)}")
        return dict(result)


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
