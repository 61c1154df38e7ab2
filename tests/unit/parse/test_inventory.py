"""The parser's inventory has the shapes and the content of Airflow's REST API."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from gust.airflow_bridge.inventory import answer_about_installation
from gust.aws.inventory import ParserInventory
from gust.aws.memory import MemoryObjects
from gust.errors import ServiceUnavailable
from gust.model.environment import OPTIONS_FILE
from gust.model.secrets_backend import SECRETS_MANAGER
from tests.unit.rest_api import contract

PLUGIN = """
from airflow.plugins_manager import AirflowPlugin

def shine():
    return "moon"

class Moons(AirflowPlugin):
    name = "moons"
    macros = [shine]
    external_views = [{"name": "Sky", "href": "https://sky.example", "url_route": "sky"}]
"""

OPTIONS = {
    "core.default_timezone": "Europe/Berlin",
    "secrets.backend": SECRETS_MANAGER,
    "secrets.backend_kwargs": '{"connections_prefix": "team"}',
}


class Parser:
    """The function, and how often it was asked."""

    def __init__(self, folder: Path) -> None:
        self.objects, self.folder, self.asked = MemoryObjects(), folder, 0
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("plugins/moons.py", PLUGIN)
            archive.writestr("plugins/broken.py", "raise ValueError('no moon')")
            archive.writestr(OPTIONS_FILE, json.dumps(OPTIONS))
        self.objects.put("bundles/b1.zip", packed.getvalue())

    def __call__(self, event: Any) -> dict[str, Any]:
        self.asked += 1
        return answer_about_installation(self.objects, event, self.folder)


@pytest.fixture
def parser(tmp_path: Path) -> Parser:
    return Parser(tmp_path)


def test_plugins_of_a_bundle(parser: Parser) -> None:
    inventory = ParserInventory(parser)
    plugins = inventory.plugins("b1")
    contract.check("get_plugins", 200, {"plugins": plugins, "total_entries": len(plugins)})
    [moons] = [plugin for plugin in plugins if plugin["name"] == "moons"]
    assert moons["macros"] == ["moons.shine"]
    assert [view["href"] for view in moons["external_views"]] == ["https://sky.example"]
    [(source, error)] = inventory.plugin_import_errors("b1").items()
    assert source.endswith("broken.py")
    assert "no moon" in error
    assert str(parser.folder) not in source + error
    assert parser.asked == 1


def test_providers_are_the_installed_ones(parser: Parser) -> None:
    from importlib.metadata import version

    providers = ParserInventory(parser).providers()
    contract.check("get_providers", 200, {"providers": providers, "total_entries": len(providers)})
    found = {provider["package_name"]: provider["version"] for provider in providers}
    assert found["apache-airflow-providers-amazon"] == version("apache-airflow-providers-amazon")
    assert list(found) == sorted(found)


def test_the_configuration_hides_what_is_secret(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "7")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "s3cret")
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARG__ROLE_ID", "s3cret")
    sections = ParserInventory(parser).configuration(None)
    assert sections["core"]["parallelism"] == "7"
    assert sections["core"]["fernet_key"] == "< hidden >"
    assert "s3cret" not in str(sections)


def test_the_configuration_has_the_bundles_options(parser: Parser) -> None:
    sections = ParserInventory(parser).configuration("b1")
    assert sections["core"]["default_timezone"] == "Europe/Berlin"
    assert sections["secrets"]["backend"] == SECRETS_MANAGER
    assert sections["secrets"]["backend_kwargs"] == "< hidden >"


def test_an_empty_secret_is_hidden_as_well(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Airflow answers `config get core fernet_key`."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    assert ParserInventory(parser).configuration(None)["core"]["fernet_key"] == "< hidden >"


def test_a_parser_that_cannot_tell_is_asked_again() -> None:
    answers = iter([{"error": "it died"}, {"answer": []}])
    inventory = ParserInventory(lambda _: next(answers))
    with pytest.raises(ServiceUnavailable, match="it died"):
        inventory.providers()
    assert inventory.providers() == []
