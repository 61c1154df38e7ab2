"""A crash in native code ends the process that it happens in, while a DAG file is imported and afterwards."""

from __future__ import annotations

import faulthandler
import signal
from contextlib import suppress

from airflow import settings
from airflow.policies import hookimpl as policy_hook

_STDERR = 2
"""Its descriptor, also where a DAG file, or a watch of its parse, has put something in the place of `sys.stderr`."""


def make_fatal() -> None:
    """In this process, and in those forked from it. May be called again."""
    policies = settings.get_policy_plugin_manager()
    if not policies.has_plugin(_CrashesAreFatal.__name__):
        policies.register(_CrashesAreFatal, _CrashesAreFatal.__name__)


class _CrashesAreFatal:
    """Airflow handles SIGSEGV in Python while it imports a DAG file and leaves the handler in place: a task that
    crashes in native code then faults forever, on a full core. This policy is asked for the import's timeout just
    after; it has none of its own to give, but puts in the interpreter's handler, which writes a trace and lets the
    process die."""

    @staticmethod
    @policy_hook  # type: ignore[untyped-decorator]
    def get_dagbag_import_timeout(dag_file_path: str) -> None:  # noqa: ARG004
        handle()


def handle() -> None:
    """Put in the interpreter's handler."""
    faulthandler.disable()
    with suppress(ValueError):  # not in the main thread: then Airflow has put in none either
        # The interpreter's handler ends by handing over to the one before it, which must not be Airflow's.
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    faulthandler.enable(_STDERR)
