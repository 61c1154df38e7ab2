"""template.yaml → what CloudFormation gets to see: SAM's transform, in a process of its own and kept for the next start.

SAM's translator takes 25 MB and half a second of a core, and gives the same for the same template.

    python -m gust.local.sam < template.json > transformed.json
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml

_KEPT: Final = Path(sys.prefix) / "share" / "gust"
_MOST: Final = 20
"""Transformed templates that are kept: each change of a function makes another, of 170 kB."""

_REGION: Final = "us-east-1"


def read(template: Path) -> dict[str, Any]:
    """The template, with CloudFormation's short forms (`!Ref`) written out."""

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the one in C where there is one
        pass

    Loader.add_multi_constructor("!", _written_out)
    return dict(yaml.load(template.read_text(), Loader=Loader))  # noqa: S506 - it is a safe one


def _written_out(loader: Any, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    match node:
        case yaml.ScalarNode(value=text):
            return {name: text.split(".", 1) if suffix == "GetAtt" else loader.construct_scalar(node)}
        case yaml.SequenceNode():
            return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


def transformed(template: Mapping[str, Any], *, kept: Path = _KEPT) -> str:
    """The transformed template as JSON, from `kept` where it was made before."""
    text = json.dumps(template)
    state = hashlib.sha256(f"{version('aws-sam-translator')}\n{text}".encode()).hexdigest()[:32]
    file = kept / f"template-{state}.json"
    with contextlib.suppress(OSError):
        found = file.read_text()
        os.utime(file)
        return found
    made = subprocess.run(
        [sys.executable, "-m", __name__],
        input=text,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    with contextlib.suppress(OSError):  # it is made anew by the next start
        _keep(file, made)
    return made


def _keep(file: Path, text: str) -> None:
    """Whole or not at all: two stacks may start at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix="template-", delete=False) as written:
        written.write(text)
    os.rename(written.name, file)
    by_age = sorted(file.parent.glob("template-*.json"), key=lambda each: each.stat().st_mtime, reverse=True)
    for old in by_age[_MOST:]:
        old.unlink(missing_ok=True)


def transform(template: Mapping[str, Any]) -> dict[str, Any]:
    """SAM's transform in this process."""
    from samtranslator.translator.transform import transform as sam_transform

    class NoManagedPolicies:
        """Our roles are written out, so SAM never has to look up a managed policy's ARN."""

        def load(self) -> dict[str, str]:
            return {}

    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns about metrics that are not published
    os.environ.setdefault("AWS_DEFAULT_REGION", _REGION)  # SAM asks the environment for the partition's region
    return sam_transform(json.loads(json.dumps(template)), {}, NoManagedPolicies())  # type: ignore[no-any-return]


if __name__ == "__main__":
    json.dump(transform(json.load(sys.stdin)), sys.stdout)
