"""`./gust deploy`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from typing import Any, Final

from gust.cli import ROOT

HELP: Final = "sam build && sam deploy, to your AWS account"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sam", nargs=argparse.REMAINDER, help="arguments for sam deploy, as they are")


def run(options: argparse.Namespace) -> int:
    return deploy(options.sam)


def deploy(arguments: list[str]) -> int:
    """`sam build && sam deploy` with the given arguments, after checks of layer sizes and the account's concurrency."""
    sam = shutil.which("sam")
    if sam is None:
        print(
            "gust: the SAM CLI is missing: install aws-sam-cli (`uv tool install aws-sam-cli`), then again.",
            file=sys.stderr,
        )
        return 1
    if shutil.which("make") is None:
        print("gust: make is missing; the layers are built with it.", file=sys.stderr)
        return 1
    from samtranslator.yaml_helper import yaml_parse

    from gust.cli import layers

    layers.note_inputs(ROOT)
    built = subprocess.run([sam, "build", "--cached"], cwd=ROOT, check=False).returncode
    if built:
        print("gust: sam build failed, see above. Nothing was deployed.", file=sys.stderr)
        return built
    template = yaml_parse((ROOT / "template.yaml").read_text())
    if refused := layers.too_large(template, ROOT / ".aws-sam" / "build"):
        print("gust: Lambda would refuse these functions. Nothing was deployed.", *refused, sep="\n  ", file=sys.stderr)
        return 1
    _tell_of_concurrency(arguments)
    first = ["--guided"] if not arguments and not _is_configured() else []
    return subprocess.run([sam, "deploy", *first, *arguments], cwd=ROOT, check=False).returncode


def _tell_of_concurrency(arguments: list[str]) -> None:
    from gust.cli import concurrency

    limit = concurrency.account_limit(concurrency.region_of(arguments) or _deploy_settings().get("region"))
    settings = " ".join([*arguments, str(_deploy_settings().get("parameter_overrides", ""))])
    if limit is not None and (advice := concurrency.advice(limit, settings=settings)):
        print(advice, file=sys.stderr)


def _is_configured() -> bool:
    """Whether samconfig.toml names a region, i.e. an earlier `--guided` has saved its answers."""
    return "region" in _deploy_settings()


def _deploy_settings() -> dict[str, Any]:
    file = ROOT / "samconfig.toml"
    if not file.exists():
        return {}
    return dict(tomllib.loads(file.read_text()).get("default", {}).get("deploy", {}).get("parameters", {}))
