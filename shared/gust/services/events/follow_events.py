"""Keeps EventBridge's rules in step with the entries of all `events.yaml` files."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gust.model.event_rule import EventFile, EventRule, is_events_file
from gust.ports.event_bus import OFF
from gust.services.context import Services


def mistakes_in(
    services: Services, filename: str, rules: Iterable[EventRule], *, gone: Collection[str] = ()
) -> list[str]:
    """EventBridge's objections to the file's patterns, with their lines, and ours where there are too many, without those of
    the files that are `gone`."""
    rules = list(rules)
    if rules and not services.event_bus.is_on:
        return [f"{filename}, line {rules[0].line}: {OFF}"]
    found = [
        f"{filename}, line {rule.line}: {reason}"
        for rule in rules
        if (reason := services.event_bus.why_invalid(rule.pattern_text)) is not None
    ]
    others = {
        pattern_id
        for file in services.store.list_event_files()
        if file.filename not in {filename, *gone}
        for pattern_id in file.patterns
    }
    together = len(others | {rule.pattern_id for rule in rules})
    if rules and together > (most := services.event_bus.most_patterns()):
        found.append(
            f"{filename}, line {rules[-1].line}: all files together have {together} patterns; {most} are possible"
        )
    return found


def put_event_rules(services: Services, filename: str, rules: Iterable[EventRule]) -> None:
    """Store the file's entries in the place of its earlier ones. The rules follow with `follow_events`."""
    if file := tuple(rules):
        services.store.put_event_file(EventFile.of(filename, file))
    else:
        services.store.delete_event_file(filename)


def follow_events(services: Services, changed: Iterable[str]) -> None:
    """Have the bus deliver what the stored entries match. Repeating it changes nothing. `changed`: files of the deployment;
    one without an `events.yaml`, where none is stored, does not depend on EventBridge."""
    if not services.event_bus.is_on:
        return
    files = services.store.list_event_files()
    if not files and not any(map(is_events_file, changed)):
        return
    services.event_bus.follow({name: text for file in files for name, text in file.patterns.items()})
