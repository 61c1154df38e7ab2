"""The asset expression of a DAG's schedule as the API shows it: with each asset's number, by which the UI finds it."""

from __future__ import annotations

from typing import Any

from gust.model.asset import number_of
from gust.model.dag_spec import DagSpec


def asset_expression(spec: DagSpec) -> Any:
    """`None` if the schedule names no asset."""
    return _numbered(spec.timetable.asset_expression)


def _numbered(part: Any) -> Any:
    match part:
        case {"asset": {"name": name, "uri": uri} as asset}:
            return {"asset": {**asset, "id": number_of(name, uri)}}
        case dict():
            return {key: _numbered(value) for key, value in part.items()}
        case list():
            return [_numbered(value) for value in part]
    return part
