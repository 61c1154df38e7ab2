"""Powertools' router, with path parameters as Airflow's keys and ids need them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver


class Resolver(APIGatewayHttpResolver):
    """A path parameter `<name>` takes any character but a slash, line breaks too; `<name:path>` takes slashes as
    well."""

    @staticmethod
    def _compile_regex(rule: str, base_regex: str = r"^{}\Z") -> re.Pattern[str]:
        pattern = re.sub(r"<(\w+)(:path)?>", lambda part: f"(?P<{part[1]}>{'.+' if part[2] else '[^/]+'})", rule)
        return re.compile(base_regex.format(pattern), re.DOTALL)


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The event's headers, by lower-case name."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}
