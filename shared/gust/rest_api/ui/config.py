"""`/ui/config`: settings that the web UI loads first."""

from __future__ import annotations

from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.public.connections import testing_is
from gust.services.context import Services


@ui_operation("get_configs")
def get_configs(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    """Airflow's defaults of `[api]`."""
    return {
        "fallback_page_limit": 50,
        "auto_refresh_interval": 3,
        "hide_paused_dags_by_default": False,
        "instance_name": "Airflow",
        "enable_swagger_ui": True,
        "require_confirmation_dag_change": False,
        "default_wrap": False,
        "test_connection": testing_is(),
        "dashboard_alert": [],
        "show_external_log_redirect": False,
        "external_log_name": None,
        "theme": None,
        "multi_team": False,
        "rerun_with_latest_version": None,
    }
