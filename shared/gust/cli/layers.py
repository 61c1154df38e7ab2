"""What a layer is made of, and the checks of layers that `sam build` does not make.

`./gust deploy` names a layer by the digest of its inputs (gust/cli/artifacts.py). The rest is for `sam build`: SAM's cache
considers a layer unchanged if its ContentUri is. Ours is a folder with a Makefile, and the layer's inputs are elsewhere: a
second deployment would ship the layer of the first. So `note_inputs` writes a digest of all inputs beside the Makefile. And
SAM does not add up the layers of a function: Lambda does, and refuses an excess at the end of the deployment.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

LARGEST: Final = 262_144_000
"""Bytes that Lambda takes for a function and its layers, unpacked."""

DIGEST: Final = ".inputs"

MADE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "runtime": (
        "layers/build.sh",
        "layers/runtime",
        "requirements/layer-runtime.txt",
        "requirements/layer-airflow.txt",  # its versions are pins of environments
        "pyproject.toml",
        "shared/gust",
    ),
    "airflow": (
        "layers/build.sh",
        "requirements/layer-airflow.txt",
        "requirements/layer-runtime.txt",
        "layers/airflow",
    ),
    "builder": ("layers/build.sh", "requirements/layer-builder.txt", "layers/builder"),
    "web": (
        "layers/build.sh",
        "requirements/layer-airflow.txt",
        "requirements/layer-runtime.txt",
        "layers/web",
        "shared/gust/model/connection_form.py",
    ),
}
"""By layer: what `layers/build.sh` reads."""

_NOT_SHIPPED: Final = frozenset({"__pycache__", DIGEST})


def note_inputs(root: Path) -> None:
    """Writes each layer's digest into the folder that SAM's cache hashes, if it has changed."""
    for layer, parts in MADE_OF.items():
        digest = _digest(root, parts, os.environ.get("LAYER_PLATFORM", ""))
        file = root / "layers" / layer / DIGEST
        if not file.exists() or file.read_text() != digest:
            file.write_text(digest)


def digest_of(root: Path, layer: str, *, platform: str | None = None) -> str:
    """Of everything that the layer is made of. `platform`: as `layers/build.sh` takes it in LAYER_PLATFORM."""
    return _digest(root, MADE_OF[layer], os.environ.get("LAYER_PLATFORM", "") if platform is None else platform)


def _digest(root: Path, parts: tuple[str, ...], platform: str) -> str:
    found = hashlib.sha256(platform.encode())
    for part in parts:
        for file in _files(root / part):
            found.update(f"{file.relative_to(root)}\0{file.stat().st_mode:o}\0".encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """In a stable order."""
    if path.is_file():
        yield path
        return
    for each in sorted(path.iterdir()):
        if each.name not in _NOT_SHIPPED:
            yield from _files(each)


def too_large(template: Mapping[str, Any], built: Path) -> list[str]:
    """One line for each function that Lambda would refuse. `template` is the source template, `built` the folder in which
    `sam build` has put every function and layer under its logical id."""
    return refused_by_lambda(template, lambda part: size_of(built / part))


def refused_by_lambda(template: Mapping[str, Any], size: Callable[[str], int]) -> list[str]:
    """The same for sizes from anywhere: `size` gives the bytes, unpacked, of a function or layer by its logical id."""
    shared = template["Globals"]["Function"].get("Layers", [])
    refused = []
    for name, resource in template["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        layers = [layer["Ref"] for layer in (*shared, *resource["Properties"].get("Layers", ()))]
        sizes = {part: size(part) for part in (name, *layers)}
        if (total := sum(sizes.values())) > LARGEST:
            parts = ", ".join(f"{part} {its_size / 2**20:.1f}" for part, its_size in sizes.items())
            refused.append(f"{name}: {total / 2**20:.1f} MiB unpacked, Lambda takes {LARGEST / 2**20:.0f} ({parts})")
    return refused


def size_of(folder: Path) -> int:
    """Bytes of all files; 0 if there is no such folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
