"""What tasks, triggers and callbacks find of the packages that their folder's requirements.txt gave. Children are real."""

import json
import sys
from pathlib import Path

import pytest

from gust.airflow_bridge.bundle import SealedBundleFolder, environments_of
from gust.airflow_bridge.connection_test import run_connection_test
from gust.model import bucket_keys
from gust.model.bundle import Bundle
from gust.model.connection import Connection
from gust.model.connection_test import ConnectionTestState
from gust.model.deployment import Manifest
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.services.settings.enqueue_connection_test import enqueue_connection_test, find_connection_test
from tests.unit.worker.whole import Whole

HEAD = "from airflow.sdk import DAG, task\nimport greeting\n"

TEAM = """{head}
with DAG('{dag}'):
    @task
    def greet():
        import subprocess, sys
        print('said', greeting.WORDS, [entry for entry in sys.path if 'environments' in entry] != [])
        print('said', subprocess.run(['greet'], capture_output=True, text=True, check=True).stdout.strip())
        print('said', subprocess.run([sys.executable, '-c', 'import greeting; print(greeting.WORDS)'],
                                     capture_output=True, text=True, check=True).stdout.strip())
    greet()
"""

PROVIDER = """
def get_provider_info():
    return {"package-name": "apache-airflow-providers-greeting", "name": "Greeting", "description": "Greets.",
            "versions": ["1.0"],
            "connection-types": [{"connection-type": "greeting", "hook-class-name":
                                  "airflow.providers.greeting.hooks.GreetingHook"}]}
"""

HOOK = """
from airflow.sdk import BaseHook
class GreetingHook(BaseHook):
    conn_name_attr, default_conn_name, conn_type, hook_name = "greeting_conn_id", "greeting", "greeting", "Greeting"
    def __init__(self, greeting_conn_id="greeting", **_):
        self.greeting_conn_id = greeting_conn_id
    def test_connection(self):
        return True, f"hello, {self.get_connection(self.greeting_conn_id).host}"
"""

DEFERS = """
from airflow.sdk import DAG, BaseOperator

class Waits(BaseOperator):
    def execute(self, context):
        from greeting_trigger import Greets
        self.defer(trigger=Greets(), method_name="resume")
    def resume(self, context, event):
        print("said", event)

with DAG("d", on_success_callback=lambda context: print("said called back", __import__("greeting_trigger").__name__)):
    Waits(task_id="t")
"""

TRIGGER = """
from airflow.triggers.base import BaseTrigger, TriggerEvent
class Greets(BaseTrigger):
    def serialize(self):
        return ("greeting_trigger.Greets", {})
    async def run(self):
        yield TriggerEvent("hello from an environment")
"""


def greeting(words: str) -> dict[str, str]:
    script = "#!/usr/bin/env python\nimport greeting\nprint('script', greeting.WORDS)\n"
    return {"greeting.py": f"WORDS = {words!r}\n", "bin/greet": script}


def provider() -> dict[str, str]:
    """The files of a provider with a hook that can be tested."""
    info = "apache_airflow_providers_greeting-1.0.dist-info"
    return {
        "airflow/providers/greeting/__init__.py": PROVIDER,
        "airflow/providers/greeting/hooks.py": HOOK,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: apache-airflow-providers-greeting\nVersion: 1.0\n",
        f"{info}/entry_points.txt": "[apache_airflow_provider]\n"
        "provider_info=airflow.providers.greeting:get_provider_info\n",
    }


def test_two_folders_have_each_its_own_version(whole: Whole) -> None:
    whole.environments = {"one": greeting("hello"), "two": greeting("hi")}
    files = {f"{folder}__etl": TEAM.format(head=HEAD, dag=folder) for folder in ("one", "two")}
    whole.upload(**files)

    for folder in ("one", "two"):
        assert whole.work(whole.trigger(folder)).state is DagRunState.SUCCESS

    said = whole.said("said ")
    assert said == ["hello True", "script hello", "hello", "hi True", "script hi", "hi"]
    assert "greeting" not in sys.modules
    assert not [entry for entry in sys.path if "environments" in entry]


def test_triggers_and_callbacks_have_them_too(whole: Whole) -> None:
    whole.environments = {"team": {"greeting_trigger.py": TRIGGER}}
    whole.upload(team__d=DEFERS)

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["hello from an environment", "called back greeting_trigger"]


def test_a_provider_in_it_is_one_of_airflows(whole: Whole) -> None:
    whole.environments = {"": provider()}
    whole.upload(
        d="from airflow.sdk import DAG, Connection, task\nfrom airflow.providers.greeting.hooks import GreetingHook\n"
        "with DAG('d'):\n"
        "    @task\n"
        "    def t():\n"
        "        print('said', type(Connection(conn_id='c', conn_type='greeting').get_hook()).__name__)\n"
        "    t()\n"
    )

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["GreetingHook"]


def test_an_archive_that_is_not_what_its_name_says_fails_the_try_with_its_reason(whole: Whole, tmp_path: Path) -> None:
    whole.environments = {"one": greeting("hello")}
    whole.upload(one__etl=TEAM.format(head=HEAD, dag="one"))
    other = whole.pack(greeting("evil"))
    name = environments_of(whole.bundles.fetch(str(whole.store.get_dag("one").bundle_version))).of_file("one/etl.py")
    whole.objects.put(bucket_keys.environment(name), whole.objects.get(bucket_keys.environment(other)))
    whole.bundles = SealedBundleFolder(whole.objects, tmp_path / "another-worker")
    key = whole.trigger("one")

    whole.work(key)

    assert whole.state(key, "greet") is S.FAILED
    [line] = [line["event"] for line in whole.log.lines if "cannot be unpacked" in str(line["event"])]
    assert line.startswith(f"Environment {name} (packages of requirements.txt) cannot be unpacked")


def test_what_a_task_changes_in_its_environment_is_not_there_for_the_next(whole: Whole, tmp_path: Path) -> None:
    whole.environments = {"": greeting("hello")}
    whole.upload(
        d="from airflow.sdk import DAG, task\nimport greeting\n"
        "with DAG('d'):\n"
        "    @task\n"
        "    def t():\n"
        "        print('said', greeting.WORDS)\n"
        "        open(greeting.__file__, 'w').write('WORDS = 1')\n"
        "    t()\n"
    )
    whole.bundles = SealedBundleFolder(whole.objects, tmp_path / "sealed")
    for run_id in ("r1", "r2"):
        assert whole.work(whole.trigger(run_id=run_id)).state is DagRunState.SUCCESS

    assert whole.said("said ") == ["hello", "hello"]


def test_variables_of_the_startup_script_are_in_the_environment_of_tasks(whole: Whole) -> None:
    whole.variables = {"STAGE": "test"}
    whole.upload(
        d="import os\nfrom airflow.sdk import DAG, task\n"
        "with DAG('d', tags=[os.environ['STAGE']]):\n"
        "    @task.bash\n"
        "    def t():\n"
        "        return 'echo said $STAGE'\n"
        "    t()\n"
    )

    assert whole.specs["d"].tags == ("test",)
    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["test"]


@pytest.mark.parametrize("folders", [("",), ("team",), ("", "team"), ("..",)])
def test_a_connection_is_tested_with_packages_of_a_folder_that_has_its_provider(
    whole: Whole, folders: tuple[str, ...]
) -> None:
    whole.environments = {"": greeting("hello"), "a": greeting("hi")} | {folder: provider() for folder in folders}
    if folders == ("..",):
        del whole.environments[""]
    whole.upload(d="from airflow.sdk import DAG\ndag = DAG('d')\n")
    version = str(whole.store.get_dag("d").bundle_version)
    bundle = Bundle(name="dags-folder", version=version, created_at=whole.clock.now())
    whole.store.activate_bundle(bundle, replacing=None)
    environments = environments_of(whole.bundles.fetch(version))
    manifest = Manifest(version=version, files={}, environments=environments)
    whole.objects.put(bucket_keys.manifest(version), manifest.model_dump_json().encode())
    forms = json.dumps([{"connection_type": "greeting"}]).encode()
    whole.objects.put(bucket_keys.connection_forms(environments.of[folders[0]]), forms)
    connection = Connection(conn_id="c", conn_type="greeting", host="moon")
    token = enqueue_connection_test(whole.services, connection).token

    [workload] = whole.queues.connection_tests
    run_connection_test(workload, whole.ports(900))

    test = find_connection_test(whole.services, token)
    assert (test.state, test.result_message) == (ConnectionTestState.SUCCESS, "hello, moon")


def test_a_task_knows_the_size_of_packages_that_not_every_worker_has_room_for(whole: Whole) -> None:
    whole.environments, whole.environment_size = {"team": greeting("hello")}, 2_040_000_000
    whole.upload(team__etl=TEAM.format(head=HEAD, dag="large"), d=TEAM.format(head=HEAD.splitlines()[0], dag="small"))

    sizes = {dag_id: spec.tasks["greet"].environment_size for dag_id, spec in whole.specs.items()}
    assert sizes == {"large": 2_100, "small": 0}
