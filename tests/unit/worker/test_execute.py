"""One try, run by Airflow's own supervisor in a forked child, against a control plane in this process."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import psutil
import pytest

from gust.airflow_bridge import orphans
from gust.airflow_bridge.supervisor import STOP_BEFORE_LIMIT
from gust.airflow_bridge.task_log import stream_name
from gust.aws.logs import END_MARK, TRY
from gust.errors import StaleTaskInstance
from tests.environment import of_a_user
from tests.unit.worker.control_plane import ControlPlane, Site

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Run = Callable[..., int]


def dag(body: str, top: str = "") -> str:
    """A file with one TaskFlow task `t` of DAG `d`."""
    indented = "\n".join(f"        {line}" for line in body.strip().splitlines())
    return f"""
from airflow.sdk import dag, task
{top}
@dag(schedule=None)
def d():
    @task
    def t():
{indented}
    t()
d()
"""


def test_a_task_runs_and_its_end_is_reported_once(run: Run, site: Site) -> None:
    exit_code = run(dag("print('hello from the task')\nreturn {'rows': 42}"))

    assert exit_code == 0
    assert site.control_plane.reported == ["success"]
    assert site.control_plane.returned == {"rows": 42}
    (start,) = site.control_plane.asked("run")
    assert start.body["hostname"] == stream_name()


def test_loggers_know_the_levels_that_airflow_has_given_them(run: Run, site: Site) -> None:
    """A child's loggers forget once what they knew before, not at each of the levels that are set."""
    body = """
import logging
manager = logging.root.manager
known = {name: dict(each._cache) for name, each in manager.loggerDict.items() if isinstance(each, logging.Logger)}
manager._clear_cache()
wrong = [name for name, levels in known.items()
         if any(logging.getLogger(name).isEnabledFor(level) != was for level, was in levels.items())]
print("wrong:", wrong, "hidden:", "_clear_cache" in vars(manager))
"""
    run(dag(body))

    assert site.log.has("wrong: [] hidden: False")


def test_a_task_writes_no_file_of_airflows_own(run: Run, site: Site) -> None:
    """Airflow would note when the bundle was used last, and hold a lock meanwhile: three files for each try."""
    body = """
from airflow.dag_processing.bundles.base import get_bundle_tracking_file
from airflow.sdk import get_current_context
ti = get_current_context()["ti"]
print("tracked:", get_bundle_tracking_file(ti.bundle_instance.name, ti.bundle_instance.version).exists())
"""
    run(dag(body))

    assert site.log.has("tracked: False")


def test_every_line_of_the_log_is_structured_and_names_its_try(run: Run, site: Site) -> None:
    run(dag("print('to stdout')\nimport logging; logging.getLogger('mine').warning('to the logger')"))

    ti_id = site.control_plane.requests[0].path.split("/")[1]
    assert {line[TRY] for line in site.log.lines} == {ti_id}
    assert all({"timestamp", "level", "event"} <= line.keys() for line in site.log.lines)
    (printed,) = [line for line in site.log.lines if line["event"] == "to stdout"]
    assert printed["logger"] == "task.stdout"
    (logged,) = [line for line in site.log.lines if line["event"] == "to the logger"]
    assert (logged["logger"], logged["level"]) == ("mine", "warning")
    assert site.log.ends == [(ti_id, 3)]


FORGES = f"""
import structlog
log = structlog.get_logger("task")
log.info("forged", {TRY}="of-another-try", ti_id="of-another-try")
log.info("the end?", {END_MARK}=3)
print('{{"event": "printed", "{TRY}": "of-another-try"}}')
print("this must still be shown")
"""


def test_a_task_writes_into_no_log_but_its_own_and_does_not_end_it(run: Run, site: Site) -> None:
    run(dag(FORGES))

    ti_id = site.control_plane.requests[0].path.split("/")[1]
    assert {line[TRY] for line in site.log.lines} == {ti_id}
    assert not any(END_MARK in line for line in site.log.lines)
    assert site.log.has("forged")
    assert site.log.has("this must still be shown")


def test_the_log_up_to_the_end_is_there_when_the_end_is_reported(run: Run, site: Site) -> None:
    """The child's lines and its requests come through different sockets."""
    seen: list[bool] = []
    answer = site.control_plane.__call__

    class Watching(ControlPlane):
        def __call__(self, event: dict) -> dict:
            if event["rawPath"].endswith("/state"):
                seen.append(site.log.has("line 499") and site.log.has("printed 499"))
            return answer(event)

    site.control_plane = Watching()
    run(
        dag(
            "import logging\n"
            "for n in range(500):\n"
            "    logging.getLogger('x').info('line %s', n)\n"
            "    print('printed', n)"
        )
    )

    assert seen == [True]


@pytest.mark.parametrize("arrives", ["before", "after"])
def test_a_container_that_is_stopped_while_it_reports_reports_that_end_alone(
    run: Run, site: Site, arrives: str
) -> None:
    """StopTask comes while the execution API has the report, before or after it is written."""
    answer = site.control_plane.__call__

    class Stopping(ControlPlane):
        def __call__(self, event: dict) -> dict:
            is_report = event["rawPath"].endswith("/state")
            if is_report and arrives == "before":
                os.kill(os.getpid(), signal.SIGTERM)
            answered = answer(event)
            if is_report and arrives == "after":
                os.kill(os.getpid(), signal.SIGTERM)
            return answered

    before, first = signal.getsignal(signal.SIGTERM), site.control_plane
    site.control_plane = Stopping()
    try:
        run(dag("return 1"))
    finally:
        signal.signal(signal.SIGTERM, before)

    assert first.reported == ["success"]


def test_a_short_task_ends_at_once_and_needs_no_heartbeat(run: Run, site: Site) -> None:
    """Airflow's supervisor now and then waits for one more heartbeat interval (20 s) after the child has gone."""
    for _ in range(5):
        started = time.monotonic()
        run(dag("return 1"))
        assert time.monotonic() - started < 20

    assert site.control_plane.asked("heartbeat") == []


@pytest.fixture
def no_faulthandler() -> Iterator[None]:
    """pytest enables the interpreter's fault handler, which hides what happens in a process that has none."""
    faulthandler.disable()
    yield
    faulthandler.enable(sys.__stderr__)


@pytest.mark.usefixtures("no_faulthandler")
@pytest.mark.parametrize(
    "death",
    [
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os; os._exit(7)",
        "import os; os._exit(0)",
        "import ctypes; ctypes.string_at(0)",
    ],
    ids=["killed", "exit 7", "exit 0", "segmentation fault"],
)
@pytest.mark.parametrize("should_retry", [True, False])
def test_a_child_that_dies_without_a_word_loses_its_try_once(
    run: Run, site: Site, death: str, should_retry: bool
) -> None:
    """The control plane knows whether another try follows, and has the callbacks run that died with the child."""
    site.control_plane.should_retry = should_retry

    run(dag(death))

    assert site.control_plane.reported == ["lost"]
    [lost] = site.control_plane.asked("lost")
    assert "ended without reporting a state" in lost.body["reason"]


@pytest.mark.parametrize(("should_retry", "state"), [(True, "up_for_retry"), (False, "failed")])
def test_an_exception_fails_the_try_with_its_trace(run: Run, site: Site, should_retry: bool, state: str) -> None:
    site.control_plane.should_retry = should_retry

    run(dag("raise ValueError('no such column: price')"))

    assert site.control_plane.reported == [state]
    assert "no such column: price" in site.log.text


def test_a_skipped_task_stays_skipped_where_its_callback_kills_the_process(run: Run, site: Site) -> None:
    site.control_plane.should_retry = True

    run(
        dag(
            "raise AirflowSkipException('not today')",
            top="import os\nfrom airflow.sdk.exceptions import AirflowSkipException",
        ).replace("@task\n", "@task(on_skipped_callback=lambda context: os._exit(3))\n")
    )

    assert site.control_plane.reported == ["skipped"]


def test_a_file_that_cannot_be_imported_fails_the_try_and_says_why(run: Run, site: Site) -> None:
    run(dag("return 1", top="import no_such_library"))

    assert site.control_plane.reported == ["lost"]
    assert "No module named 'no_such_library'" in site.log.text


def test_a_dag_that_the_file_does_not_hold_fails_the_try(run: Run, site: Site) -> None:
    run(dag("return 1"), dag_id="another")

    assert site.control_plane.reported == ["lost"]
    assert site.log.has("Dag not found")


@pytest.mark.parametrize(("should_retry", "state"), [(True, "up_for_retry"), (False, "failed")])
def test_a_missing_bundle_fails_the_try_and_says_so(site: Site, should_retry: bool, state: str) -> None:
    site.control_plane.should_retry = should_retry

    site.run("no-such-version")

    assert site.control_plane.reported == [state]
    assert site.log.has("no-such-version")
    assert len(site.log.ends) == 1


def test_a_broken_bundle_fails_the_try(site: Site) -> None:
    site.objects.put("bundles/broken.zip", b"this is no archive")

    site.run("broken")

    assert site.control_plane.reported == ["failed"]


def test_a_bundle_that_no_disk_takes_fails_the_try_by_its_retry_rules(site: Site) -> None:
    site.control_plane.should_retry = True
    body = BytesIO()
    with ZipFile(body, "w") as archive:
        archive.writestr("n" * 300 + ".py", "")
    site.objects.put("bundles/long.zip", body.getvalue())

    site.run("long")

    assert site.control_plane.reported == ["up_for_retry"]
    assert site.log.has("Version long of the DAGs cannot be unpacked: OSError")


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_dispatch_that_is_no_longer_wanted_is_dropped(run: Run, site: Site, status: int) -> None:
    site.control_plane.refusals["run"] = [status]

    with pytest.raises(StaleTaskInstance):
        run(dag("return 1"))

    assert [request.path.rsplit("/", 1)[-1] for request in site.control_plane.requests] == ["run"]
    # The dispatch that is wanted writes the log of this try: nothing of ours may stand in it, nor end it.
    assert (site.log.lines, site.log.ends) == ([], [])


def test_an_end_that_somebody_else_wrote_already_is_not_argued_about(run: Run, site: Site) -> None:
    site.control_plane.refusals["state"] = [409]

    run(dag("return 1"))

    assert site.control_plane.reported == ["success", "lost"], "what it was cleared for waits until it is gone"
    assert site.log.has("its dispatch has already ended")


def test_a_report_that_fails_for_a_moment_is_repeated(run: Run, site: Site) -> None:
    site.control_plane.refusals["state"] = [503]

    run(dag("return 1"))

    assert site.control_plane.reported == ["success", "success"]


def test_shortly_before_the_functions_end_the_task_is_stopped_and_fails(site: Site, run: Run) -> None:
    run(
        """
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
with DAG("d", schedule=None):
    BashOperator(task_id="t", bash_command="echo begun; sleep 600")
""",
        remaining=STOP_BEFORE_LIMIT + 10,
    )

    assert site.control_plane.reported == ["failed"], site.log.text
    assert site.log.has("begun"), site.log.text
    assert site.log.has("AWS Lambda"), site.log.text


@pytest.mark.parametrize("ends", ["", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_try_that_is_stopped_at_the_limit_is_lost_to_time_where_another_follows(
    site: Site, run: Run, ends: str
) -> None:
    """Whether the task fails when it is told to end, or is killed."""
    site.control_plane.should_retry = True
    run(dag(f"import signal, subprocess\n{ends}\nsubprocess.run(['sleep', '600'], check=True)"), remaining=16)

    (lost,) = site.control_plane.asked("lost")
    assert lost.body["outgrew"] == "time"
    assert site.control_plane.reported == ["lost"]


def test_a_child_that_is_killed_near_the_functions_memory_is_lost_to_memory(site: Site, run: Run) -> None:
    site.megabytes = 1
    run(dag("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    site.megabytes = 100_000
    run(dag("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
    assert [lost.body.get("outgrew") for lost in site.control_plane.asked("lost")] == ["memory", None]


def test_the_task_sees_no_wiring_and_has_a_place_to_write(
    run: Run, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUST_BUCKET", "the-bucket")

    run(
        dag(
            "import os, tempfile, pathlib\n"
            "pathlib.Path('relative.csv').write_text('x')\n"
            "return [[name for name in os.environ if name.startswith('GUST_')], os.getcwd(), tempfile.gettempdir()]"
        )
    )

    names, folder, temporary = site.control_plane.returned
    assert names == []
    assert folder == temporary
    assert not Path(folder).exists()


@pytest.mark.parametrize("options", ["", "start_new_session=True"])
@pytest.mark.parametrize("ending", ["return pid", "import os; os.kill(os.getpid(), 9)"])
def test_what_a_task_leaves_running_ends_with_its_try(run: Run, site: Site, options: str, ending: str) -> None:
    start = f"import subprocess; pid = subprocess.Popen(['sh', '-c', 'sleep 600 & sleep 600'], {options}).pid"
    push = "from airflow.sdk import get_current_context; get_current_context()['ti'].xcom_push('return_value', pid)"
    before = orphans.children()
    run(dag(f"{start}\n{push}\n{ending}"))

    pid = site.control_plane.asked("return_value")[0].body
    assert not psutil.pid_exists(pid)
    assert orphans.children() <= before


def test_what_others_started_is_let_be(run: Run, site: Site) -> None:
    with subprocess.Popen(["sleep", "600"], env=of_a_user()) as other:  # noqa: S607
        run(dag("return 1"))
        assert other.poll() is None
        other.kill()


def test_helper_modules_and_plugins_of_the_bundle_are_there(site: Site) -> None:
    source = dag("from helpers.prices import PRICE\nreturn [PRICE, '{{ macros.shop.currency() }}']").replace(
        "@task\n", "@task(templates_dict={'currency': '{{ macros.shop.currency() }}'})\n"
    )
    source = source.replace("def t():", "def t(templates_dict=None):").replace(
        "'{{ macros.shop.currency() }}']\n", "templates_dict['currency']]\n"
    )
    plugin = """
from airflow.plugins_manager import AirflowPlugin
def currency():
    return "EUR"
class Shop(AirflowPlugin):
    name = "shop"
    macros = [currency]
"""
    site.upload("with-plugins", {"d.py": source, "helpers/prices.py": "PRICE = 3", "plugins/shop.py": plugin})

    site.run("with-plugins")

    assert site.control_plane.returned == [3, "EUR"], site.log.text


def test_the_queue_that_the_task_sees_is_its_own(run: Run, site: Site) -> None:
    run(dag("from airflow.sdk import get_current_context\nreturn get_current_context()['ti'].queue"))

    assert site.control_plane.returned == "etl"


def test_the_log_begins_with_where_the_try_runs_and_why(run: Run, site: Site) -> None:
    run(dag("print('working')"), place="Runs on Fargate (1 vCPU, 2 GB): queue='fargate'.")
    assert site.log.lines[0]["event"] == "Runs on Fargate (1 vCPU, 2 GB): queue='fargate'."


@pytest.mark.parametrize(("should_retry", "state"), [(False, "failed"), (True, "up_for_retry")])
def test_what_nothing_can_run_fails_with_the_reason_in_its_log(
    run: Run, site: Site, should_retry: bool, state: str
) -> None:
    site.control_plane.should_retry = should_retry
    run(dag("print('working')"), refused="The task needs Fargate.")
    assert site.control_plane.reported == [state]
    assert site.log.has("The task needs Fargate.")
    assert not site.log.has("working")
