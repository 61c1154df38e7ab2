"""The tree that `gust.errors` draws."""

from __future__ import annotations

import re

from gust import errors


def drawn() -> dict[str, str]:
    """Class → its base, as the module's docstring draws them."""
    path: list[str] = []
    found: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"(?P<branch>(?:[│ ]   )*(?:[├└]── )?)(?P<name>[A-Z]\w+)(?:  |$)", line):
            depth = len(match["branch"]) // 4
            del path[depth:]
            if path:
                found[match["name"]] = path[-1]
            path.append(match["name"])
    return found


def test_the_tree_shows_every_error_under_its_base() -> None:
    declared = {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.GustError) and value is not errors.GustError
    }
    assert drawn() == declared
