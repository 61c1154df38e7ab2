"""A task reads connections and variables that are in Secrets Manager or SSM: the execution API asks, never the task."""

import json

import pytest

from gust.airflow_bridge import secrets_backend
from gust.errors import Forbidden, ServiceUnavailable
from gust.model.connection import Connection
from gust.model.secrets_backend import PARAMETER_STORE, SECRETS_MANAGER, Kind, Service
from gust.model.state import DagRunState
from gust.model.variable import Variable
from gust.services.settings.connections import create_connection
from gust.services.settings.variables import set_variable
from tests.unit.worker.whole import Whole

READS = """
import os
from airflow.sdk import DAG, BaseHook, Variable, task

with DAG("d"):
    @task
    def t():
        conn = BaseHook.get_connection("warehouse")
        print("said", conn.conn_type, conn.host, conn.login, conn.port, conn.extra_dejson)
        print("said", Variable.get("greeting", default="none"))
    t()
"""


def with_backend(whole: Whole, backend: str = SECRETS_MANAGER, **kwargs: object) -> None:
    whole.options = {"secrets.backend": backend, "secrets.backend_kwargs": json.dumps(kwargs)}


def run(whole: Whole, **files: str) -> list[str]:
    whole.upload(**(files or {"d": READS}))
    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS, whole.log.text
    return whole.said("said ")


def test_a_connection_and_a_variable_come_from_secrets_manager(whole: Whole) -> None:
    with_backend(whole)
    whole.secrets.secrets = {
        (Service.SECRETS_MANAGER, "airflow/connections/warehouse"): "postgres://reader:pass-word@db:5432/?x=1",
        (Service.SECRETS_MANAGER, "airflow/variables/greeting"): "hello",
    }

    assert run(whole) == ["postgres db reader 5432 {'x': '1'}", "hello"]
    assert "pass-word" not in whole.log.text


def test_a_secret_with_fields_of_other_names(whole: Whole) -> None:
    with_backend(whole, connections_prefix="mine/", sep="/", extra_conn_words={"host": ["endpoint"]})
    secret = {
        "engine": "postgres",
        "endpoint": "db",
        "username": "reader",
        "pass": "x",
        "port": 5432,
        "extra": '{"x": 2}',
    }
    whole.secrets.secrets = {(Service.SECRETS_MANAGER, "mine/warehouse"): json.dumps(secret)}

    assert run(whole) == ["postgres db reader 5432 {'x': 2}", "none"]


def test_parameters_of_ssm(whole: Whole) -> None:
    with_backend(whole, PARAMETER_STORE, variables_prefix=None)
    whole.secrets.secrets = {(Service.PARAMETER_STORE, "/airflow/connections/warehouse"): "http://user@db:80"}

    assert run(whole) == ["http db user 80 {}", "none"]
    assert whole.secrets.asked == ["/airflow/connections/warehouse"]


def test_the_order_is_airflows(whole: Whole) -> None:
    """The backend, the environment, the stack's own."""
    with_backend(whole, variables_prefix="v")
    whole.variables = {
        "AIRFLOW_CONN_WAREHOUSE": "http://environment",
        "AIRFLOW_VAR_GREETING": "environment",
        "AIRFLOW_VAR_B": "b",
    }
    whole.secrets.secrets = {(Service.SECRETS_MANAGER, "v/greeting"): "backend"}
    create_connection(whole.services, Connection(conn_id="warehouse", conn_type="ftp", host="table"))
    for key in ("greeting", "b", "c"):
        set_variable(whole.services, Variable(key=key, value="table"))
    reads = READS.replace(
        'Variable.get("greeting", default="none")', '*(Variable.get(k) for k in ("greeting", "b", "c"))'
    )

    assert run(whole, d=reads) == ["http environment None None {}", "backend b table"]


@pytest.mark.parametrize(
    "error", [Forbidden("AccessDeniedException: no"), ServiceUnavailable("ThrottlingException: slow down")]
)
def test_a_refusal_is_a_line_of_the_log_and_the_next_place_is_asked(whole: Whole, error: Exception) -> None:
    with_backend(whole)
    whole.secrets.secrets = {
        (Service.SECRETS_MANAGER, f"airflow/{kind}/{name}"): error
        for kind, name in (("connections", "warehouse"), ("variables", "greeting"))
    }
    create_connection(whole.services, Connection(conn_id="warehouse", conn_type="ftp", host="table"))

    assert run(whole) == ["ftp table None None {}", "none"]
    (line,) = [
        line
        for line in whole.log.lines
        if line["event"] == "The secrets backend could not be asked" and "connections" in line["problem"]
    ]
    assert line["problem"] == f"airflow/connections/warehouse in secretsmanager: {error}"
    assert line["level"] == "warning"


def test_a_trigger_reads_secrets(whole: Whole) -> None:
    with_backend(whole)
    whole.secrets.secrets = {(Service.SECRETS_MANAGER, "airflow/connections/warehouse"): "http://db"}
    defers = """
from airflow.sdk import DAG, BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

class Asks(BaseTrigger):
    def serialize(self):
        return "d.Asks", {}
    async def run(self):
        from airflow.sdk.execution_time.context import _async_get_connection
        conn = await _async_get_connection("warehouse")
        yield TriggerEvent(conn.host)

class Defers(BaseOperator):
    def execute(self, context):
        self.defer(trigger=Asks(), method_name="resume")
    def resume(self, context, event):
        print("said", event)

with DAG("d"):
    Defers(task_id="t")
"""

    assert run(whole, d=defers) == ["db"]


def test_a_class_of_the_dag_folder_runs_in_the_tasks_process(whole: Whole) -> None:
    with_backend(whole, "mine.Backend", greeting="from a class")
    mine = """
import os
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend

class Backend(BaseSecretsBackend):
    def __init__(self, greeting):
        self.greeting = greeting
    def get_conn_value(self, conn_id, team_name=None):
        return "http://of-the-class"
    def get_variable(self, key, team_name=None):
        return self.greeting
"""

    assert run(whole, d=READS, plugins__mine=mine) == ["http of-the-class None None {}", "from a class"]
    assert whole.secrets.asked == []


def test_only_a_question_of_the_backend_is_one() -> None:
    assert secrets_backend.secret_of("\x1fsecret\x1fvariables/a/b") == (Kind.VARIABLE, "a/b")
    for key in ("greeting", "\x1fsecret\x1f../credentials", "\x1fsecret\x1fvariables", "\x1fsecret\x1f", "variables/a"):
        assert secrets_backend.secret_of(key) is None
