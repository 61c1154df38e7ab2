import pytest

from tests.unit.execution_api.world import World


@pytest.fixture
def world() -> World:
    return World()
