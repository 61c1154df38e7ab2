"""`/api/v2/version`: the version of Airflow whose API this is."""

from __future__ import annotations

from typing import Final

import gust
from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services

AIRFLOW_VERSION: Final = "3.3.2"
"""The pinned wheel's version; a test compares. This function starts without Airflow, so it cannot import it."""


@operation("get_version")
def get_version(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    """`git_version`, Airflow's build, says that this is Gust."""
    return {"version": AIRFLOW_VERSION, "git_version": f"gust:{gust.__version__}"}
