"""What a role may do."""

from __future__ import annotations

from typing import Any


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the role's own policies, whatever the parameters are: without the right to send traces."""
    policies = role["Properties"].get("Policies", [])
    return [each for policy in policies for each in policy["PolicyDocument"]["Statement"] if not _is_for_traces(each)]


def traces(role: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements that hold where functions are traced."""
    policies = role["Properties"].get("Policies", [])
    return [each for policy in policies for each in policy["PolicyDocument"]["Statement"] if _is_for_traces(each)]


def _is_for_traces(statement: dict[str, Any]) -> bool:
    return bool(statement.get("Fn::If", [""])[0] == "Traces")
