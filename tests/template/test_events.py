"""Events from outside: who may send them, where they end, and that a stack without them has nothing for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gust.local import deployment

ROOT = Path(__file__).parents[2]
Resources = dict[str, dict[str, Any]]


def test_a_stack_without_events_has_no_queue_no_function_and_no_rule_for_them(resources: Resources) -> None:
    named = [name for name in resources if name.startswith(("Events", "ObjectsCreated"))]
    assert len(named) >= 7
    assert {
        name
        for name in named
        if resources[name].get("Condition") not in {"HasEvents", "WatchesBuckets", "AlertsOfEvents", "EventsUseKey"}
    } == set()


def test_only_the_rule_may_send_to_the_queue(resources: Resources) -> None:
    (statement,) = resources["EventsQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["ObjectsCreated", "Arn"]}}}


def test_what_eventbridge_cannot_deliver_ends_where_the_functions_failures_do(resources: Resources) -> None:
    (target,) = resources["ObjectsCreated"]["Properties"]["Targets"]
    dead = resources["EventsQueue"]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]
    assert target["DeadLetterConfig"]["Arn"] == dead


def test_the_function_reads_specs_and_no_other_object(resources: Resources) -> None:
    statements = resources["EventsRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    read = [one["Resource"] for one in statements if one["Action"] == "s3:GetObject"]
    assert read == [{"Fn::Sub": "${Bucket.Arn}/specs/*"}]


def test_the_rule_names_the_watched_buckets(resources: Resources) -> None:
    pattern = resources["ObjectsCreated"]["Properties"]["EventPattern"]
    assert pattern["detail"]["bucket"]["name"]["Fn::If"][2] == {"Ref": "WatchedBuckets"}
    assert deployment.transform(ROOT, {})["Conditions"]["WatchesBuckets"]
