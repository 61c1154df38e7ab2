"""Fixtures of the REST API's tests."""

from __future__ import annotations

import pytest

from gust.rest_api.access.auth import ALL_ADMINS, Authenticator
from gust.rest_api.app import build
from tests.unit.rest_api.world import Api, World, make_world


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture
def api(world: World) -> Api:
    return Api(build(world.services, Authenticator(ALL_ADMINS)))
