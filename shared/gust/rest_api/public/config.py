"""`/api/v2/config`: Airflow's configuration in the parser with the options of the active bundle, if the operator exposes it.
Most of it configures processes that Gust does not have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from gust.http.answer import Answer, Json, Problem, not_found
from gust.http.check import Query
from gust.rest_api.http.request import Request
from gust.rest_api.http.routing import operation
from gust.services.context import Services

EXPOSE_CONFIG: Final = "AIRFLOW__API__EXPOSE_CONFIG"
"""Airflow's setting, in the function's environment; `ExposeConfig` in `template.yaml`."""
EXPOSED: Final = {"t", "true", "1", "non-sensitive-only"}

TEXT: Final = "text/plain"


class ConfigQuery(Query):
    section: str | None = None


@operation("get_config")
def get_config(services: Services, request: Request) -> Json | Answer:
    wanted_type = request.accepted(alternative=TEXT)
    section = request.query(ConfigQuery).section
    _check_exposed()
    sections = _configuration(services)
    if section:
        if section.lower() not in sections:
            raise not_found(f"Section {section} not found.")
        sections = {section: sections[section.lower()]}
    return _answer(sections, wanted_type)


@operation("get_config_value")
def get_config_value(services: Services, request: Request) -> Json | Answer:
    wanted_type = request.accepted(alternative=TEXT)
    _check_exposed()
    section, option = request.path["section"], request.path["option"]
    value = _configuration(services).get(section.lower(), {}).get(option.lower())
    if value is None:
        raise not_found(f"Option [{section}/{option}] not found.")
    return _answer({section: {option: value}}, wanted_type)


def _configuration(services: Services) -> dict[str, dict[str, str]]:
    bundle = services.store.active_bundle()
    return services.inventory.configuration(bundle.version if bundle else None)


def _check_exposed() -> None:
    if os.environ.get(EXPOSE_CONFIG, "False").strip().lower() not in EXPOSED:
        raise Problem(
            403,
            "Your Airflow administrator chose not to expose the configuration, most likely for security reasons.",
        )


def _answer(sections: Mapping[str, Mapping[str, str]], content_type: str) -> Json | Answer:
    if content_type == TEXT:
        text = "\n".join(
            f"[{name}]\n" + "\n".join(f"{key} = {value}" for key, value in options.items()) + "\n"
            for name, options in sections.items()
        )
        return Answer(200, text, content_type=TEXT)
    return {
        "sections": [
            {"name": name, "options": [{"key": key, "value": value} for key, value in options.items()]}
            for name, options in sections.items()
        ]
    }
