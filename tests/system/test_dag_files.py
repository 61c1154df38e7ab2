"""Things that existing DAG files rely on: modules of any name, variables at their top, the folder's own place, the
commands on the PATH, and links that lead back to the stack. One stack, from the parser to tasks, callbacks and
triggers."""

import queue
import re
import socketserver
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import cast
from urllib.parse import quote

import pytest

from tests.system.local_gust import AnyAirflow, LocalGust

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

NAMES = ("app", "gust", "shared", "functions", "tests", "local", "layers", "benches", "examples", "bootstrap")
"""Of modules and folders that Gust runs on."""

IMPORTS = f"""
    from datetime import datetime
    from airflow.sdk import DAG, task
    from app.utils import ANSWER
    from mine import AtOnce, Deferring, note
    import {", ".join(NAMES)}

    assert all(module.WHOSE == "mine" for module in ({", ".join(NAMES)}))

    with DAG("imports_app", schedule=None, start_date=datetime(2026, 1, 1), on_success_callback=note) as dag:
        @task
        def answer():
            import os, sys, gust.deep
            print("answer", ANSWER, gust.deep.WHOSE, sorted(os.listdir()))
            print("ours", sorted(name for name in os.environ if name.startswith(("GUST_", "POWERTOOLS_", "PYTHONPATH"))))

        answer() >> Deferring(task_id="deferred")
"""

MINE = """
    from airflow.sdk import BaseOperator
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    class AtOnce(BaseTrigger):
        def serialize(self):
            return "mine.AtOnce", {}

        async def run(self):
            import app.utils, gust.deep
            yield TriggerEvent(f"{app.utils.ANSWER} {gust.deep.WHOSE}")

    class Deferring(BaseOperator):
        def execute(self, context):
            self.defer(trigger=AtOnce(), method_name="resumed")

        def resumed(self, context, event):
            print("the trigger found", event)

    def note(context):
        import app.utils, gust.deep
        from airflow.sdk import Variable
        Variable.set("called_back", f"{app.utils.ANSWER} {gust.deep.WHOSE}")
"""

VARIABLE = """
    from datetime import datetime
    from airflow.sdk import DAG, BaseHook, Variable, task

    GREETING = Variable.get("greeting")
    HOST = BaseHook.get_connection("warehouse").host
    with DAG("toplevel", schedule=None, start_date=datetime(2026, 1, 1), tags=[GREETING, HOST]):
        for table in Variable.get("tables", default=["a"], deserialize_json=True):
            @task(task_id=f"load_{table}")
            def load():
                print("loaded", GREETING, Variable.get("greeting"))
            load()
"""

FOLDER = """
    from pathlib import Path
    from airflow import settings
    from airflow.configuration import conf
    from airflow.sdk import DAG, task
    from airflow.providers.standard.operators.bash import BashOperator

    for way, folder in (("conf", conf.get("core", "dags_folder")), ("settings", settings.DAGS_FOLDER)):
        assert Path(folder, Path(__file__).name).exists(), folder
        with DAG(f"reads_dags_folder_{way}", schedule=None) as dag:
            BashOperator(task_id="python", bash_command="python -c 'import airflow, pendulum, boto3'")
            BashOperator(task_id="airflow", bash_command="airflow version")
        globals()[way] = dag
"""


IMPORTED = """
    from airflow.sdk import DAG, task

    HELPER = "shared"
    with DAG("imported_by_another", schedule=None):
        task(lambda: 1, task_id="one")()
"""

IMPORTING = """
    from airflow.sdk import DAG, task
    from imported_by_another import HELPER

    with DAG("imports_another", schedule=None):
        task(lambda: HELPER, task_id="two")()
"""

LINKS = """
    from datetime import datetime
    from airflow.configuration import conf
    from airflow.sdk import DAG, BaseOperator, Variable, task
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    class Tells(BaseTrigger):
        def serialize(self):
            return "mail_links.Tells", {}

        async def run(self):
            yield TriggerEvent(conf.get("api", "base_url"))

    class Deferring(BaseOperator):
        def execute(self, context):
            self.defer(trigger=Tells(), method_name="resumed")

        def resumed(self, context, event):
            print("the trigger's", event)

    def note(context):
        Variable.set("callbacks_base_url", conf.get("api", "base_url"))

    with DAG(
        "mail_links",
        schedule=None,
        start_date=datetime(2026, 1, 1),
        default_args={"email": ["oncall@example.org"], "email_on_failure": True},
        description=conf.get("api", "base_url"),
        on_failure_callback=note,
    ):
        @task
        def breaks(ti=None):
            print("log:", ti.log_url, "mark:", ti.mark_success_url)
            raise RuntimeError("disk full")

        Deferring(task_id="deferred") >> breaks()
"""


class Mailbox(socketserver.ThreadingTCPServer):
    """An SMTP server that keeps what it is sent."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.mails: queue.Queue[EmailMessage] = queue.Queue()


class Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.say("220 mailbox")
        for line in self.rfile:
            match line.decode().upper().split()[:1]:
                case ["DATA"]:
                    self.say("354 go on")
                    body = b"".join(iter(self.rfile.readline, b".\r\n"))
                    self.server.mails.put(cast("EmailMessage", message_from_bytes(body, policy=default)))
                    self.say("250 kept")
                case ["QUIT"]:
                    self.say("221 bye")
                    break
                case _:
                    self.say("250 fine")

    def say(self, what: str) -> None:
        self.wfile.write(f"{what}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def gust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGust]:
    home = tmp_path_factory.mktemp("dag-files")
    stack = LocalGust(home / "data", home / "dags")
    files = {f"{name}/__init__.py": "WHOSE = 'mine'\n" for name in NAMES} | {
        "app/utils.py": "ANSWER = 42\n",
        "gust/deep.py": "WHOSE = 'mine'\n",
        "mine.py": MINE,
        "imports_app.py": IMPORTS,
        "toplevel.py": VARIABLE,
        "reads_dags_folder.py": FOLDER,
        "imported_by_another.py": IMPORTED,
        "imports_another.py": IMPORTING,
        "mail_links.py": LINKS,
    }
    for path, text in files.items():
        AnyAirflow.upload(stack, path, text)  # there before the stack starts
    stack.start()
    yield stack
    stack.stop()


def test_a_folder_may_have_modules_of_any_name(gust: LocalGust) -> None:
    gust.await_dag("imports_app", within=180)
    run_id = gust.trigger("imports_app")
    gust.await_state("imports_app", run_id, "success")
    log = gust.await_log("imports_app", run_id, "answer", "ours []")
    assert "answer 42 mine []" in log
    assert "ours []" in log
    gust.await_log("imports_app", run_id, "deferred", "the trigger found 42 mine")
    assert gust.await_variable("called_back") == "42 mine"


def test_variables_and_connections_at_the_top_of_a_file(gust: LocalGust) -> None:
    gust.await_import_error("toplevel.py")
    gust.api.call("POST", "/api/v2/connections", body={"connection_id": "warehouse", "conn_type": "http", "host": "wh"})
    gust.api.call("POST", "/api/v2/variables", body={"key": "greeting", "value": "hello"})
    first = gust.await_dag("toplevel")
    assert {tag["name"] for tag in first["tags"]} == {"hello", "wh"}
    gust.await_no_import_error("toplevel.py")
    run_id = gust.trigger("toplevel")
    gust.await_state("toplevel", run_id, "success")
    gust.await_log("toplevel", run_id, "load_a", "loaded hello hello")

    gust.api.call("POST", "/api/v2/variables", body={"key": "tables", "value": '["x", "y"]'})
    gust.await_dag("toplevel", since=first["last_parsed_time"])
    tasks = gust.api.call("GET", "/api/v2/dags/toplevel/tasks")["tasks"]
    assert {each["task_id"] for each in tasks} == {"load_x", "load_y"}


def test_a_file_may_import_another_ones_dag(gust: LocalGust) -> None:
    gust.await_dag("imports_another", within=180)
    assert gust.await_dag("imported_by_another", within=180)["relative_fileloc"] == "imported_by_another.py"
    assert not [file for file in gust.import_errors() if "another" in file]


def test_a_file_finds_its_folder_and_a_task_python_and_airflow(gust: LocalGust) -> None:
    for dag_id in ("reads_dags_folder_conf", "reads_dags_folder_settings"):
        gust.await_dag(dag_id, within=180)
    run_id = gust.trigger("reads_dags_folder_conf")
    gust.await_state("reads_dags_folder_conf", run_id, "success")
    assert re.search(r"\n3\.\d+\.\d+", gust.await_log("reads_dags_folder_conf", run_id, "airflow", "return code 0"))


def test_links_lead_to_the_stack(gust: LocalGust, mailbox: Mailbox) -> None:
    connection = {
        "connection_id": "smtp_default",
        "conn_type": "smtp",
        "host": "127.0.0.1",
        "port": mailbox.server_address[1],
        "extra": '{"disable_ssl": true, "disable_tls": true, "from_email": "gust@example.org"}',
    }
    gust.api.call("POST", "/api/v2/connections", body=connection)
    assert gust.await_dag("mail_links")["description"] == gust.url
    run_id = gust.trigger("mail_links")
    gust.await_state("mail_links", run_id, "failed")
    page = f"{gust.url}/dags/mail_links/runs/{quote(run_id)}/tasks/breaks"

    gust.await_log("mail_links", run_id, "deferred", f"the trigger's {gust.url}")
    log, mark = re.findall(r"(?:log|mark): (\S+)", gust.await_log("mail_links", run_id, "breaks", "mark: "))
    assert log.startswith(f"{page}?try_number=1")
    assert mark.startswith(page)
    mail = mailbox.mails.get(timeout=60)
    assert mail["to"] == "oncall@example.org"
    links = re.findall(r'href="([^"]+)"', mail.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert any(link.startswith(page) for link in links), links
    assert "localhost:8080" not in mail.as_string()
    assert gust.await_variable("callbacks_base_url") == gust.url
