"""Read an `events.yaml`: entries with the lines that they are on, and every mistake with its line.

Nothing of the file is run, but a small text can describe a huge document: it is read in a child, as DAG files are.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from gust.model.bounds import LONGEST_KEY, size_in_key
from gust.model.event_rule import EventFile, EventRule
from gust.model.json_text import half_character
from gust.services.events.event_template import expression_in, expressions, why_no_expression

LARGEST: Final = 200_000
"""Bytes of the file."""

LARGEST_STORED: Final = 250_000
"""Characters of all entries as JSON, which aliases of YAML may repeat: an item of the table holds them."""

MOST_OF_A_PATTERN: Final = 100
"""Entries of the file that one event may match by one pattern: the function follows them in one invocation."""

LONGEST_PATTERN: Final = 2048
"""Characters; EventBridge takes no more by default."""

_FIELDS: Final = frozenset(
    {"source", "pattern", "dag_id", "asset", "conf", "extra", "logical_date", "partition_key", "dedup_key"}
)
_OF_DAG: Final = frozenset({"conf", "logical_date"})
_OF_ASSET: Final = frozenset({"extra"})
_TEXTS: Final = ("dag_id", "asset", "logical_date", "partition_key", "dedup_key")


@dataclass
class EventFileRead:
    """The entries, and the mistakes, a line each."""

    filename: str
    rules: list[EventRule] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    lines: set[int] = field(default_factory=set)
    """In which entries begin."""
    patterns: Counter[str] = field(default_factory=Counter)
    """Pattern → how many entries have it."""

    def complain(self, line: int, what: str) -> None:
        self.mistakes.append(f"{self.filename}, line {line}: {what}")


def read_event_file(text: str, filename: str) -> EventFileRead:
    """Raises nothing for any text. An entry has a line of its own: the store tells entries apart by their lines."""
    read = EventFileRead(filename)
    if len(text.encode()) > LARGEST:
        read.complain(1, f"the file is larger than {LARGEST // 1000} KB")
        return read
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return read
        if not isinstance(root, yaml.SequenceNode):
            read.complain(_line(root), "the file is a list: each entry begins with “- source: …”")
            return read
        for node in root.value:
            _read_entry(read, loader, node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        read.complain(mark.line + 1 if mark else 1, f"this is no YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        read.complain(1, f"this is no YAML: {error}")
    except RecursionError:
        read.complain(1, "the values are nested too deeply")
    if not read.mistakes and (size := len(json.dumps(EventFile.of(filename, read.rules).entries))) > LARGEST_STORED:
        read.complain(1, f"all entries together take {size:,} characters of JSON; {LARGEST_STORED:,} are possible")
    return read


def _read_entry(read: EventFileRead, loader: yaml.SafeLoader, node: yaml.Node) -> None:
    if not isinstance(node, yaml.MappingNode):
        read.complain(_line(node), "an entry has names and values: “source: …”, “dag_id: …”")
        return
    lines: dict[str, int] = {}
    entry: dict[str, Any] = {}
    before = len(read.mistakes)
    for name_node, value_node in node.value:
        name = str(getattr(name_node, "value", ""))
        if name in lines:
            read.complain(_line(name_node), f"{name} is there twice")
        elif name not in _FIELDS:
            read.complain(_line(name_node), f"there is no {name}; there are {', '.join(sorted(_FIELDS))}")
        else:
            lines[name] = _line(name_node)
            entry[name] = _value(read, loader, value_node)
    for line, what in _mistakes(entry, lines, _line(node)):
        read.complain(line, what)
    if _line(node) in read.lines:
        read.complain(_line(node), "two entries begin in this line; write each in a line of its own")
    read.lines.add(_line(node))
    if len(read.mistakes) == before:
        fields = {
            name: value for name, value in entry.items() if name not in {"source", "pattern"} and value is not None
        }
        rule = EventRule(line=_line(node), pattern=_pattern(entry), **fields)
        read.rules.append(rule)
        read.patterns[rule.pattern_text] += 1
        if read.patterns[rule.pattern_text] == MOST_OF_A_PATTERN + 1:
            read.complain(_line(node), f"more than {MOST_OF_A_PATTERN} entries of the file have this pattern")


def _value(read: EventFileRead, loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """As JSON has it: its names are texts."""
    try:
        text = json.dumps(loader.construct_document(node), allow_nan=False)
        value = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        read.complain(_line(node), f"JSON has no such value ({error}); put it in quotes")
        return None
    if half_character(text, value):
        read.complain(_line(node), "a text has half of a surrogate pair, which is no character")
        return None
    return value


def _pattern(entry: Mapping[str, Any]) -> dict[str, Any]:
    source = entry["source"]
    return {"source": source if isinstance(source, list) else [source], **(entry.get("pattern") or {})}


def _mistakes(entry: Mapping[str, Any], lines: Mapping[str, int], start: int) -> Iterator[tuple[int, str]]:
    source, pattern = entry.get("source"), entry.get("pattern")
    if not source or not isinstance(source, str | list):
        yield lines.get("source", start), "source is the event's source, or a list in EventBridge's pattern language"
    if pattern is not None and not isinstance(pattern, Mapping):
        yield lines["pattern"], "pattern is an event pattern of EventBridge, as YAML"
    elif pattern and "source" in pattern:
        yield lines["pattern"], "the source stands beside the pattern, not in it"
    elif source and len(json.dumps(_pattern(entry))) > LONGEST_PATTERN:
        yield lines.get("pattern", start), f"a pattern has at most {LONGEST_PATTERN} characters as JSON"
    of_dag = entry.get("dag_id") is not None
    if of_dag == (entry.get("asset") is not None):
        yield start, "an entry has a dag_id or an asset, one of the two"
    for name in sorted(entry.keys() & (_OF_ASSET if of_dag else _OF_DAG)):
        yield lines[name], f"{name} belongs to an entry with {'an asset' if of_dag else 'a dag_id'}"
    for name in _TEXTS:
        if entry.get(name) is not None and (not isinstance(entry[name], str) or not entry[name].strip()):
            yield lines[name], f"{name} is a text; put it in quotes"
    for name in ("conf", "extra"):
        value = entry.get(name)
        is_object = isinstance(value, Mapping) or (isinstance(value, str) and expression_in(value) is not None)
        if value is not None and not is_object:
            yield lines[name], f"{name} has names and values, or is one expression: “{{% detail %}}”"
    for name in ("dag_id", "asset"):
        if isinstance(entry.get(name), str) and re.search(r"\{%", entry[name]):
            yield lines[name], f"{name} is fixed; it takes no expression"
        if isinstance(entry.get(name), str) and size_in_key(entry[name]) > LONGEST_KEY:
            yield lines[name], f"{name} is longer than the {LONGEST_KEY} bytes that a name can have"
    for name in ("conf", "extra", "logical_date", "partition_key", "dedup_key"):
        for expression in expressions(entry.get(name)):
            if (reason := why_no_expression(expression)) is not None:
                yield lines[name], f"{name}: {reason}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
