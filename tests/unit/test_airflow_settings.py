"""Airflow's settings as DAG files, tasks and triggers see them, against those of a plain Airflow.

docs/airflow-differences.md lists the differences with their reasons, and there are no others. Each side is a process of its
own, with the environment that the template gives its function: Airflow reads its settings once, and pytest's process has
settings too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gust.local import deployment
from tests.oracle import server

ROOT: Final = Path(__file__).parents[2]

RANDOM: Final = {"[api] secret_key"}
"""Made up at every first start."""

WRITE: Final = """
import json, os
from airflow.configuration import conf
from airflow.sdk.configuration import conf as of_sdk
with open({out!r}, "w") as out:
    json.dump([config.as_dict(display_sensitive=True) for config in (conf, of_sdk)], out)
"""

PLAIN: Final = "exec(SEE)"

PARSE: Final = """
from pathlib import Path
from gust.airflow_bridge.parse import parse_file
from gust.aws.memory import MemoryObjects
bundle = Path(os.environ["TMPDIR"]) / "bundle"
bundle.mkdir()
(bundle / "d.py").write_text("# a dag\\n" + SEE)
parse_file(MemoryObjects(), bundle, "d.py", "dags-folder")
"""

WORKER: Final = """
from gust.airflow_bridge import warm
bundles = warm.set_environment()
from tests.unit.worker.control_plane import Site
site = Site(bundles)
body = SEE.replace("\\n", "\\n        ")
site.upload("one", {"d.py": f'''
from airflow.sdk import dag, task
@dag(schedule=None)
def d():
    @task
    def t():
        {body}
    t()
d()
'''})
site.run("one")
"""

TRIGGERER: Final = """
from gust.airflow_bridge import warm
bundles = warm.set_environment()
from dataclasses import replace
from gust.airflow_bridge.trigger import run_trigger
from gust.model.workload import TriggerWorkload
from tests.unit.worker.control_plane import Site
site = Site(bundles)
body = SEE.replace("\\n", "\\n        ")
site.upload("one", {"mine.py": f'''
from airflow.triggers.base import BaseTrigger, TriggerEvent
class T(BaseTrigger):
    def serialize(self):
        return "mine.T", {{}}
    async def run(self):
        {body}
        yield TriggerEvent(None)
'''})
trigger = json.dumps({"classpath": "mine.T", "kwargs": {}, "timeout_at": None})
run_trigger(
    TriggerWorkload(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1, dispatch_count=1, token="a-token",
                    bundle_version="one"),
    replace(site.ports(600), invoke=lambda event: {"statusCode": 200, "headers": {"content-type": "application/json"},
                                                   "body": trigger}),
)
"""

FUNCTIONS: Final = {"ParseFunction": PARSE, "WorkerFunction": WORKER, "TriggererFunction": TRIGGERER}
Settings = dict[str, str]


def seen_by(folder: Path, program: str, environment: dict[str, str]) -> Settings:
    """`[section] option` → its value, of both of Airflow's configurations; where the home lies does not count."""
    folder.mkdir()
    out = folder / "settings.json"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", f"import json, os\nSEE = {WRITE.format(out=str(out))!r}\n{program}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'shared'}:{ROOT}", "TMPDIR": str(folder)}
        | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert out.exists(), done.stderr[-3000:]
    found: dict[str, Any] = {}
    for config in json.loads(out.read_text()):
        for section, options in config.items():
            found |= {f"[{section}] {name}": value for name, value in options.items()}
    home = environment.get("AIRFLOW_HOME", f"{folder}/airflow")
    return {name: as_airflow_reads(value, home) for name, value in found.items() if name not in RANDOM}


def as_airflow_reads(value: Any, home: str) -> str:
    text = str(value).replace(home, "~")
    return text.lower() if text.lower() in ("true", "false") else text


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("home")
    return seen_by(home / "plain", PLAIN, {"AIRFLOW_HOME": str(home / "plain" / "airflow")})


def differing(plain: Settings, seen: Settings) -> set[str]:
    return {name for name in plain.keys() | seen.keys() if plain.get(name) != seen.get(name)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_strangers_code_sees_differs_where_the_docs_say_so(name: str, plain: Settings, tmp_path: Path) -> None:
    seen = seen_by(tmp_path / "tmp", FUNCTIONS[name], variables_of(name))

    assert differing(plain, seen) == documented("airflow-differences.md", name.removesuffix("Function").lower())


def test_the_oracle_has_airflows_defaults_but_for_where_it_stands(plain: Settings, tmp_path: Path) -> None:
    home = tmp_path / "tmp" / "airflow"
    settings = server.settings(home, ROOT / "tests" / "system" / "dags", 8080, "user@host:1/airflow", parallelism=8)
    # PostgreSQL's drivers are the oracle's alone.
    without_drivers = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////elsewhere.db",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": "sqlite+aiosqlite:////elsewhere.db",
    }

    seen = seen_by(tmp_path / "tmp", PLAIN, settings | without_drivers)

    assert differing(plain, seen) == documented("oracle.md", "oracle")


@pytest.mark.parametrize(("parameter", "told"), [({}, "False"), ({"DefaultDeferrable": "true"}, "True")])
def test_the_stacks_parameter_makes_sensors_defer(parameter: dict[str, str], told: str) -> None:
    for name in FUNCTIONS:
        variables = variables_of(name, **parameter)

        assert variables["AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"].capitalize() == told


def variables_of(name: str, **parameters: str) -> dict[str, str]:
    """What the template gives the function; of what another resource answers to, some text."""
    template = deployment.transform(ROOT, parameters)
    variables = template["Resources"][name]["Properties"]["Environment"]["Variables"]
    defaults = {
        name: str(declared.get("Default", "")) for name, declared in template["Parameters"].items()
    } | parameters
    told = {
        name: defaults.get(value.get("Ref", ""), "something") if isinstance(value, dict) else value
        for name, value in variables.items()
    }
    return told | {"AWS_DEFAULT_REGION": "us-east-1"}


def documented(page: str, who: str) -> set[str]:
    """The settings in the page's table whose second column names `who`."""
    rows = [line.split("|") for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("| `[")]
    return {row[1].strip(" `") for row in rows if who in row[2]}
