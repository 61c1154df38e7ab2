"""What `./gust deploy` uploads, made for this machine's processor and unpacked as Lambda unpacks it."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

from gust.cli import artifacts, layers
from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[2]
HERE: Final = ROOT / ".aws-sam" / "aws-like"

RUNTIME: Final = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""AWS's runtime client for Python and what it needs: Lambda has them in /var/runtime."""

PROCESSORS: Final = frozenset({"x86_64", "aarch64"})
"""Lambda's, by their Linux names."""


def what_this_machine_lacks() -> str | None:
    """Why nothing can be built here that runs here; `None` if it can."""
    if sys.version_info[:2] != (3, 12):
        return f"functions run Python 3.12, and .venv has {platform.python_version()}"
    return None if platform.machine() in PROCESSORS else f"Lambda has no processors as {platform.machine()}"


class Artefacts:
    """`build` makes them, or finds that they are there: their names hold the digests of their inputs."""

    def __init__(self, here: Path = HERE) -> None:
        self._here = here

    def build(self) -> None:
        together = [self.layers(properties) for properties in self.functions().values()]
        wanted = {self._folder(package.key) for package in self._made.packages} | set(map(self.opt, together))
        for package in self._made.packages:
            folder = self._folder(package.key)
            if folder.exists() or not package.key.endswith(".zip"):
                continue
            making = folder.with_suffix(f".{os.getpid()}")
            with _for_this_machine(), package.make() as (file, _):
                _unpack(file, making)
            _put(making, folder)
        for parts in together:
            if not self.opt(parts).exists():
                _lay_over(parts, self.opt(parts))
        for folder in self._here.glob("*/*"):  # of earlier builds
            if folder.parent.name in ("layers", "functions", "opt") and folder not in wanted:
                shutil.rmtree(folder)

    @cached_property
    def _made(self) -> artifacts.Artifacts:
        with _for_this_machine():
            return artifacts.made_of(ROOT, "anywhere", artifacts.source_template(ROOT))

    def functions(self) -> dict[str, Mapping[str, Any]]:
        """Logical id → properties, with the layers of all functions among its own."""
        everywhere = self._made.template["Globals"]["Function"]
        return {
            name: {**properties, "Layers": [*everywhere.get("Layers", []), *properties.get("Layers", [])]}
            for name, resource in self._made.template["Resources"].items()
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
        return self._folder(properties["CodeUri"]["Key"])

    def layers(self, properties: Mapping[str, Any]) -> list[Path]:
        resources = self._made.template["Resources"]
        names = [each["Ref"] for each in properties["Layers"]]
        return [self._folder(resources[name]["Properties"]["ContentUri"]["Key"]) for name in names]

    def refused_by_lambda(self) -> list[str]:
        """A line for each function that is too large."""
        keys = {package.resource: package.key for package in self._made.packages}
        return layers.refused_by_lambda(self._made.template, lambda part: layers.size_of(self._folder(keys[part])))

    def opt(self, parts: list[Path]) -> Path:
        """The layers one over the other."""
        return self._here / "opt" / "+".join(part.name for part in parts)

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

    def _folder(self, key: str) -> Path:
        name, _, digest = key.removesuffix(".zip").rpartition("-")
        return self._here / f"{name}-{digest[:12]}"


@contextlib.contextmanager
def _for_this_machine() -> Iterator[None]:
    """Layers are built for Lambda's arm64 unless the environment names another platform."""
    before = os.environ.get("LAYER_PLATFORM")
    os.environ["LAYER_PLATFORM"] = f"{platform.machine()}-manylinux_2_28"
    try:
        yield
    finally:
        if before is None:
            del os.environ["LAYER_PLATFORM"]
        else:
            os.environ["LAYER_PLATFORM"] = before


def _lay_over(parts: list[Path], folder: Path) -> None:
    """In hard links."""
    making = folder.with_suffix(f".{os.getpid()}")
    making.mkdir(parents=True)
    for part in parts:
        subprocess.run(["cp", "-rlTf", str(part), str(making)], check=True, env=of_a_user())
    _put(making, folder)


def _put(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:  # another process was faster
        shutil.rmtree(made)


def _unpack(file: Path, folder: Path) -> None:
    """With the files' modes, which Python's own extraction forgets."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            path = archive.extract(entry, folder)
            if mode := entry.external_attr >> 16 & 0o777:
                Path(path).chmod(mode)
