"""Packages that requirements.txt files ask for, on the local stack, from the package index."""

import shutil

import pytest

from tests.system.local_gust import LocalGust
from tests.system.package_index import answers

BUILDS_FOR = 180.0
"""Seconds that resolving, fetching and parsing may take together."""


@pytest.fixture(scope="module", autouse=True)
def _index(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not answers("toolz==1.0.0\nhumanize==4.9.0", tmp_path_factory.mktemp("index")):
        pytest.skip("no package index answers")


def toolz_dag(dag_id: str, *, waits_for: str = "") -> str:
    wait = (
        f"        while not Variable.get({waits_for!r}, default=None):\n            time.sleep(0.5)\n"
        if waits_for
        else ""
    )
    return (
        "import time\n"
        "from airflow.sdk import DAG, Variable, task\n"
        "import toolz\n"
        f"with DAG({dag_id!r}, tags=[toolz.__version__]):\n"
        "    @task\n"
        "    def tell():\n"
        "        print('imported', toolz.__version__)\n"
        f"{wait}"
        "        from toolz import itertoolz\n"
        "        import importlib.metadata\n"
        "        print('installed', importlib.metadata.version('toolz'), toolz.__version__)\n"
        "    tell()\n"
    )


def tags(gust: LocalGust, dag_id: str) -> list[str]:
    return [tag["name"] for tag in gust.await_dag(dag_id, within=BUILDS_FOR)["tags"]]


TRIGGERS = """
    import toolz
    from airflow.triggers.base import BaseTrigger, TriggerEvent
    from airflow.sdk import BaseOperator

    class Tells(BaseTrigger):
        def serialize(self):
            return f"{__name__}.Tells", {}

        async def run(self):
            yield TriggerEvent(toolz.__version__)

    class Defers(BaseOperator):
        def execute(self, context):
            self.defer(trigger=Tells(), method_name="resume")

        def resume(self, context, event):
            return event
"""


def test_two_folders_have_two_versions_of_one_package(gust: LocalGust) -> None:
    for folder, version in (("packages_old", "0.12.0"), ("packages_new", "1.0.0")):
        (gust.dags / folder).mkdir()
        (gust.dags / folder / "requirements.txt").write_text(f"toolz=={version}\n")
        gust.save(f"{folder}/triggers_of_{folder}.py", TRIGGERS)
        defers = f"    from {folder}.triggers_of_{folder} import Defers\n    Defers(task_id='defers')\n"
        gust.upload(f"{folder}/etl.py", toolz_dag(folder) + defers)

    for folder, version in (("packages_old", "0.12.0"), ("packages_new", "1.0.0")):
        assert tags(gust, folder) == [version]
        run_id = gust.trigger(folder)
        gust.await_state(folder, run_id, "success")
        gust.await_log(folder, run_id, "tell", f"installed {version} {version}")
        assert gust.xcom(folder, run_id, "defers") == version, "the triggerer has its packages, too"


def test_a_running_task_keeps_its_packages_while_they_are_upgraded(gust: LocalGust) -> None:
    (gust.dags / "packages_upgraded").mkdir()
    (gust.dags / "packages_upgraded/requirements.txt").write_text("toolz==0.12.0\n")
    gust.upload("packages_upgraded/etl.py", toolz_dag("packages_upgraded", waits_for="go_on"))
    assert tags(gust, "packages_upgraded") == ["0.12.0"]
    old = gust.trigger("packages_upgraded")
    gust.await_state("packages_upgraded", old, "running", task="tell")

    before = gust.await_dag("packages_upgraded")["last_parsed_time"]
    gust.upload("packages_upgraded/requirements.txt", "toolz==1.0.0\n")
    gust.await_dag("packages_upgraded", since=before, within=BUILDS_FOR)
    assert tags(gust, "packages_upgraded") == ["1.0.0"]
    new = gust.trigger("packages_upgraded")
    gust.await_state("packages_upgraded", new, "running", task="tell")
    gust.api.call("POST", "/api/v2/variables", body={"key": "go_on", "value": "yes"})

    for run_id, version in ((old, "0.12.0"), (new, "1.0.0")):
        gust.await_state("packages_upgraded", run_id, "success")
        gust.await_log("packages_upgraded", run_id, "tell", f"installed {version} {version}")


def test_a_broken_requirements_file_is_an_import_error_and_stops_nobody_else(gust: LocalGust) -> None:
    (gust.dags / "packages_broken").mkdir()
    (gust.dags / "packages_broken/requirements.txt").write_text("humanize==4.9.0\n")
    gust.upload(
        "packages_broken/etl.py",
        "from airflow.sdk import DAG, task\nimport humanize\n"
        "with DAG('packages_broken'):\n"
        "    @task\n"
        "    def tell():\n"
        "        print('said', humanize.intcomma(1234567))\n"
        "    tell()\n",
    )
    gust.await_dag("packages_broken", within=BUILDS_FOR)

    # Airflow's own packages stay where they are.
    gust.upload("packages_broken/requirements.txt", "humanize==4.9.0\napache-airflow==2.10.0\n")
    gust.upload("packages_other.py", "from airflow.sdk import DAG\ndag = DAG('packages_other')\n")
    trace = gust.await_import_error("packages_broken/requirements.txt", within=BUILDS_FOR)

    assert "apache-airflow==2.10.0" in trace
    assert "apache-airflow==3.3.2" in trace
    gust.await_dag("packages_other")
    run_id = gust.trigger("packages_broken")
    gust.await_state("packages_broken", run_id, "success")
    gust.await_log("packages_broken", run_id, "tell", "said 1,234,567")

    gust.upload("packages_broken/requirements.txt", "git+https://example.com/x.git\n")
    gust._await(
        lambda: "version control" in gust.import_errors().get("packages_broken/requirements.txt", "") or None,
        BUILDS_FOR,
        lambda: f"{gust.import_errors()}",
    )
    gust.upload("packages_broken/requirements.txt", "humanize==4.9.0\n")
    gust._await(
        lambda: "packages_broken/requirements.txt" not in gust.import_errors() or None,
        BUILDS_FOR,
        lambda: f"{gust.import_errors()}",
    )


def test_what_lies_beside_the_folder_holds_for_all_and_survives_a_restart(own_gust: LocalGust) -> None:
    if not answers("pandas", own_gust.dags):
        pytest.skip("the package index has no pandas")
    (own_gust.dags / "asked.txt").unlink()
    (own_gust.dags.parent / "requirements.txt").write_text("pandas\n")
    (own_gust.dags / "frames.py").write_text(
        "from airflow.sdk import DAG, task\nimport pandas\n"
        "with DAG('frames'):\n"
        "    @task\n"
        "    def total():\n"
        "        print('total', int(pandas.DataFrame({'a': [1, 2, 3]})['a'].sum()))\n"
        "    @task.bash\n"
        "    def in_a_shell():\n"
        "        return 'python -c \"import pandas; print(\\'shell\\', pandas.__name__)\"'\n"
        "    total() >> in_a_shell()\n"
    )
    own_gust.start()
    own_gust.await_dag("frames", within=BUILDS_FOR)
    run_id = own_gust.trigger("frames")
    own_gust.await_state("frames", run_id, "success", within=BUILDS_FOR)
    own_gust.await_log("frames", run_id, "total", "total 6")
    own_gust.await_log("frames", run_id, "in_a_shell", "shell pandas")

    own_gust.stop()
    own_gust.start()

    run_id = own_gust.trigger("frames")
    own_gust.await_state("frames", run_id, "success", within=BUILDS_FOR)
    builder = own_gust.stack.logs / "gust-environment-builder.log"
    assert not builder.exists(), "it is built once"
    shutil.rmtree(own_gust.data / "tmp", ignore_errors=True)
