"""Airflow's providers in the environments of the active bundle: what the builder stored of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gust.errors import NotFound
from gust.model import bucket_keys
from gust.model.deployment import Manifest
from gust.model.environment import Environments
from gust.ports.objects import Objects
from gust.services.context import Services


def active_environments(services: Services) -> Environments:
    """The environments that the active bundle names."""
    active = services.store.active_bundle()
    if active is None:
        return Environments()
    try:
        manifest = Manifest.model_validate_json(services.objects.get(bucket_keys.manifest(active.version)))
    except NotFound:
        return Environments()
    return manifest.environments


def environment_providers(services: Services) -> list[dict[str, Any]]:
    """In the REST API's form. Where two environments have a provider, each of its versions is listed."""
    found = documents(services, bucket_keys.providers)
    return [each for number, each in enumerate(found) if each not in found[:number]]


def environment_forms(services: Services) -> list[dict[str, Any]]:
    """The forms of their connection types."""
    return documents(services, bucket_keys.connection_forms)


def documents(services: Services, key_of: Callable[[str], str]) -> list[dict[str, Any]]:
    archives = sorted({archive for archive in active_environments(services).of.values() if archive})
    return [document for archive in archives for document in stored(services.objects, key_of(archive))]


def folder_with(services: Services, conn_type: str) -> str:
    """The folder with a `requirements.txt` whose environment brings the connection type. The DAG folder itself (`""`) if its
    own does, or none does, else the first one by name."""
    environments = active_environments(services)
    for folder in sorted(environments.of, key=lambda each: (each != "", each)):
        archive = environments.of_folder(folder)
        if archive is not None and any(
            form["connection_type"] == conn_type
            for form in stored(services.objects, bucket_keys.connection_forms(archive))
        ):
            return folder
    return ""


def stored(objects: Objects, key: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(objects.get(key)))
    except NotFound:
        return []
