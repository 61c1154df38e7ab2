"""Settings that every test shares. Airflow reads its own while it is imported, so they stand here, before any test
does."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from gust.airflow_bridge import warm
from tests import environment, order

environment.forget_airflow()
environment.make_children_forget()

_HOME = Path(tempfile.mkdtemp(prefix="gust-tests-")).resolve()
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

os.environ["AIRFLOW_HOME"] = str(_HOME / "airflow")
warm.set_environment(_HOME / "bundles")

# Hypothesis' own for CI: each test draws the same cases until it is changed itself, and may take its time. What only a lucky
# draw finds says nothing about the change that is tested: `./gust test unit --hypothesis-profile=default` looks for such.
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`./gust test tests/system/test_clients.py --airflow`: see docs/oracle.md."""
    parser.addoption(
        "--airflow", action="store_true", help="ask real Airflow, not Gust, where a test can, and record what it says"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the modules (`-n`), they take them in the order of tests/order.py."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: order.rank(item.path, is_slow=item.path in slow))
