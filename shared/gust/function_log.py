"""The log of a function, one JSON object a line.

Bytes of logs are a part of a task's price. CloudWatch notes the time of each line (`@timestamp`), so lines do not repeat it;
nor do they tell where in our code they come from, or name the trace of a request that X-Ray does not keep. Warnings and
errors have the time: with JSON logs Lambda takes a line without one for INFO (AWS Lambda's developer guide, "Log-level
filtering").
"""

import json
import os
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from aws_lambda_powertools.logging import Logger

_TRACE: Final = "_X_AMZN_TRACE_ID"
"""Environment variable in which Lambda names the trace of each invocation, kept or not."""


def function_log(service: str, stream: TextIO | None = None) -> Logger:
    """The logger of a function. Its level is `POWERTOOLS_LOG_LEVEL`; `stream` is standard output by default."""
    return Logger(service=service, stream=stream, location=None, timestamp=None, json_serializer=_line)


def _line(fields: dict[str, Any]) -> str:
    if fields.get("level") not in {"DEBUG", "INFO"}:
        fields["timestamp"] = datetime.now(tz=UTC).isoformat(timespec="milliseconds")
    if "Sampled=1" not in os.environ.get(_TRACE, ""):
        fields.pop("xray_trace_id", None)
    return json.dumps(fields, default=str, separators=(",", ":"), ensure_ascii=False)
