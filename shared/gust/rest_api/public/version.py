"""`/api/v2/version`: which Airflow the API speaks as."""

from __future__ import annotations

from typing import Final

import gust
from gust.http.answer import Json
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services

AIRFLOW_VERSION: Final = "3.3.2"
"""The pinned wheel's; a test compares. It cannot be asked: this function starts without Airflow."""


@operation("get_version")
def get_version(services: Services, request: Request) -> Json:  # noqa: ARG001 - a handler's signature
    """`git_version` is where Airflow says what build it is; ours says that it is Gust."""
    return {"version": AIRFLOW_VERSION, "git_version": f"gust:{gust.__version__}"}
