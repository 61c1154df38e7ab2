"""The public API: Airflow's REST API v2 behind the HTTP API. Wired once per cold start."""

from gust import collector

collector.disable_gc()

import os

from gust import bootstrap
from gust.rest_api.access.access import Access
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.app import build

handler = build(
    bootstrap.from_environment(),
    Authenticator(
        os.environ.get("GUST_AUTH", ""),
        Access(bootstrap.access_document),
        bootstrap.identity_provider(),
        health_is_public=os.environ.get("GUST_HEALTH_IS_PUBLIC", "true") == "true",
    ),
)
lambda_handler = bootstrap.metrics().flushes(handler)
collector.freeze_gc()
