"""What an `events.yaml` may say, and that each mistake is named with its line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.event_file import read_event_file
from gust.airflow_bridge.parse import parse_in_environment
from gust.airflow_bridge.settings_reader import nothing_stored
from gust.aws.memory import MemoryObjects
from gust.model.event_rule import EventFile, EventRule

WHOLE = """\
# Orders start the DAG.
- source: shop
  pattern:
    detail-type: [Order Placed]
    detail: {total: [{numeric: [">", 100]}]}
  dag_id: handle_order
  conf:
    order: "{% detail.order_id %}"
    fixed: [1, "{% detail.items[0] %}"]
  logical_date: "{% time %}"
  dedup_key: "{% detail.order_id %}"

- source: [{prefix: "aws."}]
  asset: s3://lake/orders
  extra: "{% detail %}"
"""


def mistakes(text: str) -> list[str]:
    return [line.removeprefix("events.yaml, ") for line in read_event_file(text, "events.yaml").mistakes]


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """Of calls, as Python allows them in a parser: another test of this process may have had a library change it."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("usual_depth")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "- {source: s, dag_id: d}\n- source: s\n  dag_id: d\n  conf: {a: '\\ud800'}\n".replace("'", '"'),
            "line 4: a text has half",
        ),
        ("- &a {source: s, dag_id: d}\n- *a\n", "line 1: two entries begin in this line"),
        ("[{source: s, dag_id: d}, {source: t, dag_id: e}]", "line 1: two entries begin in this line"),
        ("- {source: s, dag_id: null}\n", "line 1: an entry has a dag_id or an asset"),
        (f"- {{source: s, dag_id: {'d' * 900}}}\n", "line 1: dag_id is longer than the 900 bytes"),
        (f"- {{source: s, dag_id: d, conf: {{a: {'[' * 500}{']' * 500}}}}}\n", "line 1: the values are nested too"),
        (f"- {{source: s, dag_id: d, conf: {{a: {'9' * 5000}}}}}\n", "line 1: JSON has no such value"),
        ("- {source: s, dag_id: d, conf: {a: !!int x}}\n", "line 1: JSON has no such value"),
        ("- {source: s, dag_id: d, conf: {a: 2026-99-99}}\n", "line 1: JSON has no such value"),
        (
            f"- source: s\n  dag_id: d\n  conf: {{a: &a [{'x, ' * 999}x], b: &b [{'*a, ' * 60}*a], c: [*b, *b]}}\n",
            "line 1: all entries together take",
        ),
    ],
)
def test_what_no_store_can_hold_is_the_mistake_of_the_file(text: str, told: str) -> None:
    """One file's text must not fail the deployment of all the others."""
    (mistake,) = mistakes(text)
    assert mistake.startswith(told)


def test_names_are_texts_as_in_json() -> None:
    (rule,) = read_event_file("- {source: s, dag_id: d, conf: {1: a, null: b}}", "events.yaml").rules
    assert rule.conf == {"1": "a", "null": "b"}


def test_entries_are_read_with_their_lines() -> None:
    read = read_event_file(WHOLE, "events.yaml")
    assert read.mistakes == []
    assert read.rules == [
        EventRule(
            line=2,
            pattern={
                "source": ["shop"],
                "detail-type": ["Order Placed"],
                "detail": {"total": [{"numeric": [">", 100]}]},
            },
            dag_id="handle_order",
            conf={"order": "{% detail.order_id %}", "fixed": [1, "{% detail.items[0] %}"]},
            logical_date="{% time %}",
            dedup_key="{% detail.order_id %}",
        ),
        EventRule(line=13, pattern={"source": [{"prefix": "aws."}]}, asset="s3://lake/orders", extra="{% detail %}"),
    ]
    assert EventFile.of("events.yaml", read.rules).rules == read.rules


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "[]"])
def test_a_file_may_be_empty(text: str) -> None:
    assert read_event_file(text, "events.yaml").rules == []
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: x\ndag_id: y\n", "line 1: the file is a list: each entry begins with “- source: …”"),
        ("- x\n", "line 1: an entry has names and values: “source: …”, “dag_id: …”"),
        ("- dag_id: y\n", "line 1: source is the event's source, or a list in EventBridge's pattern language"),
        ("- source: x\n", "line 1: an entry has a dag_id or an asset, one of the two"),
        ("- source: x\n  dag_id: y\n  asset: z\n", "line 1: an entry has a dag_id or an asset, one of the two"),
        ("- source: x\n  dag_id: y\n  extra: {}\n", "line 3: extra belongs to an entry with an asset"),
        ("- source: x\n  asset: y\n  conf: {}\n", "line 3: conf belongs to an entry with a dag_id"),
        ("- source: x\n  dag_id: 7\n", "line 2: dag_id is a text; put it in quotes"),
        ("- source: x\n  dag_id: y\n  dag_id: z\n", "line 3: dag_id is there twice"),
        ("- source: x\n  dag_id: y\n  conf: 1\n", "line 3: conf has names and values, or is one expression: “{% detail %}”"),
        ('- source: x\n  dag_id: "{% a %}"\n', "line 2: dag_id is fixed; it takes no expression"),
        ("- source: x\n  dag_id: y\n  pattern: [1]\n", "line 3: pattern is an event pattern of EventBridge, as YAML"),
        ("- source: x\n  dag_id: y\n  pattern: {source: [z]}\n", "line 3: the source stands beside the pattern, not in it"),
        (f"- source: x\n  dag_id: y\n  pattern: {{a: [{'x,' * 999}]}}", "line 3: a pattern has at most 2048 characters as JSON"),  # noqa: E501
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(text: str, said: str) -> None:
    assert mistakes(text) == [said]


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("- source: x\n  dag_id: y\n  config: {}\n", "line 3: there is no config; there are asset, conf,"),
        ("- source: x\n  dag_id: y\n  conf: {day: 2026-03-01}\n", "line 3: JSON has no such value"),
        ('- source: x\n  dag_id: y\n  conf: {a: "{% detail.( %}"}\n', "line 3: conf: {% detail.( %} is no JSONata:"),
        ("- source: x\n dag_id: y\n", "line 2: this is no YAML:"),
        (
            "- source: !!python/object/apply:os.system [ls]\n  dag_id: y\n",
            "line 1: this is no YAML: could not determine",
        ),
        ("x" * 200_001, "line 1: the file is larger than 200 KB"),
    ],
)
def test_a_mistake_with_a_reason_of_another_program(text: str, begins: str) -> None:
    (said,) = mistakes(text)
    assert said.startswith(begins)


def test_one_event_has_a_hundred_entries_of_a_pattern_at_most() -> None:
    entry = "- {source: shop, dag_id: etl}\n"
    assert mistakes(100 * entry + "- {source: other, dag_id: etl}\n") == []
    assert mistakes(103 * entry) == ["line 101: more than 100 entries of the file have this pattern"]


def test_all_mistakes_are_named_at_once() -> None:
    assert len(mistakes("- source: x\n- dag_id: y\n- source: z\n  dag_id: 1\n")) == 3


def parsed(folder: Path, text: str):
    (folder / "team").mkdir()
    (folder / "team/events.yaml").write_text(text)
    return parse_in_environment(
        BundleFolder(MemoryObjects()), folder, "team/events.yaml", "dags-folder", nothing_stored
    )


def test_the_parser_reads_it_without_running_anything(tmp_path: Path) -> None:
    outcome = parsed(tmp_path, WHOLE)
    assert outcome.import_errors == {}
    assert [rule.line for rule in outcome.event_rules] == [2, 13]


def test_a_text_that_grows_beyond_memory_is_an_import_error(tmp_path: Path) -> None:
    layers = "\n".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    bomb = f"- source: x\n  dag_id: y\n  conf:\n    a0: &a0 [lol]\n{layers.replace('  a', '    a')}\n"
    outcome = parsed(tmp_path, bomb)
    assert outcome.event_rules == ()
    assert list(outcome.import_errors) == ["team/events.yaml"]
