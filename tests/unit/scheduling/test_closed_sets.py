"""A match over states, rules or verdicts names every member: a new member is an error of the type checker, not a silent
`pass`."""

from __future__ import annotations

import ast
from pathlib import Path

import gust.scheduling

SOURCES = sorted(Path(gust.scheduling.__file__).parent.glob("*.py"))


def test_no_match_over_a_closed_set_swallows_the_rest():
    found = [
        f"{source.name}:{node.lineno}"
        for source in SOURCES
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Match) and is_over_enum(node) and swallows_the_rest(node)
    ]
    assert not found, "end these with `case _: assert_never(…)`"


def is_over_enum(match: ast.Match) -> bool:
    return any(isinstance(part, ast.MatchValue) and isinstance(part.value, ast.Attribute) for part in ast.walk(match))


def swallows_the_rest(match: ast.Match) -> bool:
    last = match.cases[-1]
    is_wildcard = isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None and last.guard is None
    return is_wildcard and "assert_never" not in ast.unparse(last.body[0])
