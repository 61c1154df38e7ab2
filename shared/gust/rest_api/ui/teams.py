"""`/ui/teams`: refused, as an Airflow without `[core] multi_team` does."""

from __future__ import annotations

from gust.http.answer import Json, Problem
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.services.context import Services


@ui_operation("list_teams")
def list_teams(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    raise Problem(403, "Multi-team mode is not configured in the Airflow environment")
