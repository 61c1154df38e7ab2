"""Which environments a bundle names, and which must be built first.

A folder's `requirements.txt` and what it names make a recipe. The outcome of its build lies beside it in the
bucket. If the build failed, the folder keeps its last environment, and the file gets an import error.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from posixpath import dirname
from typing import Final

from gust.errors import NotFound
from gust.model import bucket_keys
from gust.model.deployment import PLUGINS_PREFIX
from gust.model.environment import (
    REQUIREMENTS,
    SMALLEST_STORAGE,
    Build,
    Built,
    Environments,
    Recipe,
    room,
    upwards,
)
from gust.ports.objects import Objects
from gust.services.deployments import pins
from gust.services.deployments.requirements_file import read_requirements

ANOTHER_BUILD_AFTER: Final = timedelta(minutes=5)
"""A deployment that begins so much later has a failed recipe built again: an index may have been unreachable."""


@dataclass(frozen=True, slots=True)
class PlannedEnvironments:
    environments: Environments
    """The environments for the bundle; a folder whose own is not built yet keeps its last one."""
    builds: tuple[Build, ...]
    refused: Mapping[str, str]
    """`requirements.txt` → the reason why it has no environment."""
    folders: frozenset[str]
    """The folders with a `requirements.txt`."""
    waiting: frozenset[str]
    """The folders whose environment waits for a build."""

    def is_waiting(self, path: str) -> bool:
        """Whether a DAG file's environment waits for a build."""
        return next((each for each in upwards(dirname(path)) if each in self.folders), None) in self.waiting

    @property
    def waiting_files(self) -> frozenset[str]:
        return frozenset(file_of(folder) for folder in self.waiting)


def plan_environments(
    objects: Objects,
    files: Iterable[str],
    before: Environments,
    *,
    read: Callable[[str], str | None],
    uploaded: Callable[[str], float],
    began: datetime,
) -> PlannedEnvironments:
    """`files`: relative paths, `../requirements.txt` among them where there is one; `read` gives their texts, `uploaded`
    the times of their uploads; `before`: what the active bundle names; `began`: when the deployment began.

    Stores the recipes that it names."""
    of: dict[str, str] = {}
    sizes = dict(before.sizes)
    builds: dict[str, Build] = {}
    refused: dict[str, str] = {}
    waiting: set[str] = set()
    folders = sorted(dirname(path) for path in files if is_requirements(path))
    for folder in folders:
        file = file_of(folder)
        parsed = read_requirements(file, read)
        if not parsed.refused and not parsed.requirements:
            of[folder] = ""
            continue
        built: Built | None = None
        if parsed.refused:
            refused[file] = "".join(f"{line}\n" for line in parsed.refused)
        else:
            recipe = Recipe(
                sources=parsed.sources,
                requirements=tuple(parsed.requirements),
                constraints=tuple(parsed.constraints),
                constraint_urls=tuple(parsed.constraint_urls),
                options=tuple(parsed.options),
                hashes=parsed.hashes,
                python=interpreter(),
                pins=pins.digest(),
            )
            came = max(uploaded(path) for path in parsed.texts)
            built = built_of(objects, recipe.id)
            if built is None or is_worth_another_build(built, came, began):
                store_recipe(objects, recipe)
                also = builds.get(recipe.id)
                latest = max(came, also.uploaded if also else came)
                builds[recipe.id] = Build(recipe=recipe.id, file=also.file if also else file, uploaded=latest)
                waiting.add(folder)
            elif built.problem is not None:
                refused[file] = built.problem
        if built is not None and built.problem is None:
            of[folder] = built.archive
            if built.size > room(SMALLEST_STORAGE) * 1_000_000:
                sizes[built.archive] = built.size
        elif (kept := before.of_folder(folder)) is not None:
            of[folder] = kept
        else:
            of[folder] = ""
    return PlannedEnvironments(
        environments=Environments(of=of, sizes={name: size for name, size in sizes.items() if name in of.values()}),
        builds=tuple(builds.values()),
        refused=refused,
        folders=frozenset(folders),
        waiting=frozenset(waiting),
    )


def is_requirements(path: str) -> bool:
    return path.rsplit("/", maxsplit=1)[-1] == REQUIREMENTS and not path.startswith(PLUGINS_PREFIX)


def file_of(folder: str) -> str:
    return f"{folder}/{REQUIREMENTS}" if folder else REQUIREMENTS


def interpreter() -> str:
    """Name and version of this interpreter. Tasks have the same: all functions have one runtime and one architecture."""
    return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]} {sysconfig.get_platform()}"


def built_of(objects: Objects, recipe: str) -> Built | None:
    try:
        return Built.model_validate_json(objects.get(bucket_keys.built(recipe)))
    except (NotFound, ValueError):
        return None


def store_recipe(objects: Objects, recipe: Recipe) -> None:
    objects.put_once(bucket_keys.recipe(recipe.id), recipe.model_dump_json().encode(), content_type="application/json")


def is_worth_another_build(built: Built, uploaded: float, began: datetime) -> bool:
    if built.problem is None:
        return False
    return uploaded > built.uploaded or built.built_at + ANOTHER_BUILD_AFTER.total_seconds() <= began.timestamp()
