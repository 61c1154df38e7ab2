"""The environment of a user's code in our child processes: its own modules, an Airflow installation, and none of ours."""

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gust.airflow_bridge import commands, parse, surroundings
from gust.airflow_bridge.child import run_in_child
from gust.model.place import TASK_VARIABLES
from tests.environment import of_a_user

MEGABYTES = 1024 * 1024
OF_THE_USER = "WHOSE = 'the user'\n"
OURS = "WHOSE = 'ours'\n"


def test_a_child_knows_modules_that_came_after_its_parent_had_looked(tmp_path: Path) -> None:
    came = ModuleType("came_later")
    came.__file__ = str(tmp_path / "came_later.py")

    def seen() -> bytes:
        surroundings.look_at_modules()
        folders = (str(surroundings.HOME), str(tmp_path))
        before = dict(surroundings._modules_in(folders))
        sys.modules["came_later"] = came
        now = dict(surroundings._modules_in(folders))
        is_known = "gust" in before and now == {**before, "came_later": came.__file__}
        return b"knows" if is_known and "json" not in now else b"does not"

    assert run_in_child(seen, timeout=10, memory=100 * MEGABYTES).answer == b"knows"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    parse.ready()
    folder = tmp_path.resolve() / "bundle"
    folder.mkdir()
    return folder


def write(folder: Path, **files: str) -> Path:
    """Files by their paths without `.py`, in which `__` stands for `/`; a last part that is `__` for `__init__`."""
    for name, text in files.items():
        path = f"{name[:-4]}/__init__" if name.endswith("____") else name.replace("__", "/")
        file = folder / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def in_child(look: Callable[[], Any], bundle: Path, tmp_path: Path) -> Any:
    """What `look` answers in a child that has entered the bundle as those on Lambda do, from a door among its runtime."""
    task_root = write(tmp_path / "task", app=OURS, door_helper=OURS)
    runtime = write(
        tmp_path / "runtime", bootstrap=OURS, lambda_client____=OURS, lambda_client__app=OURS, only_the_runtimes=OURS
    )

    def work() -> bytes:
        os.environ |= {"LAMBDA_TASK_ROOT": str(task_root), "LAMBDA_RUNTIME_DIR": str(runtime), "GUST_BUCKET": "b"}
        sys.path[:] = [str(task_root), *sys.path, str(runtime)]
        for name in ("app", "bootstrap", "lambda_client.app"):
            importlib.import_module(name)
        with surroundings.workspace("test") as workspace:
            surroundings.enter(bundle, workspace)
            return json.dumps(look()).encode()

    ended = run_in_child(work, timeout=30, memory=512 * MEGABYTES)
    assert ended.answer is not None, ended.output
    return json.loads(ended.answer)


def whose(*names: str) -> dict[str, str]:
    return {name: importlib.import_module(name).WHOSE for name in names}


def test_a_users_modules_are_found_where_ours_have_their_names(bundle, tmp_path):
    names = ("app", "shared", "gust", "functions", "local", "bootstrap", "layers")
    write(bundle, **dict.fromkeys(names, OF_THE_USER))
    assert in_child(lambda: whose(*names), bundle, tmp_path) == dict.fromkeys(names, "the user")


def test_a_users_packages_are_found_where_ours_have_their_names(bundle, tmp_path):
    names = ("app", "gust", "bootstrap")
    for name in names:
        write(bundle, **{f"{name}____": OF_THE_USER, f"{name}__deep": OF_THE_USER})
    wanted = [*names, *(f"{name}.deep" for name in names)]
    assert in_child(lambda: whose(*wanted), bundle, tmp_path) == dict.fromkeys(wanted, "the user")


def test_modules_of_plugins_are_found_where_ours_have_their_names(bundle, tmp_path):
    write(bundle, plugins__app=OF_THE_USER, plugins__gust=OF_THE_USER)
    assert in_child(lambda: whose("app", "gust"), bundle, tmp_path) == {"app": "the user", "gust": "the user"}


def test_a_door_is_no_module_for_users(bundle, tmp_path):
    def look() -> list[str]:
        return [name for name in ("app", "door_helper") if importlib.util.find_spec(name)]

    assert in_child(look, bundle, tmp_path) == []


def test_what_the_user_does_not_have_stays(bundle, tmp_path):
    write(bundle, json="raise SystemError", airflow="raise SystemError")
    wanted = ("lambda_client.app", "only_the_runtimes")
    assert in_child(lambda: whose(*wanted), bundle, tmp_path) == dict.fromkeys(wanted, "ours")
    assert in_child(lambda: importlib.import_module("airflow").__version__, bundle, tmp_path)
    assert in_child(lambda: importlib.import_module("gust").__name__, bundle, tmp_path) == "gust"


def test_the_environment_is_an_airflow_installations(bundle, tmp_path, monkeypatch):
    for name in ("GUST_BUCKET", "POWERTOOLS_LOG_LEVEL", "AWS_RETRY_MODE", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AIRFLOW__CORE__HOSTNAME_CALLABLE", "gust.airflow_bridge.task_log.stream_name")
    monkeypatch.setenv("AIRFLOW_VAR_MINE", "stays")
    seen = in_child(lambda: dict(os.environ), bundle, tmp_path)
    assert not [name for name in seen if name.startswith(("GUST_", "POWERTOOLS_", "PYTHONPATH", "AWS_RETRY"))]
    assert "AIRFLOW__CORE__HOSTNAME_CALLABLE" not in seen
    assert seen["AIRFLOW_VAR_MINE"] == "stays"


def test_the_working_directory_is_empty_and_the_childs_own(bundle, tmp_path):
    first, second = (
        in_child(lambda: [os.getcwd(), os.listdir(), tempfile.gettempdir()], bundle, tmp_path) for _ in "12"
    )
    assert first[1] == second[1] == []
    assert first[0] == first[2] != second[0]


def test_python_and_airflow_on_the_path_are_those_that_run_the_task(bundle, tmp_path, monkeypatch):
    # As Airflow's supervisor leaves it for a task.
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    monkeypatch.setenv("AIRFLOW__CORE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")

    def look() -> list[str]:
        as_here = dict(os.environ)
        imported = output_of("python", "-c", "import airflow; print(airflow.__file__)", env=as_here)
        return [imported, output_of("airflow", "version", env=as_here)]

    import airflow

    path, version = in_child(look, bundle, tmp_path)
    assert path.strip() == airflow.__file__
    assert version.strip().endswith(airflow.__version__)


@pytest.mark.parametrize("level", [None, "0"])
def test_bash_reads_no_persons_bashrc(bundle, tmp_path, level):
    """As a task's stdin is, so is its commands': a socket, at which bash takes itself for a remote shell."""

    def look() -> str:
        (tmp_path / ".bashrc").write_text("echo read\n")
        os.environ.pop("SHLVL", None)
        if level is not None:
            os.environ["SHLVL"] = level
        os.environ["HOME"] = str(tmp_path)
        surroundings.enter(bundle, tmp_path)
        stdin, _ = socket.socketpair()
        os.dup2(stdin.fileno(), 0)
        return output_of("bash", "-c", "true", env=dict(os.environ))

    assert in_child(look, bundle, tmp_path) == ""


# --- of a DAG file ----------------------------------------------------------------------------------------------------


def parsed(bundle: Path, path: str) -> Any:
    from gust.aws.memory import MemoryObjects

    objects = MemoryObjects()
    outcome = parse.parse_file(objects, bundle, path, "dags-folder")
    assert outcome.import_errors == {}
    return outcome, {dag.dag_id: json.loads(objects.get(dag.serialized_key)) for dag in outcome.dags}


def test_a_dag_file_imports_its_own_app_and_gust(bundle):
    write(bundle, app__utils="ANSWER = 42", gust="ANSWER = 43")
    write(
        bundle,
        d="from airflow.sdk import DAG\nfrom app.utils import ANSWER\nimport gust\n"
        "dag = DAG(f'd{ANSWER}_{gust.ANSWER}', schedule='@daily')\n",
    )
    outcome, dags = parsed(bundle, "d.py")
    assert list(dags) == ["d42_43"]
    assert outcome.touched == ("app/utils.py", "gust.py")


def test_dags_folder_names_the_folder_that_holds_the_file(bundle):
    write(
        bundle,
        sub__d="""
from pathlib import Path
from airflow import settings
from airflow.configuration import conf
from airflow.sdk import DAG
from airflow.sdk.configuration import conf as sdk_conf

folders = {conf.get("core", "dags_folder"), sdk_conf.get("core", "dags_folder"), settings.DAGS_FOLDER}
assert len(folders) == 1
dag = DAG(Path(folders.pop(), "sub/name.txt").read_text(), description=settings.DAGS_FOLDER)
""",
    )
    (bundle / "sub/name.txt").write_text("named_by_a_file")
    outcome, dags = parsed(bundle, "sub/d.py")
    assert dags["named_by_a_file"]["dag"]["description"] == "/dags"
    assert outcome.touched == ("sub/name.txt",)


def test_a_relative_path_makes_no_new_version_at_each_parse(bundle):
    write(
        bundle,
        d="""
from airflow.sdk import DAG, ObjectStoragePath
dag = DAG("d", params={"into": str(ObjectStoragePath("file://results"))})
""",
    )
    (_, first), (_, second) = parsed(bundle, "d.py"), parsed(bundle, "d.py")
    assert first == second
    assert "file:///workspace/results" in json.dumps(first)


# --- Lambda's layer ---------------------------------------------------------------------------------------------------

BIN = Path(__file__).parents[3] / "layers/airflow/bin"


PYTHONS = ["python", "python3", "python3.12"]
"""The names that an interpreter has in a virtual environment. The amazon provider starts its maker of EKS tokens by the
last one."""


@pytest.mark.parametrize("command", PYTHONS)
def test_the_layers_python_has_the_layers_packages(tmp_path, command):
    assert run_command(tmp_path, command, "-c", "import airflow; print(airflow.NAME)") == "the layer's\n"


def test_the_layers_airflow_is_airflows_command(tmp_path):
    assert run_command(tmp_path, "airflow", "version", "-v") == "airflow was given ['version', '-v']\n"


@pytest.mark.parametrize("command", PYTHONS)
def test_an_environments_python_has_its_packages(tmp_path, command):
    commands.add_to(write(tmp_path, of_requirements="NAME = 'the environment\\'s'\n"))

    assert output_of(str(tmp_path / "bin" / command), "-c", "import of_requirements as it; print(it.NAME)") == (
        "the environment's\n"
    )


def run_command(opt: Path, *command: str) -> str:
    """A command of the layer, unpacked to `opt`, with this interpreter in the place of Lambda's."""
    shutil.copytree(BIN, opt / "bin")
    for file in (opt / "bin").iterdir():
        file.write_text(file.read_text().replace("/var/lang/bin/python3.12", sys.executable))
    package = write(opt / "python", airflow____='NAME = "the layer\'s"\n') / "airflow"
    (package / "__main__.py").write_text("import sys\nprint('airflow was given', sys.argv[1:])\n")
    return output_of(str(opt / "bin" / command[0]), *command[1:])


def output_of(*command: str, env: dict[str, str] | None = None) -> str:
    return subprocess.run(command, env=env or of_a_user(), check=True, capture_output=True, text=True).stdout  # noqa: S603


def test_tasks_of_a_local_stack_see_the_real_aws_where_they_shall(bundle: Path, tmp_path: Path) -> None:
    """The emulator's address and keys are our functions' alone then, and so is the session that holds them."""

    def look() -> Any:
        import boto3

        found = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "GUST_", "_MINI"))}
        credentials = boto3.Session().get_credentials()
        return [found, boto3.client("sts").meta.endpoint_url, credentials and credentials.access_key]

    credentials = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "of its endpoint"}

    def wired(variables: dict[str, str]) -> Callable[[], bytes]:
        def work() -> bytes:
            import boto3

            os.environ |= {
                "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
                "AWS_ACCESS_KEY_ID": "000000000000",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_LAMBDA_FUNCTION_NAME": "gust-worker",
                "_MINISTACK_INVOKE_DEPTH": "2",
                **variables,
            }
            boto3.client("s3")
            surroundings.enter(bundle, tmp_path, credentials=credentials)
            return json.dumps(look()).encode()

        return work

    own = {"AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}
    real = run_in_child(
        wired({surroundings.AWS_OF_TASKS: json.dumps(own | {"AWS_DEFAULT_REGION": "eu-west-1"})}),
        timeout=60,
        memory=512 * MEGABYTES,
    )
    assert real.answer is not None, real
    variables, endpoint, key = json.loads(real.answer)
    assert endpoint == "https://sts.eu-west-1.amazonaws.com"
    assert key == "AKIAREAL"
    assert variables.keys() - {"AWS_LAMBDA_FUNCTION_NAME"} == own.keys() | {"AWS_DEFAULT_REGION"}

    emulated = run_in_child(wired({}), timeout=60, memory=512 * MEGABYTES)
    assert emulated.answer is not None
    variables, endpoint, key = json.loads(emulated.answer)
    assert (endpoint, key) == ("http://127.0.0.1:1", None)
    assert "AWS_SECRET_ACCESS_KEY" not in variables
    assert variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == "of its endpoint"


def test_a_child_has_the_variables_that_its_dag_file_gives_to_a_container(bundle: Path, tmp_path: Path) -> None:
    def look() -> bytes:
        os.environ[TASK_VARIABLES] = json.dumps({"COLOUR": "blue"})
        surroundings.enter(bundle, tmp_path)
        return json.dumps([os.environ["COLOUR"], TASK_VARIABLES in os.environ]).encode()

    ended = run_in_child(look, timeout=60, memory=512 * MEGABYTES)
    assert ended.answer is not None, ended
    assert json.loads(ended.answer) == ["blue", False]


def test_one_connection_may_call_the_real_aws(tmp_path: Path) -> None:
    """As docs/local.md says: by its extra alone."""
    look = """
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
print("ENDPOINT", *(S3Hook(aws_conn_id=name).get_conn().meta.endpoint_url for name in ("real", "plain")))
"""
    extra = {"region_name": "eu-west-1", "config_kwargs": {"ignore_configured_endpoint_urls": True}}
    keys = {"conn_type": "aws", "login": "AKIAREAL", "password": "x"}
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AIRFLOW_CONN_REAL": json.dumps(keys | {"extra": extra}),
        "AIRFLOW_CONN_PLAIN": json.dumps(keys | {"extra": {"region_name": "eu-west-1"}}),
    }
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-c", look], env=environment, capture_output=True, text=True, check=True
    )
    assert "ENDPOINT https://s3.eu-west-1.amazonaws.com http://127.0.0.1:1" in told.stdout
