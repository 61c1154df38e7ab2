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
    delete,
    deploy,
    doctor,
    keys,
    local,
    login,
    logs,
    status,
    watch_bucket,
    workers,
)
from gust.errors import GustError


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
    "doctor": doctor,
    "delete": delete,
    "login": login,
    "reencrypt": keys.Reencrypt(),
    "rotate-key": keys.RotateKey(),
    "watch-bucket": watch_bucket,
    "check-access": access,
    "workers": workers.Workers(),
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
    except GustError as problem:
        told = str(problem)
    except Exception as problem:
        if (line := aws.in_one_line(problem)) is None:
            raise
        told = line
    print(f"gust: {told}", file=sys.stderr)
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


STACK_TIERS: Final = ("tests/chaos", "tests/system")
"""Tests that start the whole stack and are sensitive to load: they run one after the other."""

PARALLEL: Final = tuple(f"tests/system/test_{name}.py" for name in ("packages", "fargate", "airflow_browser_suite"))
"""Tests that start stacks, too, but mostly wait: for the package index, containers and browsers. They run in parallel with
those tiers, after all others."""

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
    """Runs the tiers that start stacks, and in parallel all others in a process of their own, whose output it prints at the
    end. On two processors this takes two thirds of the time."""
    tiers = sorted(f"tests/{folder.name}" for folder in (ROOT / "tests").iterdir() if any(folder.rglob("test_*.py")))
    beside = [*(tier for tier in tiers if tier not in STACK_TIERS), *PARALLEL]
    stacks = [*STACK_TIERS, *(f"--ignore={path}" for path in PARALLEL)]
    print(f"\n$ pytest {' '.join(beside)} &\n$ pytest {' '.join(stacks)}", flush=True)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as aws_calls:
        environment = environment | {AWS_CALLS: aws_calls}
        other = subprocess.Popen([*pytest, *beside], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = subprocess.run([*pytest, *stacks], cwd=ROOT, env=environment, check=False).returncode
            codes = [code, other.wait()]
        finally:
            other.kill()
        output.seek(0)
        print(f"\n$ pytest {' '.join(beside)}\n{output.read().decode(errors='replace')}", flush=True)
        print(f"\n$ pytest {AFTER_ALL}", flush=True)
        codes.append(subprocess.run([*pytest, AFTER_ALL], cwd=ROOT, env=environment, check=False).returncode)
    return codes


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def run_module(module: str, arguments: list[str]) -> int:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
