"""Airflow's options that the REST API itself heeds, within a minute of their change."""

from __future__ import annotations

from gust.services.settings.options import keep_options
from tests.unit.rest_api.world import Api, World


def test_names_of_secrets_are_those_of_the_options(world: World, api: Api) -> None:
    api("POST", "/api/v2/variables", {"key": "pin_code", "value": "moon"})
    shown = [value_of_pin(api)]
    keep_options(world.services.store, {"core.sensitive_var_conn_names": "pin_code"})
    shown.append(value_of_pin(api))
    world.clock.advance(61)
    shown.append(value_of_pin(api))
    keep_options(world.services.store, {})
    world.clock.advance(61)
    shown.append(value_of_pin(api))

    assert shown == ["moon", "moon", "***", "moon"]


def value_of_pin(api: Api) -> str:
    return str(api("GET", "/api/v2/variables/pin_code").json["value"])
