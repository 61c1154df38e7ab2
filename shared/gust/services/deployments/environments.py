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
from gust.model.architecture import MACHINES, this_architecture
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.environment import REQUIREMENTS, SMALLEST_STORAGE, Build, Built, Environments, Recipe, room, upwards
from gust.ports.objects import Objects
from gust.services.deployments import pins
from gust.services.deployments.requirements_file import Requirements, read_requirements

ANOTHER_BUILD_AFTER: Final = timedelta(minutes=5)
"""A deployment that begins so much later has a failed recipe built again: an index may have been unreachable."""

NO_PACKAGES: Final = Built()
"""Of a file that asks for nothing."""


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
    also: Iterable[str] = (),
) -> PlannedEnvironments:
    """`files`: relative paths, `../requirements.txt` among them where there is one; `read` gives their texts, `uploaded`
    the times of their uploads; `before`: what the active bundle names; `began`: when the deployment began; `also`: further
    architectures that workers have.

    Stores the recipes that it names."""
    own = this_architecture()
    of: dict[str, str] = {}
    on: dict[str, dict[str, str | None]] = {architecture: {} for architecture in sorted(also) if architecture != own}
    sizes = {**before.sizes}
    builds: dict[str, Build] = {}
    refused: dict[str, str] = {}
    waiting: set[str] = set()
    folders = sorted(dirname(path) for path in files if is_requirements(path))
    for folder in folders:
        file = file_of(folder)
        parsed = read_requirements(file, read)
        outcomes: dict[str, Built | None] = {}
        if parsed.refused:
            refused[file] = "".join(f"{line}\n" for line in parsed.refused)
        elif not parsed.requirements:
            outcomes = dict.fromkeys((own, *on), NO_PACKAGES)
        else:
            came = max(uploaded(path) for path in parsed.texts)
            like = ""
            for architecture in (own, *on):
                recipe = recipe_of(parsed, interpreter(architecture))
                outcomes[architecture] = built = built_of(objects, recipe.id)
                if built is None or is_worth_another_build(built, came, began):
                    outcomes[architecture] = None
                    waiting.add(folder)
                    if like and outcomes[own] is None:
                        continue  # it is to have the versions of our own, which are not known yet
                    store_recipe(objects, recipe)
                    also_for = builds.get(recipe.id)
                    builds[recipe.id] = Build(
                        recipe=recipe.id,
                        file=also_for.file if also_for else file,
                        uploaded=max(came, also_for.uploaded if also_for else came),
                        like=like,
                    )
                like = like or recipe.id
            if told := problem_of(outcomes):
                refused[file] = told
        archives = {name: built.archive for name, built in outcomes.items() if built and built.problem is None}
        of[folder] = archives.get(own, before.of_folder(folder) or "")
        for architecture, of_this_one in on.items():
            of_this_one[folder] = archives.get(architecture, before.last_on(architecture, folder))
        for built in outcomes.values():
            if built and built.problem is None and built.size > room(SMALLEST_STORAGE) * 1_000_000:
                sizes[built.archive] = built.size
    named = {*of.values(), *(archive for each in on.values() for archive in each.values())}
    return PlannedEnvironments(
        environments=Environments(
            architecture=own,
            of=of,
            on={architecture: each for architecture, each in on.items() if each},
            sizes={name: size for name, size in sizes.items() if name in named},
        ),
        builds=tuple(builds.values()),
        refused=refused,
        folders=frozenset(folders),
        waiting=frozenset(waiting),
    )


def recipe_of(parsed: Requirements, python: str) -> Recipe:
    return Recipe(
        sources=parsed.sources,
        requirements=tuple(parsed.requirements),
        constraints=tuple(parsed.constraints),
        constraint_urls=tuple(parsed.constraint_urls),
        options=tuple(parsed.options),
        hashes=parsed.hashes,
        python=python,
        pins=pins.digest(),
    )


def problem_of(outcomes: Mapping[str, Built | None]) -> str:
    """The import error of a `requirements.txt` with these outcomes, by architecture; empty if none failed. It names the
    architecture where only one failed, or where the reasons differ."""
    problems = {name: built.problem for name, built in outcomes.items() if built and built.problem is not None}
    if len(problems) == len(outcomes) and len({*problems.values()}) == 1:
        return next(iter(problems.values()))
    return "\n".join(f"For {architecture}: {problem}" for architecture, problem in problems.items())


def is_requirements(path: str) -> bool:
    return path.rsplit("/", maxsplit=1)[-1] == REQUIREMENTS and not path.startswith(PLUGINS_PREFIX)


def file_of(folder: str) -> str:
    return f"{folder}/{REQUIREMENTS}" if folder else REQUIREMENTS


def interpreter(architecture: str = "") -> str:
    """Name, version and platform of this interpreter, which is that of all functions of the stack; of an architecture, that
    of workers that have it."""
    own = architecture in ("", this_architecture())
    platform = sysconfig.get_platform() if own else f"linux-{MACHINES[architecture]}"
    return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]} {platform}"


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
