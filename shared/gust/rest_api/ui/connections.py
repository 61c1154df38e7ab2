"""`/ui/connections/hook_meta`: what the form of each connection type shows. Layer `web` holds those of Airflow's own
providers; the builder stores those of providers that environments bring."""

from __future__ import annotations

from gust.http.answer import Answer
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.http.web import web_files
from gust.services.context import Services
from gust.services.settings.environment_providers import environment_forms


@ui_operation("hook_meta_data")
def hook_meta_data(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    forms = {form["connection_type"]: form for form in environment_forms(services)}
    forms |= {form["connection_type"]: form for form in web_files().connection_types}
    return Answer(body=[forms[kind] for kind in sorted(forms)])
