"""Packages that requirements.txt files ask for, on the local stack, from the package index."""

import shutil
from contextlib import suppress
from zipfile import ZipFile

import psutil
import pytest

from gust.model import bucket_keys
from gust.model.environment import Built
from tests.aws_like.holding import At, Held
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
    gust.await_no_import_error("packages_broken/requirements.txt", within=BUILDS_FOR)


def test_a_builder_that_dies_in_the_middle_of_an_upload_leaves_the_last_good_packages(gust: LocalGust) -> None:
    (gust.dags / "packages_dying").mkdir()
    file = "packages_dying/requirements.txt"
    gust.save(file, "toolz==0.12.0\n")
    gust.upload("packages_dying/etl.py", toolz_dag("packages_dying"))
    assert tags(gust, "packages_dying") == ["0.12.0"]
    kept = archives(gust)

    with uploading(gust) as first, uploading(gust) as second:
        gust.upload(file, "toolz==0.11.1\n")
        for upload in (first, second):  # the deployment asks a second builder
            upload.wait(BUILDS_FOR)
            builder_of(gust).kill()
        trace = gust.await_import_error(file, within=BUILDS_FOR)
    assert "The builder died at it" in trace
    assert archives(gust) == kept
    run_id = gust.trigger("packages_dying")
    gust.await_state("packages_dying", run_id, "success")
    gust.await_log("packages_dying", run_id, "tell", "installed 0.12.0 0.12.0")

    with uploading(gust) as upload:
        before = gust.await_dag("packages_dying")["last_parsed_time"]
        gust.upload(file, "toolz==0.11.1  # once more\n")
        upload.wait(BUILDS_FOR)
        builder_of(gust).kill()
    gust.await_dag("packages_dying", since=before, within=BUILDS_FOR)
    assert tags(gust, "packages_dying") == ["0.11.1"]
    gust.await_no_import_error(file)


def test_packages_too_large_for_lambda_take_their_task_to_fargate_and_a_corrupt_archive_fails_it(
    gust: LocalGust,
) -> None:
    (gust.dags / "packages_large").mkdir()
    kept = archives(gust)
    gust.save("packages_large/requirements.txt", "toolz==0.12.1\n")
    gust.upload("packages_large/etl.py", toolz_dag("packages_large"))
    assert tags(gust, "packages_large") == ["0.12.1"]
    objects = gust.services().objects
    (archive,) = archives(gust) - kept
    (built,) = [key for key in objects.list(bucket_keys.RECIPES) if archive.encode() in objects.get(key)]
    said = Built.model_validate_json(objects.get(built))
    objects.put(built, said.model_copy(update={"size": 1_250_000_000}).model_dump_json().encode())
    before = gust.await_dag("packages_large")["last_parsed_time"]
    gust.upload("packages_large/etl.py", toolz_dag("packages_large") + "# edited\n")
    gust.await_dag("packages_large", since=before)

    whole = objects.get(bucket_keys.environment(archive))
    objects.put(bucket_keys.environment(archive), whole[: len(whole) // 2])
    run_id = gust.trigger("packages_large")
    gust.await_state("packages_large", run_id, "queued", task="tell")
    path = f"/api/v2/dags/packages_large/dagRuns/{run_id}/taskInstances/tell"
    why = "the packages of its requirements.txt take 1300 MB, and Lambda workers have room for 819 MB."
    assert why in str(gust.api.call("GET", f"{path}/dependencies"))
    gust.await_state("packages_large", run_id, "failed")
    gust.await_log("packages_large", run_id, "tell", f"Environment {archive} (packages of requirements.txt) cannot be")

    objects.put(bucket_keys.environment(archive), whole)
    gust.api.call(
        "POST", "/api/v2/dags/packages_large/clearTaskInstances", body={"dag_run_id": run_id, "dry_run": False}
    )
    gust.await_state("packages_large", run_id, "success")
    log = gust.await_log("packages_large", run_id, "tell", "installed 0.12.1 0.12.1", try_number=2).splitlines()
    assert log[log.index("::endgroup::") + 1] == f"Runs on Fargate (1 vCPU, 2 GB): {why}"


def archives(gust: LocalGust) -> set[str]:
    """Hashes of the archives that the bucket has."""
    found = gust.services().objects.list(bucket_keys.ENVIRONMENTS)
    return {key.removeprefix(bucket_keys.ENVIRONMENTS).removesuffix(".zip") for key in found if key.endswith(".zip")}


def uploading(gust: LocalGust) -> Held:
    """The next upload of an archive, in its middle."""
    return gust.holding("PUT", f"*/{bucket_keys.ENVIRONMENTS}*.zip", at=At.UPLOAD)


def builder_of(gust: LocalGust) -> psutil.Process:
    """The builder's process that is at work; there is one at a time."""
    found = []
    for process in psutil.Process(gust.emulator).children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[0] == "gust-environment-builder":
                found.append(process)
    (builder,) = found
    return builder


PAINT = """
from airflow.plugins_manager import AirflowPlugin

def painted(colour):
    return f"all {colour}"

class Paint(AirflowPlugin):
    name = "paint"
    macros = [painted]
"""


def test_what_lies_beside_the_folder_holds_for_all_and_survives_a_restart(own_gust: LocalGust) -> None:
    if not answers("pandas", own_gust.dags):
        pytest.skip("the package index has no pandas")
    (own_gust.dags / "asked.txt").unlink()
    beside = own_gust.dags.parent
    (beside / "requirements.txt").write_text("pandas\n")
    (beside / "startup.sh").write_text("#!/bin/sh\nexport AIRFLOW_VAR_COLOUR=blue\n")
    with ZipFile(beside / "plugins.zip", "w") as plugins:
        plugins.writestr("paint.py", PAINT)
    (own_gust.dags / "frames.py").write_text(
        "from airflow.sdk import DAG, Variable, task\nimport pandas\n"
        "with DAG('frames', tags=[Variable.get('colour')]):\n"
        "    @task(templates_dict={'painted': '{{ macros.paint.painted(var.value.colour) }}'})\n"
        "    def paints(templates_dict=None):\n"
        "        print('painted', templates_dict['painted'])\n"
        "    paints()\n"
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
    assert tags(own_gust, "frames") == ["blue"]
    own_gust.await_log("frames", run_id, "paints", "painted all blue")
    own_gust.await_log("frames", run_id, "in_a_shell", "shell pandas")

    own_gust.stop()
    own_gust.start()

    run_id = own_gust.trigger("frames")
    own_gust.await_state("frames", run_id, "success", within=BUILDS_FOR)
    builder = own_gust.stack.logs / "gust-environment-builder.log"
    assert not builder.exists(), "it is built once"
    shutil.rmtree(own_gust.data / "tmp", ignore_errors=True)
