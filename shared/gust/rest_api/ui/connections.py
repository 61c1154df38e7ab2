"""`/ui/connections/hook_meta`: what the form of each connection type shows. Layer `web` holds those of Airflow's own
providers; the builder stores those of providers that environments bring."""

from __future__ import annotations

import json
from typing import Any

from gust.errors import NotFound
from gust.http.answer import Answer
from gust.model import bucket_keys
from gust.model.deployment import Manifest
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import ui_operation
from gust.rest_api.http.web import web_files
from gust.services.context import Services


@ui_operation("hook_meta_data")
def hook_meta_data(services: Services, request: Request) -> Answer:  # noqa: ARG001 - a handler's signature
    forms = {form["connection_type"]: form for form in forms_of_environments(services)}
    forms |= {form["connection_type"]: form for form in web_files().connection_types}
    return Answer(body=[forms[kind] for kind in sorted(forms)])


def forms_of_environments(services: Services) -> list[dict[str, Any]]:
    """Of all that the active bundle names."""
    active = services.store.active_bundle()
    if active is None:
        return []
    try:
        manifest = Manifest.model_validate_json(services.objects.get(bucket_keys.manifest(active.version)))
    except NotFound:
        return []
    found: list[dict[str, Any]] = []
    for archive in sorted({archive for archive in manifest.environments.of.values() if archive}):
        try:
            found += json.loads(services.objects.get(bucket_keys.connection_forms(archive)))
        except NotFound:
            continue
    return found
