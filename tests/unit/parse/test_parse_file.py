"""One file's outcome: DAGs, import errors as Airflow words them, and what it depends on."""

import json
import sys
import time
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

from gust.airflow_bridge import parse
from gust.aws.memory import MemoryObjects
from gust.model.deployment import FileOutcome

DAG = """
from airflow.sdk import DAG
with DAG("{dag_id}", schedule=None) as dag: ...
"""


class Bundle:
    """A folder being written, and its parse."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = MemoryObjects()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text))

    def parse(self, path: str) -> FileOutcome:
        return parse.parse_file(self.objects, self.folder, path, "dags-folder")

    def dag_ids(self, path: str) -> list[str]:
        outcome = self.parse(path)
        assert outcome.import_errors == {}
        return sorted(dag.dag_id for dag in outcome.dags)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path.resolve())


# --- what is a DAG file -----------------------------------------------------------------------------------------------


def test_several_dags_in_a_file(bundle):
    bundle.write("many.py", "from airflow.sdk import DAG\nfor n in range(3):\n    globals()[f'd{n}'] = DAG(f'd{n}')\n")
    assert bundle.dag_ids("many.py") == ["d0", "d1", "d2"]


def test_packages_and_helpers_beside_the_file(bundle):
    bundle.write("helper.py", "NAME = 'from_helper'")
    bundle.write("package/__init__.py", "")
    bundle.write("package/deep.py", "from helper import NAME")
    bundle.write("sub/folder/d.py", "from package.deep import NAME\nfrom airflow.sdk import DAG\ndag = DAG(NAME)\n")
    assert bundle.dag_ids("sub/folder/d.py") == ["from_helper"]
    assert bundle.parse("sub/folder/d.py").touched == ("helper.py", "package/__init__.py", "package/deep.py")


def test_a_file_that_mentions_no_dag_is_not_run(bundle):
    bundle.write("helper.py", "raise SystemError('run')")
    assert bundle.dag_ids("helper.py") == []


def test_ignored_files_are_not_run(bundle):
    bundle.write(".airflowignore", "broken_*.py\n")
    bundle.write("broken_1.py", "# airflow dag\n1/0")
    bundle.write("sub/.airflowignore", "skipped/\n")
    bundle.write("sub/skipped/d.py", "# airflow dag\n1/0")
    bundle.write("sub/kept.py", DAG.format(dag_id="kept"))
    assert bundle.dag_ids("broken_1.py") == bundle.dag_ids("sub/skipped/d.py") == []
    assert bundle.dag_ids("sub/kept.py") == ["kept"]


def test_a_zip_of_dags(bundle):
    with zipfile.ZipFile(bundle.folder / "packed.zip", "w") as archive:
        archive.writestr("one.py", DAG.format(dag_id="zipped") + "import packed_helper\n")
        archive.writestr("packed_helper.py", "")
        archive.writestr("broken.py", "# airflow dag\n1/0\n")
    outcome = bundle.parse("packed.zip")
    assert [dag.dag_id for dag in outcome.dags] == ["zipped"]
    assert bundle.objects.get(outcome.dags[0].source_key).decode().startswith(DAG.format(dag_id="zipped"))
    assert list(outcome.import_errors) == ["packed.zip/broken.py"]


def test_plugins_of_the_bundle_are_loaded(bundle):
    bundle.write(
        "plugins/my_timetable.py",
        """
        from airflow.plugins_manager import AirflowPlugin
        from airflow.timetables.interval import CronDataIntervalTimetable

        class Nightly(CronDataIntervalTimetable):
            def __init__(self): super().__init__("0 0 * * *", "UTC")
            def serialize(self): return {}
            @classmethod
            def deserialize(cls, data): return cls()

        class MyPlugin(AirflowPlugin):
            name = "mine"
            timetables = [Nightly]
        """,
    )
    bundle.write(
        "d.py", "from airflow.sdk import DAG\nfrom my_timetable import Nightly\ndag = DAG('d', schedule=Nightly())\n"
    )
    assert bundle.dag_ids("d.py") == ["d"]


def test_variables_and_connections_of_the_environment(bundle, monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_NAME", "from_environment")
    monkeypatch.setenv("AIRFLOW_CONN_DB", "postgres://db.example.com")
    bundle.write(
        "d.py",
        """
        from airflow.sdk import DAG, BaseHook, Variable
        dags = [
            DAG(Variable.get("name")),
            DAG(Variable.get("other", default="by_default")),
            DAG(BaseHook.get_connection("db").host),
        ]
        a, b, c = dags
        """,
    )
    assert bundle.dag_ids("d.py") == ["by_default", "db.example.com", "from_environment"]


def test_a_dag_knows_which_files_code_made_it(bundle):
    bundle.write("helper.py", "from airflow.sdk import DAG\nwith DAG('helper') as dag: pass\n")
    bundle.write("factory.py", "from airflow.sdk import DAG\ndef made(name): return DAG(name)\n")
    bundle.write(
        "d.py",
        "from airflow.sdk import DAG\nimport helper\nfrom factory import made\nmine, theirs = DAG('mine'), made('x')\n",
    )
    made_in = {dag.dag_id: dag.made_in for dag in bundle.parse("d.py").dags}
    assert made_in == {"mine": "d.py", "helper": "helper.py", "x": "factory.py"}
    assert [dag.made_in for dag in bundle.parse("helper.py").dags] == ["helper.py"]


def test_a_timetable_that_describes_itself_with_nothing(bundle):
    """Airflow answers an empty text, which the UI's lists do not leave out."""
    bundle.write(
        "d.py", "from datetime import timedelta\nfrom airflow.sdk import DAG\ndag = DAG('d', schedule=timedelta(1))"
    )
    (dag,) = bundle.parse("d.py").dags
    timetable = json.loads(bundle.objects.get(dag.spec_key))["timetable"]
    assert (timetable["summary"], timetable["description"]) == ("1 day, 0:00:00", "")


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_trace_shows_paths_of_the_bundle(bundle):
    bundle.write("sub/bad.py", "# airflow dag\nimport helper\n")
    bundle.write("helper.py", "\n\n1 / 0\n")
    trace = bundle.parse("sub/bad.py").import_errors["sub/bad.py"]
    assert trace.startswith("Traceback (most recent call last):")
    assert 'File "helper.py", line 3, in <module>' in trace
    assert trace.endswith("ZeroDivisionError: division by zero\n")
    assert str(bundle.folder) not in trace


@pytest.mark.parametrize(
    ("body", "said", "again"),
    [
        ("dag = (", "SyntaxError", False),
        ("raise SystemExit(3)", "SystemExit: 3", False),
        ("import os; os._exit(3)", "The process ended itself with exit code 3.", True),
        ("import os; os._exit(0)", "The process ended itself with exit code 0.", True),
        ("import os; os.kill(os.getpid(), 9)", "The process was ended by SIGKILL.", True),
        ("eaten = []\nwhile True: eaten.append(bytearray(10**7))", "MemoryError", False),
        ("while True: pass", "AirflowTaskTimeout", True),
        ("while True: print('y' * 10000)", "AirflowTaskTimeout", True),
    ],
    ids=["syntax", "SystemExit", "exits 3", "exits 0", "killed", "eats memory", "hangs", "floods"],
)
def test_a_file_that_fails_gives_an_import_error(bundle, monkeypatch, body, said, again):
    monkeypatch.setenv("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "3.0")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
    bundle.write("bad.py", f"# airflow dag\n{body}\n")
    outcome = bundle.parse("bad.py")
    assert said in outcome.import_errors["bad.py"]
    assert outcome.is_worth_another_try is again
    assert outcome.dags == ()


def test_one_dag_that_cannot_be_serialized_hides_no_other(bundle):
    bundle.write(
        "mixed.py",
        """
        from airflow.sdk import DAG
        from airflow.timetables.interval import CronDataIntervalTimetable
        class Unregistered(CronDataIntervalTimetable): ...
        good, bad = DAG("good"), DAG("bad", schedule=Unregistered("@daily", "UTC"))
        """,
    )
    outcome = bundle.parse("mixed.py")
    assert [dag.dag_id for dag in outcome.dags] == ["good"]
    assert "Unregistered' is not registered" in outcome.import_errors["mixed.py"]


def test_values_that_change_at_every_parse_are_warned_of(bundle):
    bundle.write(
        "now.py",
        "from datetime import datetime\nfrom airflow.sdk import DAG\ndag = DAG('d', start_date=datetime.now())\n",
    )
    outcome = bundle.parse("now.py")
    assert [warning.warning_type for warning in outcome.warnings] == ["runtime varying value"]
    assert "datetime.now()" in outcome.warnings[0].message


# --- what does not change ---------------------------------------------------------------------------------------------


def test_the_place_of_the_bundle_leaves_no_trace(tmp_path):
    """Each version of a bundle is extracted elsewhere; a DAG that did not change must not look changed."""
    text = """
        import os
        from airflow.providers.standard.operators.bash import BashOperator
        from airflow.sdk import DAG, task
        class Mine(BashOperator): ...
        with DAG("d", schedule=None, template_searchpath=os.path.dirname(__file__), doc_md=__file__):
            Mine(task_id="mine", bash_command=f"{os.path.dirname(__file__)}/run.sh ")
            @task
            def f(): ...
            f()
        """
    keys = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        bundle = Bundle((tmp_path / name).resolve())
        bundle.write("d.py", text)
        dag = bundle.parse("d.py").dags[0]
        keys.append((dag.serialized_key, dag.spec_key))
        serialized = bundle.objects.get(dag.serialized_key).decode()
        assert str(tmp_path) not in serialized
        assert "/dags/run.sh" in serialized
    assert keys[0] == keys[1]


# --- what decides -----------------------------------------------------------------------------------------------------


def touched(bundle, body: str) -> tuple[str, ...]:
    bundle.write("d.py", f"{body}\n{DAG.format(dag_id='d')}")
    return bundle.parse("d.py").touched


def test_a_file_that_is_read_decides(bundle):
    bundle.write("config/a.yaml", "a: 1")
    assert touched(bundle, "from pathlib import Path\n(Path(__file__).parent / 'config/a.yaml').read_text()") == (
        "config/a.yaml",
    )


def test_a_file_that_was_not_there_decides(bundle):
    assert touched(bundle, "import os\ntry: open(os.path.dirname(__file__) + '/a.json')\nexcept OSError: ...") == (
        "a.json",
    )


def test_a_listed_folder_decides(bundle):
    bundle.write("config/a.yaml", "a: 1")
    body = "from pathlib import Path\n[p.name for p in (Path(__file__).parent / 'config').glob('*.yaml')]"
    assert touched(bundle, body) == ("config/",)


def test_a_module_that_was_looked_for_in_vain_decides(bundle):
    assert touched(bundle, "try: import helper\nexcept ImportError: ...") == ("helper.py", "helper/")


def test_a_module_missing_in_a_package_decides(bundle):
    bundle.write("package/__init__.py", "")
    assert touched(bundle, "try: from package.later import x\nexcept ImportError: ...") == (
        "package/__init__.py",
        "package/later.py",
        "package/later/",
    )


def test_a_template_file_decides(bundle):
    bundle.write("query.sql", "select 1")
    body = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
class Query(BashOperator): template_ext = (".sql",)
with DAG("t", schedule=None): Query(task_id="q", bash_command="query.sql")
"""
    assert "query.sql" in touched(bundle, body)


def test_libraries_outside_the_bundle_do_not_decide(bundle):
    assert touched(bundle, "import json, wave, colorsys\nopen('/etc/hostname').read()") == ()


# --- what would harm the parent ---------------------------------------------------------------------------------------


def test_a_pattern_without_end_holds_up_the_file_that_it_is_matched_with_and_no_other(bundle, monkeypatch):
    bundle.write(".airflowignore", "*a*a*a*a*a*a*a*a*a*a*a*a*b\n")
    bundle.write("a" * 120 + ".py", DAG.format(dag_id="d"))
    bundle.write("good.py", DAG.format(dag_id="d"))
    assert bundle.dag_ids("good.py") == ["d"]
    monkeypatch.setenv("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "0.1")
    error = bundle.parse("a" * 120 + ".py").import_errors["a" * 120 + ".py"]
    assert "did not end within 10.1 seconds" in error
    assert "in is_dag_file" in error


def test_a_crash_in_native_code_ends_the_file_at_once(bundle, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT", "110")
    bundle.write("crash.py", "# airflow dag\nimport ctypes\nctypes.string_at(0)\n")
    started = time.monotonic()
    error = bundle.parse("crash.py").import_errors["crash.py"]
    assert "ended by SIGSEGV" in error
    assert "crash.py" in error
    assert time.monotonic() - started < 110, "for which a file that hangs is waited for"


@pytest.mark.parametrize(
    "answer",
    [b"[" * 100_000, b"{}", b'{"dags": 1}', b"\xff", b"1" * 10_000, b'{"dags": [], "import_errors": []}'],
    ids=["deep", "empty", "number", "no UTF-8", "digits", "list"],
)
def test_an_answer_that_the_file_wrote_itself_is_an_import_error(bundle, answer):
    bundle.write("forged.py", f"# airflow dag\nimport os\nos.write(4, {answer!r} + b'\\n\\0')\nos._exit(0)\n")
    assert "gave an answer that is none" in bundle.parse("forged.py").import_errors["forged.py"]


def test_a_tree_deeper_than_pythons_stack_is_removed(bundle, tmp_path):
    bundle.write(
        "deep.py",
        """
        # airflow dag
        import os
        for _ in range(2_000):
            os.mkdir("d")
            os.chdir("d")
        """,
    )
    assert bundle.parse("deep.py").dags == ()


def test_what_a_file_imports_of_airflow_is_there_for_the_next(bundle):
    bundle.write("a.py", f"import airflow.providers.standard.sensors.bash\n{DAG.format(dag_id='d')}")
    sys.modules.pop("airflow.providers.standard.sensors.bash", None)
    assert bundle.dag_ids("a.py") == ["d"]
    assert "airflow.providers.standard.sensors.bash" in sys.modules
