"""docs/configuration.md against the table of options in the code, and that table against the pinned wheels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from gust.model import airflow_options as table

PAGE: Final = Path(__file__).parents[3] / "docs" / "configuration.md"


def rows_of_page(heading: str) -> list[str]:
    """The rows of the table below the heading."""
    section = PAGE.read_text().split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return lines[2:]


def named(name: str) -> str:
    section, _, option = name.rpartition(".")
    return f"`[{section}] {option}`"


def rows(options: Mapping[str, str]) -> list[str]:
    return [f"| {named(name)} | {text} |" for name, text in sorted(options.items())]


def test_options_with_an_effect() -> None:
    assert rows_of_page("## Options with an effect") == rows({**table.HONOURED, **table.OF_REFUSED_SECTION})


def test_options_that_are_refused() -> None:
    sections = [f"| `[{section}]` | {why} |" for section, why in sorted(table.REFUSED_SECTIONS.items())]
    assert rows_of_page("## Refused options") == [*rows(table.REFUSED), *sections]


def test_options_without_effect() -> None:
    sections = [f"| `[{section}]` | {why} |" for section, why in sorted(table.WITHOUT_EFFECT.items())]
    assert rows_of_page("## Options without effect") == sections


def test_every_section_says_why_its_other_options_change_nothing() -> None:
    with_others = {
        section
        for section, options in table.known().items()
        if section not in table.REFUSED_SECTIONS
        and any(
            table.has_no_effect(f"{section}.{option}") and table.refusal_of(f"{section}.{option}") is None
            for option in options
        )
    }
    assert set(table.WITHOUT_EFFECT) == with_others


def test_every_named_option_is_one_of_airflows() -> None:
    known = {f"{section}.{option}" for section, options in table.known().items() for option in options}
    assert {*table.HONOURED, *table.REFUSED, *table.OF_REFUSED_SECTION} <= known
    assert not table.HONOURED.keys() & table.REFUSED.keys()


def test_the_names_are_those_of_the_wheels() -> None:
    from airflow.configuration import retrieve_configuration_description

    wheels: dict[str, dict[str, Any]] = {
        section: {name: option["type"] for name, option in described["options"].items()}
        for section, described in retrieve_configuration_description(include_providers=False).items()
    }
    for point in entry_points(group="apache_airflow_provider"):
        for section, described in point.load()().get("config", {}).items():
            wheels[section] = {name: option["type"] for name, option in described["options"].items()}
    assert json.loads(table.NAMES.read_text()) == wheels
