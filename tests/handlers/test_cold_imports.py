"""What a function's cold start leaves out, and that its collector is off meanwhile and on afterwards."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import pytest
from botocore.exceptions import UnknownServiceError
from botocore.loaders import Loader
from botocore.session import Session

from gust.aws import clients
from tests.environment import of_a_user

ROOT = Path(__file__).parents[2]
DOORS = sorted(path.parent.name for path in ROOT.glob("functions/*/app.py"))
LOOK = "import sys; import {}; print(*(name for name in {!r} if name in sys.modules))"


def left_in(module: str, unwanted: tuple[str, ...]) -> list[str]:
    """Those of the unwanted modules that an interpreter has which imports the module."""
    output = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", LOOK.format(module, unwanted)],
        env=of_a_user(PYTHONPATH=str(ROOT / "shared")),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return output.split()


def test_a_worker_imports_nothing_of_the_table() -> None:
    unwanted = ("gust.store", "gust.services", "gust.model.dag_spec", "jwt")
    assert left_in("gust.wiring", (*unwanted, "pydantic")) == []
    assert left_in("gust.airflow_bridge.preparers, gust.aws.queues", unwanted) == []


def test_a_triggerer_imports_no_database_models() -> None:
    """Nor a worker: tests/unit/worker/test_late.py."""
    start = "gust.airflow_bridge.warm as warm; warm.set_environment(); warm.import_once(warm.TRIGGER_MODULES)"
    assert left_in(start, ("sqlalchemy", "airflow.models", "airflow.serialization.serialized_objects")) == []


def test_the_control_plane_starts_without_what_few_invocations_need() -> None:
    assert left_in("gust.bootstrap", ("jwt", "cryptography.fernet", "jsonschema")) == []


@pytest.mark.parametrize("door", DOORS)
def test_a_door_collects_no_garbage_until_all_is_imported(door: str) -> None:
    code = (ROOT / "functions" / door / "app.py").read_text().split('"""', 2)[2]
    off, frozen = code.index("collector.disable_gc()"), re.search(r"^(collector\.freeze_gc|warm\.warm_up)", code, re.M)

    assert not re.search(r"^(import|from) (?!gust import|gust\.airflow_bridge import|typing)", code[:off], re.M)
    assert frozen
    assert frozen.start() > off


def test_clients_find_their_service_without_a_look_at_all_of_them() -> None:
    of_botocore, ours = Loader(), clients.loader_of(Session())

    for service in ("dynamodb", "lambda", "logs", "s3", "secretsmanager", "sqs", "ssm", "stepfunctions", "sts"):
        assert ours.load_service_model(service, "service-2") == of_botocore.load_service_model(service, "service-2")
    with pytest.raises(UnknownServiceError):
        ours.load_service_model("no-such-service", "service-2")


def test_clients_find_a_service_where_the_operator_says(tmp_path: Path) -> None:
    model = tmp_path / "shop/2026-03-01/service-2.json"
    model.parent.mkdir(parents=True)
    model.write_text('{"of": "the shop"}')
    of_botocore = Session()
    of_botocore.set_config_variable("data_path", str(tmp_path))
    assert clients.loader_of(of_botocore).load_service_model("shop", "service-2") == {"of": "the shop"}


def services_that_we_name() -> set[str]:
    """Without the commands': they run where the operator is, with the whole table."""
    files = (file for folder in ("shared", "functions") for file in (ROOT / folder).rglob("*.py"))
    sources = [file.read_text() for file in files if ROOT / "shared/gust/cli" not in file.parents]
    return {name for text in sources for name in re.findall(r"clients?(?:_in)?\(\s*\"([a-z0-9-]+)\"", text)}


def short_table(folder: Path) -> Path:
    """As the layer has it."""
    made, whole = folder / "ENDPOINTS", Path(Loader.BUILTIN_DATA_PATH) / "endpoints.json"
    subprocess.run(  # noqa: S603
        [sys.executable, ROOT / "layers/runtime/endpoints.py", whole, made], check=True, env=of_a_user()
    )
    return made


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
def test_a_short_table_of_endpoints_gives_the_same_clients(tmp_path: Path, region: str) -> None:
    services, found = services_that_we_name(), []
    for endpoints in (short_table(tmp_path), tmp_path / "none"):
        session = Session()
        session.register_component("data_loader", clients.loader_of(session, endpoints))
        made = {name: session.create_client(name, region, config=clients.CONFIG) for name in services}
        found.append({name: (each.meta.endpoint_url, each._request_signer.region_name) for name, each in made.items()})

    assert found[0] == found[1]
    assert len(services) > 8


def test_every_service_that_we_name_is_in_the_short_table(tmp_path: Path) -> None:
    """A client of any other would get the defaults of its partition."""
    names = {
        each
        for partition in json.loads(short_table(tmp_path).read_text())["partitions"]
        for each in partition["services"]
    }
    session = Session()
    prefixes = {session.get_service_model(name).endpoint_prefix for name in services_that_we_name()}
    assert prefixes - names == set()


def test_an_operators_own_table_of_endpoints_comes_first(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "endpoints.json").write_text('{"of": "the operator"}')
    session = Session()
    session.set_config_variable("data_path", str(tmp_path / "models"))
    loader = clients.loader_of(session, short_table(tmp_path))
    assert loader.load_data("endpoints") == {"of": "the operator"}


def test_what_was_read_ahead_about_a_service_is_not_read_again(tmp_path: Path) -> None:
    """The functions of the local stack are forks of a process that has read it."""
    clients.read_ahead(["sts"])
    read = {path for path in clients._READ if "/sts/" in path}
    assert len(read) == 2
    again = clients.loader_of(Session())
    assert again.load_data("sts/2011-06-15/service-2") is clients.loader_of(Session()).load_data(
        "sts/2011-06-15/service-2"
    )
    assert {path for path in clients._READ if "/sts/" in path} == read


def test_clients_are_made_one_at_a_time_and_each_once() -> None:
    """Threads meet at their first calls."""
    together = Barrier(2)
    made: list[int] = []
    met: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        with suppress(BrokenBarrierError):
            together.wait(0.1)
            met.append(number)
        return number

    stand_ins = [clients.MadeByFirstCall(partial(make, number)) for number in (1, 2)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda one: one.real, stand_ins * 4)) == [1, 2] * 4
    assert sorted(made) == [1, 2]
    assert met == []
