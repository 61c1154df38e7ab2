"""Variables and connections that DAG files ask for while they are parsed: the parser asks the execution API for them."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from aws_lambda_powertools.logging import Logger

from gust.airflow_bridge import parse
from gust.airflow_bridge.settings_reader import SettingsReader
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryObjects, MemoryQueues, MemorySecrets
from gust.aws.tokens import JwtTokens
from gust.errors import Forbidden, ServiceUnavailable
from gust.execution_api.app import ExecutionApi
from gust.model.connection import Connection
from gust.model.deployment import FileOutcome
from gust.model.environment import OPTIONS_FILE
from gust.model.secrets_backend import SECRETS_MANAGER, Service
from gust.model.variable import Variable
from gust.ports.clock import SystemClock
from gust.services.context import Services
from gust.services.settings.connections import create_connection
from gust.services.settings.options import keep_options
from gust.services.settings.settings_read import versions_now
from gust.services.settings.variables import find_variable, set_variable
from gust.store.memory import MemoryStore


@dataclass
class World:
    folder: Path
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    secrets: MemorySecrets = field(default_factory=MemorySecrets)
    asked: list[str] = field(default_factory=list)
    """Of the execution API."""
    is_unwell: bool = False

    def __post_init__(self) -> None:
        self.services = Services(
            store=MemoryStore(),
            objects=self.objects,
            queues=MemoryQueues(),
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=SystemClock(),
            logs=None,  # type: ignore[arg-type]
            cipher=FernetCipher(lambda: "a key of the stack"),
            secrets=self.secrets,
        )
        self.api = ExecutionApi(self.services, log=Logger(service=f"parse-{id(self)}", stream=io.StringIO()))
        self.token = self.services.tokens.for_parser(now=self.services.clock.now())
        self.reader = SettingsReader(self.invoke, self.objects, self.token)

    def invoke(self, event: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(event["rawPath"])
        if self.is_unwell:
            raise ServiceUnavailable("throttled")
        return self.api(event, None)

    def variable(self, key: str, value: str) -> None:
        set_variable(self.services, Variable(key=key, value=value))

    def parse(self, text: str) -> FileOutcome:
        (self.folder / "d.py").write_text(dedent(text))
        return parse.parse_file(self.objects, self.folder, "d.py", "dags-folder", self.reader.find)

    def dag_ids(self, text: str) -> list[str]:
        outcome = self.parse(text)
        assert outcome.import_errors == {}
        return sorted(dag.dag_id for dag in outcome.dags)


@pytest.fixture
def world(tmp_path: Path) -> World:
    folder = tmp_path.resolve() / "bundle"
    folder.mkdir()
    return World(folder)


def test_a_stored_variable_is_seen(world):
    world.variable("greeting", "hello")
    assert world.dag_ids("from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting'))") == ["hello"]


def test_airflows_older_variable_sees_it_too(world):
    world.variable("greeting", "hello")
    assert world.dag_ids("from airflow.models import Variable, DAG\ndag = DAG(Variable.get('greeting'))") == ["hello"]


def test_json_keys_with_odd_characters_and_keys_of_a_prefix(world):
    world.variable("tables", '["a", "b"]')
    world.variable("a/b %41#é?", "odd")
    text = """
        from airflow.sdk import DAG, Variable
        names = Variable.get("tables", deserialize_json=True) + [Variable.get("a/b %41#é?"), *Variable.keys(prefix="ta")]
        for name in names:
            globals()[name] = DAG(name)
        """
    assert world.dag_ids(text) == ["a", "b", "odd", "tables"]


def test_a_default_stands_in_for_what_is_not_stored_and_its_absence_is_remembered(world):
    text = "from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('tables', default='none'))"
    assert world.dag_ids(text) == ["none"]
    outcome = world.parse(text)
    assert outcome.settings == {"variables/tables": "-"} == versions_now(world.services.store, outcome.settings)


def test_what_is_not_stored_and_has_no_default_is_airflows_import_error(world):
    outcome = world.parse("from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting'))")
    assert outcome.import_errors["d.py"].endswith("VARIABLE_NOT_FOUND: {'message': 'Variable greeting not found'}\n")
    assert outcome.settings == {"variables/greeting": "-"}
    assert not outcome.is_worth_another_try


def test_a_stored_connection_is_seen(world):
    create_connection(
        world.services, Connection(conn_id="db", conn_type="postgres", host="db.example", password="s3cret!")
    )
    text = """
        from airflow.sdk import DAG, BaseHook, Connection
        dag = DAG(BaseHook.get_connection("db").host, description=Connection.get("db").get_uri().replace("/", "_"))
        """
    outcome = world.parse(text)
    assert [dag.dag_id for dag in outcome.dags] == ["db.example"]
    assert outcome.settings == versions_now(world.services.store, ["connections/db"])


def test_a_connection_that_is_not_there_is_airflows_import_error(world):
    outcome = world.parse("from airflow.sdk import DAG, BaseHook\ndag = DAG(BaseHook.get_connection('db').host)")
    assert outcome.import_errors["d.py"].endswith("The conn_id `db` isn't defined\n")
    assert outcome.settings == {"connections/db": "-"}


def test_the_environment_comes_first_and_is_not_asked_about(world, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_GREETING", "of_the_environment")
    world.variable("greeting", "stored")
    outcome = world.parse("from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting'))")
    assert [dag.dag_id for dag in outcome.dags] == ["of_the_environment"]
    assert (outcome.settings, world.asked) == ({}, [])


def test_one_batch_asks_for_each_once(world):
    world.variable("greeting", "hello")
    text = "from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting') + Variable.get('greeting'))"
    first, second = world.parse(text), world.parse(text)
    assert world.asked == ["/execution/variables/greeting"]
    assert first.settings == second.settings == versions_now(world.services.store, ["variables/greeting"])


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["Variable.set('greeting', 'mine')", "Variable.delete('greeting')"])
def test_a_file_changes_nothing_while_it_is_parsed(world, call):
    world.variable("greeting", "hello")
    outcome = world.parse(f"from airflow.sdk import DAG, Variable\n{call}\n")
    assert "PERMISSION_DENIED" in outcome.import_errors["d.py"]
    found = find_variable(world.services, "greeting")
    assert found is not None
    assert found.value == "hello"


def test_the_parsers_token_reads_variables_and_connections_and_nothing_else(world):
    from gust.execution_api.routes import ROUTES
    from gust.execution_api.routing import Access
    from gust.model.dispatch import Scope

    open_to_it = {(r.method, r.path) for r in ROUTES if r.access is not Access.OPEN and Scope.PARSE in r.scopes}
    assert open_to_it == {
        ("GET", "/variables/keys"),
        ("GET", "/variables/{variable_key:path}"),
        ("GET", "/connections/{connection_id}"),
        ("GET", "/gust/secrets/{kind}/{key:path}"),
    }


def test_with_a_tokens_time_up_the_last_good_version_stays(world):
    world.reader = SettingsReader(world.invoke, world.objects, "no token of ours")
    outcome = world.parse("from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting', default='x'))")
    assert outcome.dags == ()
    assert "variables/greeting could not be read" in outcome.import_errors["d.py"]
    assert outcome.is_worth_another_try


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_what_could_not_be_asked_is_no_absence(world):
    """A default in its place would make a DAG with other tasks, and say nothing."""
    world.is_unwell = True
    text = "from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting', default='x'))"
    outcome = world.parse(text)
    assert (outcome.dags, outcome.settings, outcome.is_worth_another_try) == ((), {}, True)
    assert "variables/greeting could not be read" in outcome.import_errors["d.py"]
    world.is_unwell = False
    assert world.dag_ids(text) == ["x"]


SECRETS = """
    from airflow.sdk import DAG, BaseHook, Variable
    shown = [Variable.get("greeting"), Variable.get("my_password"), BaseHook.get_connection("db").password]
    shown.append(Variable.get("service", deserialize_json=True)["api_key"])
    """


@pytest.mark.parametrize("end", ["raise ValueError(shown)", "import os; print(shown, flush=True); os._exit(1)"])
def test_secrets_are_masked_in_import_errors(world, end):
    world.variable("greeting", "good morning")
    world.variable("my_password", "pass-word-1")
    world.variable("service", json.dumps({"api_key": "key-of-service", "url": "https://example.com"}))
    create_connection(world.services, Connection(conn_id="db", conn_type="postgres", password="pass-word-2"))
    error = world.parse(dedent(SECRETS) + end).import_errors["d.py"]
    assert "['good morning', '***', '***', '***']" in error
    assert "pass-word" not in error


@pytest.mark.parametrize(
    "talk",
    [
        "os.write(3, b'x' * 1_000_000)",
        "os.write(3, b'no json\\n')",
        "os.write(3, b'[' * 15_000 + b'\\n')",
        'os.write(3, b\'{"variable": "\\\\ud800"}\\n\')',
        'os.write(3, b\'{"table": "all of it"}\\n\' * 1000)',
        "os.close(3)",
        "socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)",
    ],
)
def test_a_file_that_talks_to_the_parser_itself_harms_itself_alone(world, talk):
    text = f"import os, socket\nfrom airflow.sdk import DAG\ntry:\n    {talk}\nexcept OSError: pass\ndag = DAG('d')\n"
    assert world.dag_ids(text) == ["d"]
    assert world.dag_ids("from airflow.sdk import DAG\ndag = DAG('next')") == ["next"]


@pytest.mark.parametrize(
    "key",
    [
        "keys",  # a path of its own at the execution API, as at Airflow's
        "..",
        "../variables/greeting",
        "\x1fsecret\x1f../credentials",
        "\x1fsecret\x1f../../variables/greeting",
        "\x1fsecret\x1fvariables/..",
        "\x1fsecret\x1fvariables/a/b",
        "\x1fsecret\x1fgreeting",
        "\0",
        "\ud800",
        "é" * 7_000,
    ],
)
def test_a_key_that_leads_elsewhere_finds_nothing(world, key):
    world.variable("greeting", "hello")
    text = f"from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get({key!r}, default='none'))"
    assert world.dag_ids(text) == ["none"]
    assert world.dag_ids("from airflow.sdk import DAG, Variable\ndag = DAG(Variable.get('greeting'))") == ["hello"]


@pytest.mark.parametrize(
    "asked",
    [
        {"secret": "/gust/secrets/../../variables/greeting"},
        {"secret": "x", "kind": "../../variables/greeting?"},
        {"secret": "../greeting", "kind": "variables"},
    ],
)
def test_a_file_that_asks_for_a_path_itself_gets_no_other_answer(world, asked):
    world.variable("greeting", "hello")
    question = json.dumps(asked).encode() + b"\n"
    text = f"import os\nfrom airflow.sdk import DAG\nos.write(3, {question!r})\ndag = DAG('d', doc_md=str(os.read(3, 999)))"
    assert world.dag_ids(text) == ["d"]
    assert not any("variables/greeting" in path for path in world.asked)


def test_a_file_that_asks_for_more_than_can_be_remembered_is_answered(world):
    text = """
        from airflow.sdk import DAG, Variable
        found = [Variable.get(f"{n:0>200}", default="x") for n in range(400)]
        dag = DAG("".join(sorted(set(found))))
        """
    outcome = world.parse(text)
    assert [dag.dag_id for dag in outcome.dags] == ["x"]
    assert 80 < len(outcome.settings) < 110


def test_a_big_value_comes_whole(world):
    world.variable("big", "x" * 350_000)
    assert world.dag_ids("from airflow.sdk import DAG, Variable\ndag = DAG(f\"d{len(Variable.get('big'))}\")") == [
        "d350000"
    ]


# --- a secrets backend ------------------------------------------------------------------------------------------------

READS_SECRETS = """
from airflow.sdk import DAG, BaseHook, Variable
dag = DAG(Variable.get("greeting", default="none"), tags=[BaseHook.get_connection("warehouse").host])
"""


@pytest.fixture
def backed(world: World) -> World:
    options = {"secrets.backend": SECRETS_MANAGER}
    keep_options(world.services.store, options)
    file = world.folder / OPTIONS_FILE
    file.parent.mkdir()
    file.write_text(json.dumps(options))
    create_connection(world.services, Connection(conn_id="warehouse", conn_type="http", host="table"))
    return world


def has(world: World, kind: str, key: str, found: str | Exception) -> None:
    world.secrets.secrets[Service.SECRETS_MANAGER, f"airflow/{kind}/{key}"] = found


def test_a_dag_file_reads_secrets_of_the_backend_first(backed):
    has(backed, "variables", "greeting", "hello")
    has(backed, "connections", "warehouse", "http://user:pass-word@backend")
    outcome = backed.parse(READS_SECRETS + "raise ValueError('the text is pass-word')")
    assert "pass-word" not in outcome.import_errors["d.py"]

    outcome = backed.parse(READS_SECRETS)
    assert [dag.dag_id for dag in outcome.dags] == ["hello"]
    # No event tells of a secret's change.
    assert outcome.settings == {}


def test_a_dag_file_reads_the_table_where_the_backend_has_nothing_or_refuses(backed):
    has(backed, "connections", "warehouse", Forbidden("AccessDeniedException"))
    backed.variable("greeting", "of_the_table")
    assert backed.dag_ids(READS_SECRETS) == ["of_the_table"]


def test_a_dag_file_is_not_parsed_without_a_secret_that_cannot_be_read_just_now(backed):
    has(backed, "variables", "greeting", ServiceUnavailable("ThrottlingException: slow down"))
    outcome = backed.parse(READS_SECRETS)
    assert outcome.dags == ()
    assert "A secret could not be read: airflow/variables/greeting in secretsmanager" in outcome.import_errors["d.py"]
