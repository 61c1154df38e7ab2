"""pack.py AIRFLOW SWAGGER OUT: what the `api` function serves of Airflow's own package (the folder AIRFLOW) and of Swagger
UI (the folder SWAGGER), into OUT.

    files/<hash>[.gz]       each file of the web UI once, compressed where that makes it smaller
    manifest.json           path in a URL → file, type, entity tag, whether it ever changes
    index.html              the page that every path of the UI answers with, its base still open
    connection_types.json   what the form of each connection type shows, from the providers' own metadata
    openapi.json            the REST API's contract
    docs.html               the page that shows it

Runs wherever the layer is built, on whatever Python there is: nothing of Airflow is imported, only read. PyYAML lies
beside it.
"""

import gzip
import hashlib
import json
import mimetypes
import runpy
import shutil
import sys
from pathlib import Path

WITHOUT_PROVIDER = {"email": "Email", "generic": "Generic"}
"""Connection types that Airflow has of its own: they have a name and no hook."""

SWAGGER = {
    "swagger-ui.js": "swagger-ui-bundle.min.js",
    "swagger-ui.css": "swagger-ui.min.css",
}
"""What the page asks for, and what it is called in the package that brings it."""

CONNECTION_FORM = Path(__file__).parents[2] / "shared/gust/model/connection_form.py"
"""Run by its path: Gust itself is not installed here."""

TRIES_AGAIN = """<script>
let came = true;
addEventListener("error", (event) => {
  if (event.target.tagName !== "SCRIPT") return;
  came = false;
  const times = Number(sessionStorage.getItem("gust.reloads")) + 1;
  const then = times <= 5 ? "This page tries again in a few seconds." : "Load this page again later.";
  document.body.textContent =
    `The web UI's files did not come: they are asked for too often at the moment, or the server is not reached. ${then}`;
  sessionStorage.setItem("gust.reloads", times <= 5 ? times : 0);
  if (times <= 5) setTimeout(() => location.reload(), times * 1000 * (1 + Math.random()));
}, true);
addEventListener("load", () => { if (came) sessionStorage.removeItem("gust.reloads"); });
</script>"""
"""In the page of the UI. The files have a throttle of their own (StaticFilesRate in template.yaml); without this, a page
whose script gets 429 stays white. The browser keeps what it has got, so each time fewer are missing."""

CONTRACT = Path("api_fastapi/core_api/openapi/v2-rest-api-generated.yaml")


def main():
    airflow, swagger, out = (Path(argument) for argument in sys.argv[1:])
    dist = airflow / "ui" / "dist"
    if not (dist / "index.html").is_file():
        sys.exit(f"{dist} holds no web UI")
    shutil.rmtree(out, ignore_errors=True)
    (out / "files").mkdir(parents=True)
    manifest = {
        "/static/" + file.relative_to(dist).as_posix(): packed(file, dist, out / "files")
        for file in sorted(dist.rglob("*"))
        if is_served(file, dist)
    }
    for name, brought in SWAGGER.items():
        manifest[f"/static/swagger-ui/{name}"] = packed(swagger / brought, swagger, out / "files")
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1))
    (out / "openapi.json").write_text(json.dumps(contract(airflow)))
    shutil.copyfile(Path(__file__).with_name("docs.html"), out / "docs.html")
    page = (dist / "index.html").read_text()
    (out / "index.html").write_text(page.replace("</head>", f"{TRIES_AGAIN}</head>", 1))
    (out / "connection_types.json").write_text(json.dumps(connection_types(airflow), indent=1))


def is_served(file, dist):
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(dist).parts)


def packed(file, dist, files):
    """Writes the file under its hash; returns its line of the manifest."""
    body = file.read_bytes()
    name = hashlib.sha256(body).hexdigest()[:32]
    small = gzip.compress(body, compresslevel=9, mtime=0)
    is_compressed = len(small) < 0.9 * len(body)
    stored = name + ".gz" if is_compressed else name
    (files / stored).write_bytes(small if is_compressed else body)
    return {
        "file": stored,
        "type": content_type(file),
        "etag": f'"{name}"',
        # The bundler names what lies in assets/ after its content.
        "immutable": file.relative_to(dist).parts[0] == "assets",
    }


def content_type(file):
    kinds = {".js": "text/javascript", ".wasm": "application/wasm", ".ttf": "font/ttf", ".md": "text/markdown"}
    kind = kinds.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return kind + "; charset=utf-8" if kind.startswith("text/") else kind


def contract(airflow):
    """First of all where the API is, for whoever serves it to fill in."""
    sys.path.append(str(airflow.parent))
    import yaml  # noqa: PLC0415 - found only now

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    described = yaml.load((airflow / CONTRACT).read_text(), loader)  # noqa: S506 - it is a safe one
    return {"servers": [{"url": "{{ backend_server_base_url }}"}], **described}


def connection_types(airflow):
    form = runpy.run_path(str(CONNECTION_FORM))
    forms = [
        {
            "connection_type": name,
            "hook_class_name": None,
            "default_conn_name": None,
            "hook_name": shown,
            "standard_fields": None,
            "extra_fields": None,
        }
        for name, shown in WITHOUT_PROVIDER.items()
    ]
    for info in sorted((airflow / "providers").rglob("get_provider_info.py")):
        forms += form["forms_of"](form["declared_in"](info.read_text()))
    return sorted(forms, key=lambda f: f["connection_type"])


main()
