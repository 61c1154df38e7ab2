"""`./gust check` and `./gust run`: try DAG files on this machine, without a stack and without AWS.

Both run `gust.workbench` in a process of its own, which has Gust's packages on its path and nothing else of this checkout.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from gust.cli import ROOT, env_file
from gust.cli.configuration import add_config, document_of, told_here, without
from gust.cli.local import TEST_CONNECTION


class Check:
    HELP = "parse a folder as a stack would; tell its import errors; for people and their CI"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "folder",
            metavar="DIR",
            type=Path,
            nargs="?",
            default=ROOT / "examples" / "dags",
            help="folder of DAG files (%(default)s)",
        )
        parser.add_argument(
            "--format",
            choices=["text", "json", "github"],
            default="text",
            help="how to write the report (%(default)s); github: errors beside the lines of a pull request",
        )
        env_file.add_argument(parser)
        add_config(parser)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        return _in_workbench("check", [str(options.folder), "--format", options.format], options)


class Run:
    HELP = "run one DAG, or one task, on this machine; breakpoint() works"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("dag_id", metavar="DAG")
        parser.add_argument("task_id", metavar="TASK", nargs="?", help="this task alone, whatever it waits for")
        parser.add_argument(
            "--dags", type=Path, default=ROOT / "examples" / "dags", help="folder of DAG files (%(default)s)"
        )
        parser.add_argument("--upstream", action="store_true", help="with TASK: and all tasks before it")
        parser.add_argument("--conf", default="{}", metavar="JSON", help="the run's conf, an object")
        parser.add_argument(
            "--param", action="append", default=[], metavar="NAME=VALUE", help="one value of conf, as JSON or as text"
        )
        parser.add_argument("--logical-date", metavar="DATE", help="e.g. 2026-03-01, or 2026-03-01T06:00+01:00")
        parser.add_argument("--no-retries", action="store_true", help="the first failure of a task is its last")
        env_file.add_argument(parser)
        add_config(parser)

    @staticmethod
    def run(options: argparse.Namespace) -> int:
        words = [options.dag_id, *([options.task_id] if options.task_id else []), "--dags", str(options.dags)]
        words += ["--conf", options.conf, *(word for given in options.param for word in ("--param", given))]
        words += ["--logical-date", options.logical_date] if options.logical_date else []
        words += ["--upstream"] if options.upstream else []
        words += ["--no-retries"] if options.no_retries else []
        return _in_workbench("run", words, options)


def _in_workbench(module: str, arguments: list[str], options: argparse.Namespace) -> int:
    around = env_file.with_files(os.environ, options.env_file)
    configuration = told_here(options.config, without(around, env_file.DEFAULT_DEFERRABLE, TEST_CONNECTION))
    if configuration is None:
        return 2
    if configuration.options:
        arguments = [*arguments, "--options", document_of(configuration)]
    environment = env_file.for_dag_authors(around)
    environment["PYTHONPATH"] = str(ROOT / "shared")
    command = [sys.executable, "-m", f"gust.workbench.{module}", *arguments]
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:  # it got the signal, too
        return 130
