"""Events from outside: who may send them, where they end, and that a stack without them has nothing for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gust.local import deployment
from gust.services.events.event_template import OF_FILE
from gust.services.events.start_by_event import FOLLOWS_FOR
from tests.template.rights import statements

ROOT = Path(__file__).parents[2]
Resources = dict[str, dict[str, Any]]


def test_a_stack_without_events_has_no_queue_no_function_and_no_rule_for_them(resources: Resources) -> None:
    ours = ("Events", "EventBus", "ObjectsCreated", "DeployerFollowsEvents")
    named = [name for name in resources if name.startswith(ours)]
    assert len(named) >= 9
    conditions = {resources[name].get("Condition") for name in named}
    assert conditions == {"HasEvents", "HasBus", "WatchesBuckets", "AlertsOfEvents", "EventsUseKey"}


def test_a_stack_that_tells_nothing_and_has_no_alerts_reads_its_stream_once(resources: Resources) -> None:
    readers = {
        mapping["Properties"]["FunctionName"]["Ref"]: mapping.get("Condition")
        for mapping in resources.values()
        if mapping["Type"] == "AWS::Lambda::EventSourceMapping" and "StartingPosition" in mapping["Properties"]
    }
    assert readers == {"SchedulerFunction": None, "AnnouncerFunction": "Announces"}
    assert resources["AnnouncerFunction"]["Condition"] == "Announces"


def test_the_announcer_reads_the_table_and_sends_to_the_stacks_bus_alone(resources: Resources) -> None:
    allowed = statements(resources["AnnouncerRole"])
    may = {action: one["Resource"] for one in allowed for action in _list(one["Action"])}
    of_table = {action for action, where in may.items() if where == {"Fn::GetAtt": ["Table", "Arn"]}}
    assert of_table == {"dynamodb:GetItem", "dynamodb:Query"}
    assert may["events:PutEvents"] == {"Fn::GetAtt": ["EventBus", "Arn"]}


def test_only_failed_runs_of_the_stack_are_mailed(resources: Resources) -> None:
    rule = resources["FailedRuns"]
    assert rule["Condition"] == "HasAlerts"
    assert rule["Properties"]["EventPattern"]["detail"] == {"state": ["failed"]}
    assert rule["Properties"]["EventBusName"] == {"Ref": "EventBus"}


def test_only_rules_of_the_stack_may_send_to_the_queue(resources: Resources) -> None:
    (statement,) = resources["EventsQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    rules = statement["Condition"]["ArnLike"]["aws:SourceArn"]
    assert rules[0]["Fn::Sub"].endswith(":rule/${EventBus}/events.yaml-*")
    assert [rule["Fn::If"][1]["Fn::GetAtt"][0] for rule in rules[1:]] == ["ObjectsCreated", "FromDefaultBus"]


def test_the_deployer_makes_rules_of_the_stacks_bus_for_the_stacks_queue_alone(resources: Resources) -> None:
    statements = resources["DeployerFollowsEvents"]["Properties"]["PolicyDocument"]["Statement"]
    may = {action: one for one in statements for action in _list(one["Action"])}
    assert may["events:PutTargets"]["Condition"] == {
        "ForAllValues:ArnEquals": {"events:TargetArn": {"Fn::GetAtt": ["EventsQueue", "Arn"]}}
    }
    for action in ("events:PutTargets", "events:PutRule", "events:DeleteRule", "events:RemoveTargets"):
        assert may[action]["Resource"]["Fn::Sub"].endswith(":rule/${EventBus}/events.yaml-*")
    assert may.keys() - {"events:ListRules", "events:TestEventPattern"} == {
        "events:PutTargets",
        "events:PutRule",
        "events:DeleteRule",
        "events:RemoveTargets",
    }


def test_the_deployer_makes_no_rule_any_more_when_the_bus_goes(resources: Resources) -> None:
    """What names a resource is deleted before it: `./gust delete` and `deploy` count on that."""
    assert resources["EventBus"]["Properties"]["Name"] == {"Ref": "AWS::StackName"}
    assert "${EventBus}" in json.dumps(resources["DeployerFollowsEvents"]["Properties"])
    bus = resources["DagProcessorFunction"]["Properties"]["Environment"]["Variables"]["GUST_EVENT_BUS"]
    assert bus == {"Fn::If": ["HasEvents", {"Ref": "EventBus"}, ""]}
    right = [each for each in statements(resources["DagProcessorRole"]) if "events:PutRule" in _list(each["Action"])]
    assert right == [], "the policy alone has it"


def _list(action: Any) -> list[str]:
    return action if isinstance(action, list) else [action]


def test_what_eventbridge_cannot_deliver_ends_where_the_functions_failures_do(resources: Resources) -> None:
    (target,) = resources["ObjectsCreated"]["Properties"]["Targets"]
    dead = resources["EventsQueue"]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]
    assert target["DeadLetterConfig"]["Arn"] == dead


def test_no_event_is_given_up_because_the_entries_before_it_are_slow(resources: Resources) -> None:
    """In a burst of ten thousand events, for each of which a file's entries take all the time that they may."""
    queue = resources["EventsQueue"]["Properties"]
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    (batch,) = (
        one["Properties"]["BatchSize"]
        for one in resources.values()
        if one.get("Properties", {}).get("EventSourceArn") == {"Fn::GetAtt": ["EventsQueue", "Arn"]}
    )
    followed = FOLLOWS_FOR / OF_FILE / batch
    assert 10_000 * (1 - followed) ** receives < 0.01
    assert 3600 < receives * queue["VisibilityTimeout"] < 7200, (
        "how long the table may be away, and a bad event comes again"
    )
    assert resources["EventsFunction"]["Properties"]["Timeout"] > FOLLOWS_FOR + 2 * OF_FILE


def test_the_function_reads_specs_and_no_other_object(resources: Resources) -> None:
    allowed = statements(resources["EventsRole"])
    read = [one["Resource"] for one in allowed if one["Action"] == "s3:GetObject"]
    assert read == [{"Fn::Sub": "${Bucket.Arn}/specs/*"}]


def test_the_function_knows_its_own_queue_and_reads_no_other(resources: Resources) -> None:
    """Queues that an operator watches get a policy of their own from `./gust watch-queue`."""
    own = {"Fn::GetAtt": ["EventsQueue", "Arn"]}
    assert resources["EventsFunction"]["Properties"]["Environment"]["Variables"]["GUST_EVENTS_QUEUE_ARN"] == own
    allowed = statements(resources["EventsRole"])
    assert [one["Resource"] for one in allowed if "sqs:ReceiveMessage" in _list(one["Action"])] == [own]


def test_the_rule_names_the_watched_buckets(resources: Resources) -> None:
    pattern = resources["ObjectsCreated"]["Properties"]["EventPattern"]
    assert pattern["detail"]["bucket"]["name"]["Fn::If"][2] == {"Ref": "WatchedBuckets"}
    assert deployment.transform(ROOT, {})["Conditions"]["WatchesBuckets"]


def test_aws_tells_the_scheduler_and_only_where_that_is_asked_for(resources: Resources) -> None:
    rules = {
        name: one for name, one in resources.items() if name.startswith("Wakes") and "EventPattern" in one["Properties"]
    }
    assert {rule["Condition"] for rule in rules.values()} == {"WakesTriggers"}
    dead = resources["WakesQueue"]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]
    for rule in rules.values():
        assert "EventBusName" not in rule["Properties"], "AWS's events are on the default bus"
        (target,) = rule["Properties"]["Targets"]
        assert target["Arn"] == {"Fn::GetAtt": ["WakesQueue", "Arn"]}
        assert target["DeadLetterConfig"]["Arn"] == dead
    names = [rule["Properties"]["Name"]["Fn::Sub"] for rule in rules.values()]
    assert len(set(names)) == len(names) == 6
    policies = [resource for resource in resources.values() if resource["Type"] == "AWS::SQS::QueuePolicy"]
    queues = [json.dumps(queue) for policy in policies for queue in policy["Properties"]["Queues"]]
    assert len(set(queues)) == len(queues), "a queue has one policy: of two, the later one stays"
    statement = resources["WakesQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][-1]["Fn::If"][1]
    of_dead_letters = resources["WakesDeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"][-1]["Fn::If"]
    assert of_dead_letters[0] == "WakesTriggers"
    assert of_dead_letters[1]["Condition"] == statement["Condition"]
    allowed = statement["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"]
    assert allowed.endswith(":rule/${AWS::StackName}-wakes-*")
    assert all(name.startswith("${AWS::StackName}-wakes-") for name in names)
