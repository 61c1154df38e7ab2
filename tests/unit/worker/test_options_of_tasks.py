"""Airflow's options of a bundle, in the processes of its DAG files, tasks and triggers: also those that Airflow reads while
it is imported, which happens before a bundle is known."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseSensorOperator

from gust.airflow_bridge.sensors import tell_if_long
from gust.model.airflow_options import environment_of
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.variable import Variable
from gust.services.scheduler.advance import advance
from gust.services.settings.variables import set_variable
from tests.unit.worker.whole import Whole

ROOT = Path(__file__).parents[3]

DAG_FILE = """
import datetime
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, task, task_group

class Works(BaseOperator):
    def execute(self, context): pass

class Waits(BaseSensorOperator):
    def poke(self, context): return True

with DAG("d", start_date=datetime.datetime(2026, 7, 1), schedule="0 6 * * *") as dag:
    Works(task_id="plain")
    Works(task_id="named", retries=0, owner="me", retry_delay=datetime.timedelta(seconds=1), weight_rule="absolute")
    Works.partial(task_id="mapped").expand(doc=["a", "b"])
    Waits(task_id="waits")

    @task
    def decorated(): pass
    decorated()

    @task.bash
    def mapped_decorated(x): return x
    mapped_decorated.override(retries=1).expand(x=[1])
"""

OPTIONS = {
    "core.default_timezone": "Europe/Berlin",
    "core.default_task_retries": "2",
    "core.default_task_retry_delay": "17",
    "core.max_task_retry_delay": "60",
    "core.default_task_execution_timeout": "40",
    "core.default_task_weight_rule": "upstream",
    "core.max_active_tasks_per_dag": "7",
    "core.max_active_runs_per_dag": "3",
    "core.max_consecutive_failed_dag_runs_per_dag": "4",
    "operators.default_owner": "platform",
    "operators.default_queue": "default",
    "email.default_email_on_failure": "False",
    "email.default_email_on_retry": "False",
    "sensors.default_timeout": "120",
    "scheduler.catchup_by_default": "True",
    "scheduler.create_cron_data_intervals": "True",
    "dag_processor.disable_bundle_versioning": "True",
}

PLAIN = """
import json, sys
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=sys.argv[2], bundle_name="dags-folder", load_op_links=False)
assert not bag.import_errors, bag.import_errors
data = DagSerialization.to_dict(bag.dags["d"])
with open(sys.argv[3], "w") as out:
    json.dump([data, DagSerialization.from_dict(json.loads(json.dumps(data))).get_task("plain").retries], out)
"""


def of_plain_airflow(folder: Path, options: dict[str, str]) -> dict[str, Any]:
    """The serialized DAG of an Airflow that has the options in its environment, as it would from its airflow.cfg."""
    (folder / "d.py").write_text(DAG_FILE)
    environment = {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **environment_of(options),
    }
    program = [sys.executable, "-c", PLAIN, str(folder / "d.py"), str(folder), str(folder / "out.json")]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    assert done.returncode == 0, done.stderr[-3000:]
    data, retries = json.loads((folder / "out.json").read_text())
    assert retries == int(options.get("core.default_task_retries", 0))
    return comparable(data)


def comparable(data: dict[str, Any]) -> dict[str, Any]:
    for name in ("fileloc", "_processor_dags_folder", "relative_fileloc"):
        data["dag"].pop(name, None)
    for task in data["dag"]["tasks"]:
        task["__var"].pop("_task_module", None)
    data["dag"]["tasks"].sort(key=lambda task: task["__var"]["task_id"])
    return data


@pytest.mark.parametrize("options", [OPTIONS, {"core.default_task_retries": "3"}])
def test_a_dag_has_the_defaults_that_an_airflow_with_the_options_gives_it(
    whole: Whole, tmp_path: Path, options: dict[str, str]
) -> None:
    whole.options = options
    whole.upload(d=DAG_FILE)

    ours = json.loads(whole.objects.get(whole.serialized["d"]))
    assert comparable(ours) == of_plain_airflow(tmp_path, options)


def test_the_scheduler_sees_them_too(whole: Whole) -> None:
    whole.options = OPTIONS
    whole.upload(d=DAG_FILE)
    spec = whole.specs["d"]

    plain, named = spec.tasks["plain"], spec.tasks["named"]
    assert (plain.retries, plain.retry_delay, plain.execution_timeout, plain.owner) == (2, 17.0, 40.0, "platform")
    assert (named.retries, named.retry_delay, named.owner) == (0, 1.0, "me")
    assert spec.tasks["mapped"].retries == 2
    assert plain.max_retry_delay == 60.0
    assert (spec.max_active_runs, spec.max_active_tasks, spec.timetable.data["timezone"]) == (3, 7, "Europe/Berlin")


def test_options_of_one_bundle_are_none_of_the_next(whole: Whole) -> None:
    whole.options = OPTIONS
    whole.upload(d=DAG_FILE)
    whole.options = {}
    whole.upload(e=DAG_FILE.replace('DAG("d"', 'DAG("e"'))

    assert whole.specs["e"].tasks["plain"].retries == 0
    assert whole.specs["e"].timetable.data["timezone"] == "UTC"


TELLS = """
import datetime
from airflow.configuration import conf
from airflow.sdk import DAG, task
from airflow.sdk import timezone
from airflow.sdk.configuration import conf as of_sdk

with DAG("d"):
    @task
    def t():
        print("said", conf.get("mine", "greeting"), of_sdk.get("email", "from_email"))
        print("said", timezone.convert_to_utc(datetime.datetime(2026, 7, 1)).isoformat())
    t()
"""


def test_a_task_reads_options_and_those_of_a_section_of_ones_own(whole: Whole) -> None:
    whole.options = {
        "mine.greeting": "hello",
        "email.from_email": "a@example.com",
        "core.default_timezone": "Asia/Tokyo",
    }
    whole.upload(d=TELLS)

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["hello a@example.com", "2026-06-30T15:00:00+00:00"]


FILES = """
import json, os
from airflow.sdk.bases.xcom import BaseXCom

class Files(BaseXCom):
    FOLDER = os.environ["XCOM_FOLDER"]

    @classmethod
    def serialize_value(cls, value, *, key=None, task_id=None, dag_id=None, run_id=None, map_index=None):
        path = f"{cls.FOLDER}/{task_id}.json"
        with open(path, "w") as file:
            json.dump(value, file)
        return BaseXCom.serialize_value(f"file:{path}")

    @classmethod
    def deserialize_value(cls, result):
        with open(BaseXCom.deserialize_value(result).removeprefix("file:")) as file:
            return json.load(file)
"""

PASSES = """
from airflow.sdk import DAG, task

with DAG("d"):
    @task
    def gives(): return {"rows": 3}
    @task
    def takes(rows): print("said", rows)
    takes(gives())
"""


def test_a_custom_xcom_backend_of_the_plugins(whole: Whole, tmp_path: Path) -> None:
    whole.options = {"core.xcom_backend": "mine.files.Files"}
    whole.variables = {"XCOM_FOLDER": str(tmp_path)}
    whole.upload(d=PASSES, plugins__mine____init__="", plugins__mine__files=FILES)

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS, whole.log.text
    assert whole.said("said ") == ["{'rows': 3}"]
    assert json.loads((tmp_path / "gives.json").read_text()) == {"rows": 3}


def test_a_custom_xcom_backend_of_an_environment(whole: Whole, tmp_path: Path) -> None:
    whole.options = {"core.xcom_backend": "files_backend.Files"}
    whole.variables = {"XCOM_FOLDER": str(tmp_path)}
    whole.environments = {"": {"files_backend.py": FILES}}
    whole.upload(d=PASSES)

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS, whole.log.text
    assert (tmp_path / "gives.json").exists()


def test_a_class_that_is_not_there_fails_the_task_and_its_log_says_which(whole: Whole) -> None:
    whole.options = {"core.xcom_backend": "mine.missing.Files"}
    whole.upload(d=PASSES)
    run = whole.trigger()

    assert whole.work(run).state is DagRunState.FAILED
    assert whole.instance(run, "gives").state is S.FAILED
    assert "mine.missing.Files" in whole.log.text


def test_an_option_may_name_a_file_of_the_dag_folder_as_in_mwaa(whole: Whole) -> None:
    whole.options = {"mine.template": "/usr/local/airflow/dags/mails/failed.py"}
    reads = (
        TELLS.split("with DAG", maxsplit=1)[0]
        + """
with DAG("d"):
    @task
    def t():
        print("said", open(conf.get("mine", "template")).read())
    t()
"""
    )
    whole.upload(d=reads, mails__failed="# it failed")

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["# it failed"]


def test_names_of_secrets_are_masked_in_a_tasks_log(whole: Whole) -> None:
    whole.options = {"core.sensitive_var_conn_names": "pin_code"}
    set_variable(whole.services, Variable(key="pin_code", value="twelve-thirty"))
    whole.upload(
        d="from airflow.sdk import DAG, Variable, task\n"
        "with DAG('d'):\n    @task\n    def t():\n        print('said', Variable.get('pin_code'))\n    t()\n"
    )

    assert whole.work(whole.trigger()).state is DagRunState.SUCCESS
    assert whole.said("said ") == ["***"]


SENSORS = """
from airflow.sdk import DAG, BaseSensorOperator
from airflow.sdk.bases.sensor import poke_mode_only

class Waits(BaseSensorOperator):
    def poke(self, context):
        self.pokes = getattr(self, "pokes", 0) + 1
        return self.pokes > 1

@poke_mode_only
class Pokes(Waits):
    pass

with DAG("d"):
    Waits(task_id="seldom", poke_interval=0.2)
    Waits(task_id="often", poke_interval=0.1)
    Pokes(task_id="must", poke_interval=0.2)
    Waits.partial(task_id="mapped", poke_interval=0.2).expand(doc=["a"])
    Waits.partial(task_id="mapped_often", poke_interval=0.1).expand(doc=["a"])
    Waits.partial(task_id="mapped_each_often").expand(poke_interval=[0.1])
    Waits.partial(task_id="mapped_in_its_own_way").expand_kwargs([{"mode": "poke", "poke_interval": 0.1}])
    Waits.partial(task_id="mapped_to_poke", mode="poke", poke_interval=0.2).expand(doc=["a"])
"""


@pytest.mark.parametrize("option", ["", "0.2"])
def test_sensors_that_poke_at_long_intervals_give_their_worker_back_where_that_is_asked_for(
    whole: Whole, option: str
) -> None:
    whole.options = {"gust.reschedule_sensors_from": option} if option else {}
    whole.upload(d=SENSORS)
    key = whole.trigger()
    advance(whole.services, key)
    whole.run_tasks()

    waits = S.UP_FOR_RESCHEDULE if option else S.SUCCESS
    assert whole.state(key, "seldom") is waits
    assert {whole.state(key, "mapped", 0), whole.state(key, "mapped_to_poke", 0)} == {waits}
    often = ("mapped_often", "mapped_each_often", "mapped_in_its_own_way")
    assert {whole.state(key, "often"), whole.state(key, "must")} == {S.SUCCESS}
    assert {task: whole.state(key, task, 0) for task in often} == dict.fromkeys(often, S.SUCCESS)


def test_a_log_tells_for_how_long_a_sensor_has_held_its_worker() -> None:
    lines: list[dict[str, Any]] = []
    log = SimpleNamespace(info=lambda _, **told: lines.append(told))
    poking = BaseSensorOperator(task_id="t", dag=DAG("d"))
    tell_if_long(poking, 59.0, log)
    tell_if_long(BaseSensorOperator(task_id="u", dag=DAG("e"), mode="reschedule"), 300.2, log)
    tell_if_long(EmptyOperator(task_id="v", dag=DAG("f")), 300.2, log)
    assert lines == []
    tell_if_long(poking, 300.2, log)
    assert lines == [{"dag_id": "d", "seconds_poked": 300}]
