"""The web UI's files and its page, as the API's function answers with them."""

from __future__ import annotations

import base64
import gzip
import json
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from gust.rest_api import web
from gust.rest_api.app import LARGEST_ANSWER, build
from gust.rest_api.auth import Authenticator
from gust.rest_api.web import WebFiles
from tests.handlers.test_api import event
from tests.unit.rest_api.conftest import World

ROOT = Path(__file__).parents[4]

INFO = """
def get_provider_info():
    return {"connection-types": [
        {"connection-type": "b", "hook-class-name": "x.BHook", "hook-name": "Bee",
         "ui-field-behaviour": {"hidden-fields": ["port"], "relabeling": {"login": "Key"}, "placeholders": {}},
         "conn-fields": {"limit": {"label": "Limit", "schema": {"type": ["integer", "null"], "default": 3}}}},
        {"connection-type": "without a hook"},
    ]}
"""


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """What the layer would hold of a small Airflow."""
    dist = tmp_path / "airflow" / "ui" / "dist"
    for name, body in {
        "index.html": b'<base href="{{ backend_server_base_url }}" /><script src="./static/assets/index-abc.js"></script>',
        "pin_32.png": bytes(range(256)),
        "assets/index-abc.js": b"console.log('hello');\n" * 500,
        "i18n/locales/en/common.json": json.dumps({f"key{n}": "value" for n in range(50)}).encode(),
        ".vite/manifest.json": b"{}",
    }.items():
        (dist / name).parent.mkdir(parents=True, exist_ok=True)
        (dist / name).write_bytes(body)
    provider = tmp_path / "airflow" / "providers" / "some"
    provider.mkdir(parents=True)
    (provider / "get_provider_info.py").write_text(INFO)
    pack(tmp_path / "airflow", tmp_path / "web")
    return tmp_path / "web"


def pack(airflow: Path, out: Path) -> None:
    run([sys.executable, str(ROOT / "layers" / "web" / "pack.py"), str(airflow), str(out)], check=True)  # noqa: S603 - ours


@pytest.fixture
def ask(world: World, packed: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("GUST_WEB", str(packed))
    web.web_files.cache_clear()
    handler = build(world.services, Authenticator(""))  # nobody is let in: the UI itself is for everybody

    def ask(path: str, **more: Any) -> dict[str, Any]:
        return handler(event(rawPath=path, rawQueryString="", cookies=[], **more), None)

    yield ask
    web.web_files.cache_clear()


def test_a_file_is_sent_as_it_lies_there(ask: Any, packed: Path) -> None:
    answer = ask("/static/assets/index-abc.js")
    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, True)
    headers = answer["headers"]
    assert headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert gzip.decompress(base64.b64decode(answer["body"])) == b"console.log('hello');\n" * 500


def test_without_gzip_it_is_unpacked(ask: Any) -> None:
    answer = ask("/static/assets/index-abc.js", headers={"accept-encoding": "identity"})
    assert "Content-Encoding" not in answer["headers"]
    assert base64.b64decode(answer["body"]) == b"console.log('hello');\n" * 500


def test_what_does_not_get_smaller_stays_as_it_is(ask: Any) -> None:
    answer = ask("/static/pin_32.png")
    assert "Content-Encoding" not in answer["headers"]
    assert answer["headers"]["Content-Type"] == "image/png"
    assert base64.b64decode(answer["body"]) == bytes(range(256))


def test_names_that_stay_are_asked_for_again(ask: Any) -> None:
    first = ask("/static/i18n/locales/en/common.json")
    assert first["headers"]["Cache-Control"] == "public, max-age=3600"
    again = ask("/static/i18n/locales/en/common.json", headers={"if-none-match": first["headers"]["ETag"]})
    assert (again["statusCode"], again["body"]) == (304, "")


@pytest.mark.parametrize(
    "path", ["/static/none.js", "/static/", "/static/../manifest.json", "/static/.vite/manifest.json"]
)
def test_nothing_else_is_given_out(ask: Any, path: str) -> None:
    assert ask(path)["statusCode"] == 404


@pytest.mark.parametrize("path", ["/", "/dags", "/dags/a/runs/b", "/ui/unknown", "/connections"])
def test_every_other_path_is_the_page(ask: Any, path: str) -> None:
    answer = ask(path)
    assert answer["statusCode"] == 200
    assert answer["headers"]["Content-Type"] == "text/html; charset=utf-8"
    assert '<base href="/" />' in answer["body"]


def test_behind_a_stage_the_page_knows_its_base(ask: Any) -> None:
    answer = ask("/prod/dags", requestContext={"stage": "prod"})
    assert '<base href="/prod/" />' in answer["body"]
    assert '<base href="/prod/" />' in ask("/prod", requestContext={"stage": "prod"})["body"]
    assert ask("/prod/static/pin_32.png", requestContext={"stage": "prod"})["statusCode"] == 200


@pytest.mark.parametrize("path", ["/api/v2/nothing", "/api/v1/dags", "/api/", "/health"])
def test_paths_of_apis_are_no_pages(ask: Any, path: str) -> None:
    answer = ask(path)
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (404, "application/json")
    assert "error" in json.loads(answer["body"])


def test_pages_are_only_read(ask: Any) -> None:
    assert ask("/dags", method="POST")["statusCode"] == 405


def test_without_the_layer_it_says_so(ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GUST_WEB", str(tmp_path / "nowhere"))
    web.web_files.cache_clear()
    answer = ask("/")
    assert answer["statusCode"] == 501
    assert "layer `web`" in json.loads(answer["body"])["detail"]


def test_forms_of_connections(packed: Path) -> None:
    email, bee, generic = sorted(WebFiles(packed).connection_types, key=lambda form: form["hook_name"] != "Email")[0:3]
    assert [form["connection_type"] for form in (bee, email, generic)] == ["b", "email", "generic"]
    assert bee["standard_fields"]["port"] == {"hidden": True, "title": None, "placeholder": None}
    assert bee["standard_fields"]["login"] == {"hidden": False, "title": "Key", "placeholder": None}
    assert bee["standard_fields"]["host"] is None
    assert bee["extra_fields"]["limit"] == {
        "value": 3,
        "schema": {"type": ["integer", "null"], "default": 3, "title": "Limit"},
        "description": None,
        "source": None,
    }


# --- the real one -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gust.local.web import _airflow

    out = tmp_path_factory.mktemp("layer") / "web"
    pack(_airflow(), out)
    return out


def test_the_forms_are_airflows(real: Path) -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    theirs = [form.model_dump(mode="json") for form in HookMetaService.hook_meta_data()]
    assert WebFiles(real).connection_types == theirs


def test_every_file_fits_into_an_answer(real: Path) -> None:
    files = WebFiles(real)
    for path in json.loads((real / "manifest.json").read_text()):
        file = files.file(path, {"accept-encoding": "gzip"})
        assert file is not None
        assert len(file.body) < LARGEST_ANSWER, path


def test_the_page_names_files_that_are_there(real: Path) -> None:
    import re

    files = WebFiles(real)
    page = files.page("/")
    assert "{{" not in page
    named = re.findall(r'(?:src|href)="\.(/static/[^"]+)"', page)
    assert named
    assert all(files.file(path, {"accept-encoding": "gzip"}) for path in named)
