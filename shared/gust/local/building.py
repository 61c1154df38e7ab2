"""Tells the terminal which environments the builder builds, and the outcome of each build.

The deployer stores a recipe, and the builder stores the outcome of the build beside it. The bucket is only read while a
deployment is expected, as for parsing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from gust.model.bucket_keys import BUILT, RECIPES
from gust.model.environment import Built, Recipe
from gust.ports.objects import Objects

TELL_EVERY: Final = 5.0
"""Seconds between two lines about a running build."""

SHOWN: Final = 6
"""Packages that a line names."""


class BuildProgress:
    """Call `look` about once a second while something is expected. Earlier builds are not told."""

    def __init__(
        self, objects: Objects, on_progress: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._objects = objects
        self._on_progress = on_progress
        self._clock = clock
        self._tags = objects.list(RECIPES)
        self._began: dict[str, float] = {}
        self._told_at = clock()

    @property
    def is_building(self) -> bool:
        return bool(self._began)

    def _wanted(self, key: str) -> Sequence[str]:
        return Recipe.model_validate_json(self._objects.get(key)).requirements

    def look(self) -> None:
        now = self._clock()
        tags = self._objects.list(RECIPES)
        fresh = {key for key, tag in tags.items() if self._tags.get(key) != tag}
        self._tags = tags
        for key in sorted(fresh):
            recipe = key.removeprefix(RECIPES).removesuffix(BUILT).removesuffix(".json")
            if key.endswith(BUILT):
                built = Built.model_validate_json(self._objects.get(key))
                self._on_progress(sentence(built, now - self._began.pop(recipe, now)))
            elif recipe not in self._began and f"{RECIPES}{recipe}{BUILT}" not in tags:
                self._began[recipe] = self._told_at = now
                self._on_progress(f"installing {in_words(self._wanted(key))} …")
        if self._began and now - self._told_at >= TELL_EVERY:
            self._told_at = now
            self._on_progress(f"installing packages since {now - min(self._began.values()):.0f} s …")


def in_words(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def sentence(built: Built, seconds: float) -> str:
    took = f" in {seconds:.0f} s" if seconds >= 1 else ""
    if built.problem is not None:
        return f"{built.file}: its packages cannot be installed{took}"
    if not built.packages:
        return f"{built.file} asks for nothing that Airflow does not bring"
    named = [f"{name} {version}" for name, version in sorted(built.packages.items())]
    return f"{built.file}: installed{took}: {in_words(named)} ({built.size / 1e6:,.0f} MB)"
