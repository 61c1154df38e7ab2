"""Powertools' router, with path parameters as Airflow's keys and ids need them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, cast

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver


class Resolver(APIGatewayHttpResolver):
    """A path parameter `<name>` takes any character but a slash, line breaks too; `<name:path>` takes slashes as
    well."""

    @staticmethod
    def _compile_regex(rule: str, base_regex: str = r"^{}\Z") -> re.Pattern[str]:
        return cast("re.Pattern[str]", Rule(rule, base_regex))  # Powertools uses no more of it


class Rule:
    """A route's pattern, compiled for the first path that begins as the rule does. To compile all of the API's takes longer
    than to answer a request."""

    def __init__(self, rule: str, base_regex: str) -> None:
        self._rule = rule
        self._base_regex = base_regex
        self._beginning = _PLAIN.match(rule)[0]  # type: ignore[index]  # it matches nothing, too
        self.groups = len(_PARAMETER.findall(rule))

    def match(self, path: str) -> re.Match[str] | None:
        return self._pattern.match(path) if path.startswith(self._beginning) else None

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pattern = _PARAMETER.sub(lambda part: f"(?P<{part[1]}>{'.+' if part[2] else '[^/]+'})", self._rule)
        return re.compile(self._base_regex.format(pattern), re.DOTALL)


_PARAMETER: Final = re.compile(r"<(\w+)(:path)?>")
_PLAIN: Final = re.compile(r"[\w/-]*")
"""Characters that mean themselves in a pattern."""


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """The event's headers, by lower-case name."""
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}
