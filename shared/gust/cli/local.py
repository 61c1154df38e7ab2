"""`./gust local`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gust.cli import ROOT, env_file, text_file
from gust.cli.configuration import add_config, document_of, told_here, without
from gust.cli.env_file import DEFAULT_DEFERRABLE

HELP: Final = "run everything on this machine; no AWS account, no Docker"

TEST_CONNECTION: Final = "AIRFLOW__CORE__TEST_CONNECTION"
"""Airflow's setting: whether connections may be tested. On AWS it is the parameter TestConnection."""

PAUSED_AT_CREATION: Final = "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"
"""Airflow's setting. On AWS it is the parameter DagsArePausedAtCreation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dags", type=Path, default=ROOT / "examples" / "dags", help="folder of DAG files (%(default)s)"
    )
    parser.add_argument("--port", type=int, default=8080, help="where the API answers (%(default)s)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (%(default)s: every caller is administrator); any other demands a login",
    )
    parser.add_argument("--data", type=Path, default=ROOT / ".gust", help="where state is kept (%(default)s)")
    parser.add_argument(
        "--workers",
        type=_at_least_one,
        metavar="N",
        help="how many tasks run at the same time (by memory, 200 MB each: at most 32, as Airflow's parallelism)",
    )
    parser.add_argument(
        "--aws",
        choices=["emulator", "real"],
        default="emulator",
        help="which AWS the tasks' SDKs call: the local emulator (default), or your account, with your shell's credentials",
    )
    paused = parser.add_mutually_exclusive_group()
    paused.add_argument(
        "--paused",
        action="store_true",
        default=None,
        help="new DAGs start paused, as in Airflow (the default, but for the examples)",
    )
    paused.add_argument("--unpaused", dest="paused", action="store_false", help="new DAGs run as soon as they are due")
    add_config(parser)
    env_file.add_argument(parser)


def _real_aws() -> str:
    """The credentials that an SDK would use, in words. Calls nothing."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        whose = f"the key {os.environ['AWS_ACCESS_KEY_ID']} of your environment"
    else:
        whose = f"profile {os.environ.get('AWS_PROFILE', 'default')}"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return f"{whose}, region {region or 'as the profile says'}"


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("a number from 1 to 1000")
    return int(text)


def run(options: argparse.Namespace) -> int:
    from gust.local.deployment import DeploymentError
    from gust.local.processes import InUseError
    from gust.local.stack import LocalStack, LocalStackError

    if not options.dags.is_dir():
        print(f"gust: {options.dags} is not a folder.", file=sys.stderr)
        return 2
    try:
        environment = env_file.with_files(os.environ, options.env_file)
    except text_file.TextFileError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 2
    testing = environment.get(TEST_CONNECTION, "Disabled").strip().capitalize()
    if testing not in ("Disabled", "Enabled", "Hidden"):
        print(f"gust: {TEST_CONNECTION} is Disabled, Enabled or Hidden, not {testing}.", file=sys.stderr)
        return 2
    deferrable = environment.get(DEFAULT_DEFERRABLE, "False").strip().lower()
    if deferrable not in ("true", "false"):
        print(f"gust: {DEFAULT_DEFERRABLE} is True or False, not {deferrable}.", file=sys.stderr)
        return 2
    around = without(environment, TEST_CONNECTION, DEFAULT_DEFERRABLE, PAUSED_AT_CREATION)
    configuration = told_here(options.config, around)
    if configuration is None:
        return 2
    paused = options.paused
    if paused is not None:
        configuration = configuration.except_for("core.dags_are_paused_at_creation")
    else:
        paused = are_paused(environment, are_examples=_are_examples(options.dags))
    started = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stopper(stop))
    stack = LocalStack(
        root=ROOT,
        data=options.data,
        dags=options.dags,
        port=options.port,
        host=options.host,
        paused=paused,
        workers=options.workers,
        real_aws=options.aws == "real",
        environment=environment,
        parameters={"TestConnection": testing, "DefaultDeferrable": deferrable},
        configuration=document_of(configuration),
        on_progress=_say,
    )
    try:
        stack.start()
        if _are_examples(options.dags):
            _make_example_resources(stack.client)
        print(f"\n  Gust is ready after {time.monotonic() - started:.0f} s:  {stack.public_url}")
        if stack.demands_login:
            print(f"  Sign in  {stack.login_link()}")
            print("           one minute, one use; another one: ./gust login --local   (plain HTTP: trust the network)")
        print(f"  DAGs  {options.dags}   (saved changes show within seconds)")
        if paused:
            print("        New DAGs start paused, as in Airflow: turn them on in the web UI, or start with --unpaused.")
        print(f"  Tasks {stack.workers} at the same time at most   (--workers)")
        if configuration.options:
            print(f"  Airflow's options  {', '.join(sorted(configuration.options))}")
        if configuration.ignored:
            print(f"  …without effect here  {', '.join(sorted(configuration.ignored))}")
        print(f"  Logs  {stack.logs}")
        if options.aws == "real":
            print(f"  AWS   REAL: tasks call and change your account with {_real_aws()}.")
        print("  Ctrl-C ends it; the state stays.\n", flush=True)
        stack.run(stop)
    except Stopped:
        pass
    except (InUseError, LocalStackError, DeploymentError) as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"gust: {problem.strerror or problem} ({problem.filename or options.data})", file=sys.stderr)
        return 1
    finally:
        stack.stop()
    print("Stopped.")
    return 0


def _are_examples(dags: Path) -> bool:
    return dags.samefile(ROOT / "examples" / "dags")


def are_paused(environment: Mapping[str, str], *, are_examples: bool) -> bool:
    """As Airflow's own setting says. A folder of a person's own may change what its connections lead to, so it starts
    paused; the examples change nothing but the emulator."""
    said = environment.get(PAUSED_AT_CREATION, "").strip().lower()
    return said in ("true", "t", "1", "yes", "y", "on") if said else not are_examples


def _make_example_resources(client: Callable[[str], Any]) -> None:
    """The Lambda function, Glue job and buckets that two of the examples use, in the emulator; today's file included."""
    from examples import resources

    resources.create(client)
    resources.land_orders(datetime.now(UTC).date().isoformat(), client)


class Stopped(BaseException):
    """Raised in the main thread by a signal that ends the stack, also before it is ready."""


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the stack is ending already
        stop.set()
        raise Stopped

    return handle


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)
