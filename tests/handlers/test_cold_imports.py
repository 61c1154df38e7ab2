"""What a function's cold start leaves out, and that its collector is off meanwhile and on afterwards."""

from __future__ import annotations

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
    assert left_in("gust.wiring", ("gust.store", "gust.services", "jwt", "pydantic")) == []


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
