"""The web UI's files and its page, as the API's function answers with them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import sys
from datetime import timedelta
from pathlib import Path
from subprocess import run
from typing import Any

import pytest

from gust.model.access import Role
from gust.model.user import User
from gust.rest_api.access.auth import Authenticator
from gust.rest_api.app import COMPRESS_FROM, LARGEST_ANSWER, build
from gust.rest_api.http import web
from gust.rest_api.http.web import WebFiles
from tests.handlers.test_api import event
from tests.unit.rest_api.world import NOW, World

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
    contract = tmp_path / "airflow" / "api_fastapi" / "core_api" / "openapi" / "v2-rest-api-generated.yaml"
    contract.parent.mkdir(parents=True)
    contract.write_text("openapi: 3.1.0\npaths: {/api/v2/dags: {}}\n")
    swagger = tmp_path / "swagger"
    swagger.mkdir()
    (swagger / "swagger-ui-bundle.min.js").write_text("const SwaggerUIBundle = 1;")
    (swagger / "swagger-ui.min.css").write_text("body { color: black }")
    pack(tmp_path / "airflow", swagger, tmp_path / "web")
    return tmp_path / "web"


def pack(airflow: Path, swagger: Path, out: Path) -> None:
    command = [sys.executable, str(ROOT / "layers" / "web" / "pack.py"), str(airflow), str(swagger), str(out)]
    run(command, check=True)  # noqa: S603 - ours


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


# --- the contract, and the page that shows it -------------------------------------------------------------------------


@pytest.fixture
def signed_in(world: World) -> dict[str, str]:
    token = world.services.tokens.for_user(User("ada", Role.VIEWER), now=NOW, lifetime=timedelta(hours=1))
    return {"authorization": f"Bearer {token}"}


def test_the_contract_is_for_who_has_come_in(ask: Any, signed_in: dict[str, str]) -> None:
    assert ask("/openapi.json")["statusCode"] == 401
    answer = ask("/openapi.json", headers=signed_in)
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(answer["body"]) == {
        "servers": [{"url": "/"}],
        "openapi": "3.1.0",
        "paths": {"/api/v2/dags": {}},
    }


def test_behind_a_stage_the_contract_says_so(ask: Any, signed_in: dict[str, str]) -> None:
    answer = ask("/prod/openapi.json", headers=signed_in, requestContext={"stage": "prod"})
    assert json.loads(answer["body"])["servers"] == [{"url": "/prod"}]
    assert 'src="/prod/static/swagger-ui/swagger-ui.js"' in ask("/prod/docs", requestContext={"stage": "prod"})["body"]
    assert ask("/prod/redoc", requestContext={"stage": "prod"})["headers"]["Location"] == "/prod/docs"


def test_the_page_loads_nothing_from_elsewhere(ask: Any) -> None:
    answer = ask("/docs")
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"]+)"', answer["body"])
    assert {"/static/swagger-ui/swagger-ui.js", "/static/swagger-ui/swagger-ui.css"} <= set(named)
    assert [ask(path)["statusCode"] for path in named] == [200] * len(named)
    assert "//" not in answer["body"].replace("// it would be", "")


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
    from gust.local.web import airflow, swagger

    out = tmp_path_factory.mktemp("layer") / "web"
    pack(airflow(), swagger(), out)
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


def test_the_contract_is_airflows(real: Path) -> None:
    import yaml

    from gust.local.web import airflow

    file = airflow() / "api_fastapi" / "core_api" / "openapi" / "v2-rest-api-generated.yaml"
    ours = json.loads(WebFiles(real).contract("/"))
    assert ours.pop("servers") == [{"url": "/"}]
    assert ours == json.loads(json.dumps(yaml.load(file.read_text(), yaml.CSafeLoader)))
    assert len(gzip.compress(json.dumps(ours).encode())) < COMPRESS_FROM * 2


def test_the_page_names_files_that_are_there(real: Path) -> None:
    files = WebFiles(real)
    page = files.page("/")
    assert "{{" not in page
    named = re.findall(r'(?:src|href)="\.(/static/[^"]+)"', page)
    assert named
    assert all(files.file(path, {"accept-encoding": "gzip"}) for path in named)
