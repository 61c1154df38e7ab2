"""`./gust …`: a table of commands. The entry script has made the environment."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from gust.cli import (
    ROOT,
    access,
    aws,
    beforehand,
    configuration,
    delete,
    deploy,
    doctor,
    keys,
    local,
    login,
    logs,
    poking,
    status,
    watch_bucket,
    watch_queue,
    watch_stream,
    workers,
)


class Command(Protocol):
    @property
    def HELP(self) -> str:  # noqa: N802  a constant of a module
        """One line for the list of commands."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace) -> int:
        """Carry it out; returns the exit code."""


COMMANDS: Final[Mapping[str, Command]] = {
    "local": local,
    "check": beforehand.Check(),
    "run": beforehand.Run(),
    "deploy": deploy,
    "status": status,
    "logs": logs,
    "poking": poking,
    "doctor": doctor,
    "delete": delete,
    "login": login,
    "reencrypt": keys.Reencrypt(),
    "rotate-key": keys.RotateKey(),
    "watch-bucket": watch_bucket,
    "watch-queue": watch_queue,
    "watch-stream": watch_stream,
    "configure": configuration,
    "check-access": access,
    "workers": workers.Workers(),
    "worker": workers.Worker(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["bench", *theirs]:
            return run_module("benches", theirs)
        case ["record-golden", *theirs]:
            return run_module("tests.oracle.record", theirs)
        case ["test", "-h" | "--help", *_]:
            pass
        case ["test", "differential", _, *_]:
            return run_module("tests.differential", given[2:])
        case ["test", *theirs]:
            return test(theirs)
    options = _parser().parse_args(given)
    try:
        return COMMANDS[options.command].run(options)
    except Exception as problem:
        if (line := aws.in_one_line(problem)) is None:
            raise
        print(f"gust: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gust", description="Unmodified Apache Airflow DAG files on AWS primitives.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.HELP, description=command.HELP))

    # The arguments of test, bench and record-golden are another program's and come here only for `--help`: a parser would
    # separate options from their values.
    test = commands.add_parser("test", help="run the checks and the tests")
    test.add_argument(
        "pytest",
        nargs=argparse.REMAINDER,
        help="a tier (unit, system, …), or arguments for pytest; `differential --cases N --seed S`: random DAGs",
    )
    commands.add_parser("bench", help="measure against real Airflow", add_help=False)
    commands.add_parser("record-golden", help="record real Airflow's results of the examples", add_help=False)
    return parser


GIGABYTES_OF_A_TEST_PROCESS: Final = 4
"""With the two stacks that its tests may have at a time."""

AFTER_ALL: Final = "tests/aws_like/after_all.py"
"""Tests of what all stacks of the run have recorded: which rights of the roles were used."""

AWS_CALLS: Final = "GUST_AWS_CALLS"
"""Environment variable with the folder for these records."""


def test(arguments: list[str]) -> int:
    """Runs the checks and all tests, or one tier (`unit`, `system`, …), or pytest with its own arguments. Returns the first
    exit code that is not zero."""
    tests = ROOT / "tests"
    named = [f"tests/{argument}" if (tests / argument).is_dir() else argument for argument in arguments]
    checks = (
        []
        if arguments
        else [
            [_tool("ruff"), "check", "."],
            [_tool("ruff"), "format", "--check", "."],
            [_tool("mypy")],
            [_tool("lint-imports")],
        ]
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    codes = []
    pytest = [sys.executable, "-m", "pytest"]
    for command in [*checks, *([[*pytest, *named]] if arguments else [])]:
        print(f"\n$ {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        codes.append(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
    if not arguments:
        codes += _all_tiers(pytest, environment)
    failed = [Path(command[0]).name for command, code in zip(checks, codes, strict=False) if code]
    if failed:
        print(f"gust: also failed, above: {', '.join(failed)}", file=sys.stderr)
    return next((code for code in codes if code), 0)


def _all_tiers(pytest: list[str], environment: dict[str, str]) -> list[int]:
    """Runs all tiers in several processes. Each takes another module when it has ended one, in the order of
    tests/order.py. The closing lines name the slowest tests."""
    import psutil

    memory: int = psutil.virtual_memory().total
    processes = pytest_processes(processors=os.cpu_count() or 1, gigabytes=memory >> 30)
    several = ["-n", str(processes), "--dist=loadfile", "--no-loadscope-reorder"]
    slowest = ["--durations=60", "--durations-min=5"]
    codes = []
    with tempfile.TemporaryDirectory() as aws_calls:
        for arguments in ([*several, *slowest], [AFTER_ALL]):
            print(f"\n$ pytest {' '.join(arguments)}", flush=True)
            command = [*pytest, *arguments]
            around = environment | {AWS_CALLS: aws_calls}
            codes.append(subprocess.run(command, cwd=ROOT, env=around, check=False).returncode)
    return codes


def pytest_processes(*, processors: int, gigabytes: int) -> int:
    """How many pytest processes run at a time: one for each processor, fewer where the memory is small. With one more, some
    tests that act on what runs came too late on two processors."""
    return max(1, min(processors, gigabytes // GIGABYTES_OF_A_TEST_PROCESS))


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def run_module(module: str, arguments: list[str]) -> int:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
