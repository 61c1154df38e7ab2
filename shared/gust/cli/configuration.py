"""Airflow's options from a file or the shell's environment: for the local stack, and for a stack on AWS."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from gust.cli import aws, text_file
from gust.cli.counted import counted
from gust.model.airflow_options import Checked, check, name_of, problem_of_name, read_document

HELP: Final = "check a file of Airflow's options, and make it a stack's"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="Airflow's options, as an airflow.cfg or JSON (docs/configuration.md)",
    )


def told_here(file: Path | None, environment: Mapping[str, str]) -> Checked | None:
    """`options_here`, with its lines and mistakes on the terminal; None where there is a mistake."""
    try:
        checked = options_here(file, environment, lambda line: print(f"gust: {line}", file=sys.stderr))
    except text_file.TextFileError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return None
    print("".join(f"gust: {line}\n" for line in checked.problems), end="", file=sys.stderr)
    return None if checked.problems else checked


def options_here(file: Path | None, environment: Mapping[str, str], say: Callable[[str], None]) -> Checked:
    """The options of the file, then those of `AIRFLOW__SECTION__OPTION`, which win. A variable that cannot be set is left
    out, and `say` gets a line: the shell may have it for another Airflow. Raises TextFileError."""
    of_file = read_document("" if file is None else text_file.read(file))
    if of_file.problems:
        return of_file
    given: dict[str, str] = dict(of_file.options)
    for variable, value in sorted(environment.items()):
        name = name_of(variable)
        if name is None:
            continue
        if (why := problem_of_name(name)) is not None:
            say(f"{variable} is left out: {why}")
        else:
            given[name] = value
    return check(given)


def without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


def document_of(checked: Checked) -> str:
    """As the deployer reads it; empty without options."""
    return json.dumps(dict(checked.options)) if checked.options else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="an airflow.cfg or JSON (docs/configuration.md)")
    parser.add_argument(
        "--stack", help="name of the CloudFormation stack; without it the file is only checked", metavar="NAME"
    )
    aws.add_arguments(parser, has_stack=False)


def run(options: argparse.Namespace) -> int:
    return configure(options.file, options.stack, aws.clients(options))


def configure(file: Path, stack: str | None, clients: aws.Clients) -> int:
    """Check a file and, with `stack`, make it that stack's document. Returns the exit code. Raises TextFileError; AwsError
    where there is no such stack."""
    text = text_file.read(file)
    checked = read_document(text)
    if checked.problems:
        print("".join(f"gust: {line}\n" for line in checked.problems), end="", file=sys.stderr)
        return 1
    if checked.ignored:
        print(f"Without effect in Gust: {', '.join(checked.ignored)}.")
    if stack is None:
        print(f"The file is valid: {counted(len(checked.options), 'option')}.")
        return 0
    from gust.aws.secrets import configuration_parameter, put_configuration

    aws.require_stack(clients, stack)
    put_configuration(clients("ssm"), stack, text.strip())
    where = configuration_parameter(stack)
    print(f"{where} has {counted(len(checked.options), 'option')}. The stack parses all of its files with them now.")
    return 0
