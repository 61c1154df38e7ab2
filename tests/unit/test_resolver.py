"""Paths find their routes, and a cold start compiles none of their patterns."""

from __future__ import annotations

import pytest

from gust.http.resolver import Resolver, Rule


def rule(text: str) -> Rule:
    found = Resolver._compile_regex(text)
    assert isinstance(found, Rule)
    return found


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("/dags", "/dags", {}),
        ("/dags", "/dags/", None),
        ("/dags", "/dag", None),
        ("/dags/<dag_id>", "/dags/a b.c:d\n%", {"dag_id": "a b.c:d\n%"}),
        ("/dags/<dag_id>", "/dags/a/b", None),
        ("/dags/<dag_id>/dagRuns/<run_id>", "/dags/a/dagRuns/b", {"dag_id": "a", "run_id": "b"}),
        ("/xcomEntries/<key:path>", "/xcomEntries/a/b\nc", {"key": "a/b\nc"}),
        ("/openapi.json", "/openapi.json", {}),
        (".*", "/anything\nat all", {}),
    ],
)
def test_a_path_gives_the_values_of_its_parameters(text: str, path: str, values: dict[str, str] | None) -> None:
    found = rule(text).match(path)
    assert (None if found is None else found.groupdict()) == values
    assert rule(text).groups == text.count("<")


def test_no_pattern_is_compiled_before_a_path_begins_as_its_rule_does() -> None:
    resolver = Resolver()
    for path in ("/dags/<dag_id>", "/dags/<dag_id>/tasks", "/pools/<name>", "/version"):
        resolver.route(path, method="GET")(lambda **_: {})
    assert resolver.resolve(_asks("/dags/a"), None)["statusCode"] == 200
    routes = {route.path: route.rule for route in (*resolver._static_routes, *resolver._dynamic_routes)}
    assert [path for path, rule in routes.items() if "_pattern" in vars(rule)] == ["/dags/<dag_id>"]
    assert resolver.resolve(_asks("/nowhere"), None)["statusCode"] == 404


def _asks(path: str) -> dict[str, object]:
    context = {"http": {"method": "GET", "path": path}, "stage": "$default"}
    return {"version": "2.0", "rawPath": path, "requestContext": context}
