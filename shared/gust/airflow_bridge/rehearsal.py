"""A task that does next to nothing, run in the worker's own process before it forks its first child.

CPython specializes code while it runs, in the code object itself (PEP 659); Airflow, pydantic and jinja cache lookups.
A child that is the first to run some code pays twice: for the work, and for copying each memory page that it writes to.
After the rehearsal nearly all of that is done (`benches/warm_task.py` measures a task; `--no-rehearsal` without it).

No code of a deployment takes part: plugins, listeners and cluster policies are left out. The rehearsal undoes what it
changes in this process.
"""

from __future__ import annotations

import contextvars
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import setproctitle
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import StartupDetails

from gust.airflow_bridge import compat
from gust.airflow_bridge.supervisor import BundleInfo, DagRun, TaskInstance, TaskInstanceState, TIRunContext

ROUNDS: Final = 4
"""Runs after which CPython has specialized most code. Further runs gain nothing measurable."""

NAME: Final = "gust_rehearsal"
FILE: Final = Path(__file__).with_name("rehearsal_dag.py")

log = logging.getLogger(__name__)


def rehearse(bundles: Path, *, bundle_name: str = "dags-folder") -> None:
    """`bundles`: where bundles are unpacked. Never raises: a worker whose rehearsal failed is slower, nothing else."""
    try:
        with _a_bundle_in(bundles) as version, compat.without_code_of_a_deployment(), _nothing_stays():
            details = _details(BundleInfo(name=bundle_name, version=version))
            for _ in range(ROUNDS):
                contextvars.copy_context().run(_run, details)
    except (Exception, SystemExit):
        log.warning("The rehearsal failed; tasks will start more slowly", exc_info=True)


def _run(details: StartupDetails) -> None:
    """Run a task as Airflow's task runner does in a child, without a socket to the supervisor."""
    ti, context, task_log = task_runner.startup(msg=details)
    state, _, error = task_runner.run(ti, context, task_log)
    task_runner.finalize(ti, state, context, task_log, error)
    if state is not TaskInstanceState.SUCCESS:
        raise RuntimeError(f"The task ended {state}: {error}")


def _details(bundle: BundleInfo) -> StartupDetails:
    now = datetime.now(tz=UTC)
    run = DagRun(
        dag_id=NAME,
        run_id=NAME,
        logical_date=None,
        data_interval_start=None,
        data_interval_end=None,
        run_after=now,
        start_date=now,
        end_date=None,
        run_type="manual",
        state="running",
        conf={},
        consumed_asset_events=[],
        partition_key=None,
    )
    return StartupDetails(
        ti=TaskInstance(
            id=uuid4(),
            task_id="first",
            dag_id=NAME,
            run_id=NAME,
            try_number=1,
            map_index=-1,
            dag_version_id=uuid4(),
            queue="default",
        ),
        dag_rel_path=FILE.name,
        bundle_info=bundle,
        start_date=now,
        ti_context=TIRunContext(dag_run=run, max_tries=0, should_retry=False),
        sentry_integration="",
    )


class _SilentSupervisor:
    """Takes the task's reports and answers nothing."""

    socket = None

    def send(self, msg: Any) -> None: ...


@contextmanager
def _a_bundle_in(bundles: Path) -> Iterator[str]:
    """A folder of this process's own: several workers of one machine may share the disk."""
    folder = bundles / f"{NAME}-{uuid4()}"
    folder.mkdir(parents=True)
    try:
        shutil.copy(FILE, folder)
        yield folder.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _set_no_title(title: str) -> None: ...


@contextmanager
def _nothing_stays() -> Iterator[None]:
    environment, path = dict(os.environ), list(sys.path)
    modules = set(sys.modules)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGSEGV, signal.SIGALRM, signal.SIGTERM)}
    task_runner.SUPERVISOR_COMMS = _SilentSupervisor()
    # setproctitle overwrites the environment that the kernel shows, for good.
    set_title, setproctitle.setproctitle = setproctitle.setproctitle, _set_no_title
    try:
        yield
    finally:
        del task_runner.SUPERVISOR_COMMS
        setproctitle.setproctitle = set_title
        for name in [name for name in sys.modules.keys() - modules if name.endswith(FILE.stem)]:
            del sys.modules[name]  # the DAG file; what it had imported is what children want to find
        sys.path[:] = path
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for number, handler in handlers.items():
            signal.signal(number, handler)
