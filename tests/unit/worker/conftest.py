import uuid
from collections.abc import Callable

import pytest

from gust.airflow_bridge import warm
from tests.unit.worker.control_plane import Site
from tests.unit.worker.whole import Whole


@pytest.fixture(scope="session", autouse=True)
def warmed_up() -> None:
    warm.warm_up_for_tasks(warm.set_environment())


@pytest.fixture
def site() -> Site:
    return Site(warm.set_environment())


@pytest.fixture
def run(site: Site) -> Callable[..., int]:
    """Upload a file that defines DAG `d` and run its task `t`."""

    def run_task(source: str, **changes: object) -> int:
        version = uuid.uuid4().hex
        site.upload(version, {"d.py": source})
        return site.run(version, **changes)

    return run_task


@pytest.fixture
def whole() -> Whole:
    return Whole(warm.set_environment())
