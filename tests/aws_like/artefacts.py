"""What `sam build` makes of this checkout, for this machine's processor, unpacked as Lambda unpacks it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from samtranslator.yaml_helper import yaml_parse

from gust.cli import layers

ROOT: Final = Path(__file__).parents[2]
HERE: Final = ROOT / ".aws-sam" / "aws-like"

RUNTIME: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""AWS's runtime client for Python and what it needs: Lambda has them in /var/runtime."""

ARCHITECTURES: Final = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def what_this_machine_lacks() -> str | None:
    """Why nothing can be built here that runs here; `None` if it can."""
    if sys.version_info[:2] != (3, 12):
        return f"functions run Python 3.12, and .venv has {platform.python_version()}"
    if platform.machine() not in ARCHITECTURES:
        return f"Lambda has no processors as {platform.machine()}"
    return None if shutil.which("make") else "there is no make, with which the layers are built"


class Artefacts:
    """`build` makes them, or finds that they are there: SAM's cache goes by the layers' inputs (`gust.cli.layers`)."""

    def __init__(self, here: Path = HERE) -> None:
        self.built: Final = here / "build"
        self._here = here

    def build(self) -> None:
        self._here.mkdir(parents=True, exist_ok=True)
        architecture = ARCHITECTURES[platform.machine()]
        template = self._here / "template.yaml"
        template.write_text((ROOT / "template.yaml").read_text().replace("arm64", architecture))
        environment = os.environ | {
            "LAYER_PLATFORM": f"{platform.machine()}-manylinux_2_28",
            "PATH": f"{sys.base_prefix}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SAM_CLI_TELEMETRY": "0",
        }
        os.environ["LAYER_PLATFORM"] = environment["LAYER_PLATFORM"]
        layers.note_inputs(ROOT)
        subprocess.run(
            [
                *(str(Path(sys.executable).with_name("sam")), "build", "--cached", "--parallel"),
                *("--template-file", str(template), "--base-dir", str(ROOT)),
                *("--build-dir", str(self.built), "--cache-dir", str(self._here / "cache")),
            ],
            env=environment,
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    @cached_property
    def template(self) -> dict[str, Any]:
        read: dict[str, Any] = yaml_parse((self.built / "template.yaml").read_text())
        return read

    def functions(self) -> dict[str, Mapping[str, Any]]:
        """Logical id → properties, with the layers of all functions among its own."""
        everywhere = self.template["Globals"]["Function"]
        return {
            name: {**properties, "Layers": [*everywhere.get("Layers", []), *properties.get("Layers", [])]}
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == "AWS::Serverless::Function"
            for properties in [resource["Properties"]]
        }

    def function_called(self, name: str, stack: str) -> tuple[Path, list[Path], str]:
        """Package, layers and handler of the function with that full name in the stack."""
        for properties in self.functions().values():
            if properties["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", stack) == name:
                return self.package(properties), self.layers(properties), properties["Handler"]
        raise KeyError(name)

    def package(self, properties: Mapping[str, Any]) -> Path:
        return (self.built / properties["CodeUri"]).resolve()

    def layers(self, properties: Mapping[str, Any]) -> list[Path]:
        resources = self.template["Resources"]
        return [
            (self.built / resources[each["Ref"]]["Properties"]["ContentUri"]).resolve() for each in properties["Layers"]
        ]

    def opt(self, parts: list[Path]) -> Path:
        """The layers one over the other, in hard links."""
        merged = self._here / "opt" / "-".join(part.name for part in parts)
        if not merged.exists():
            making = merged.with_suffix(f".{os.getpid()}")
            making.mkdir(parents=True)
            for part in parts:
                subprocess.run(["cp", "-rlTf", str(part), str(making)], check=True)
            try:
                making.rename(merged)
            except OSError:  # another process was faster
                shutil.rmtree(making)
        return merged

    def forget_opt(self) -> None:
        shutil.rmtree(self._here / "opt", ignore_errors=True)

    def runtime(self) -> Path:
        """The runtime client, copied from the packages of this environment."""
        folder = self._here / "runtime"
        shutil.rmtree(folder, ignore_errors=True)
        for name in RUNTIME:
            for file in distribution(name).files or ():
                if ".." not in file.parts and file.suffix != ".pyc":
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(file.locate(), folder / file)
        return folder
