"""The template as AWS will see it: after SAM's transform, with nothing deployed."""

from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from gust.local import deployment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def source() -> dict[str, Any]:
    """template.yaml as written."""
    return yaml_parse((ROOT / "template.yaml").read_text())


@pytest.fixture(scope="session")
def resources() -> dict[str, dict[str, Any]]:
    """Resources after the transform, by logical id."""
    return deployment.transform(ROOT, {})["Resources"]
