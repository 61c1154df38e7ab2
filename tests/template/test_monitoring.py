"""Metrics, alarms and the dashboard: what the template names exists, and the pages say what a person does about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from benches.cost import LAMBDA_LOG_LEVEL
from gust.model.measurement import NAMESPACE, Name
from tests.template.rights import traces

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MEASURES = ("DagProcessorFunction", "SchedulerFunction", "ExecutionApiFunction", "ApiFunction", "EventsFunction")

Resources = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def alarms(resources: Resources) -> Resources:
    found = {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
    assert found
    return found


@pytest.fixture(scope="module")
def widgets(resources: Resources) -> list[dict[str, Any]]:
    return [widget["properties"] for widget in _dashboard(resources) if widget["type"] == "metric"]


def _dashboard(resources: Resources) -> list[dict[str, Any]]:
    widgets: list[dict[str, Any]] = json.loads(
        resources["MonitoringDashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    )["widgets"]
    return widgets


def test_every_function_that_stores_what_it_decides_measures_it(resources: Resources) -> None:
    for function in MEASURES:
        variables = resources[function]["Properties"]["Environment"]["Variables"]
        assert variables["GUST_STACK"] == {"Ref": "AWS::StackName"}
        assert variables["GUST_METRICS"] == {"Ref": "Metrics"}


def test_the_page_explains_every_metric() -> None:
    page = (DOCS / "monitoring.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(get_args(Name))
    assert len(set(get_args(Name)) - {"EventsRefused", "EventsWaiting"}) <= 10, "CloudWatch's free tier has ten"


def test_alarms_watch_metrics_that_are_measured(alarms: Resources) -> None:
    of_gust = {alarm["MetricName"] for alarm in alarms.values() if alarm["Namespace"] == NAMESPACE}
    assert of_gust
    assert of_gust <= set(get_args(Name))


def test_every_queue_of_dead_letters_has_an_alarm(alarms: Resources, resources: Resources) -> None:
    dead = {name for name, each in resources.items() if name.endswith("DeadLetters")}
    watched = {
        dimension["Value"]["Fn::GetAtt"][0]
        for alarm in alarms.values()
        for dimension in alarm["Dimensions"]
        if dimension["Name"] == "QueueName"
    }
    assert dead <= watched


def test_what_a_rule_cannot_deliver_comes_to_dead_letters(resources: Resources) -> None:
    """EventBridge counts it as failed, which no alarm reads: a rule whose tick Lambda refuses was triggered all the same."""
    rules = {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::Events::Rule"}
    assert {"SchedulerFunctionTick", "ConfigurationChanged", "FailedRuns"} <= rules.keys()
    for name, rule in rules.items():
        for target in rule["Targets"]:
            (queue, _) = target.get("DeadLetterConfig", {}).get("Arn", {}).get("Fn::GetAtt", ["nowhere", ""])
            assert queue.endswith("DeadLetters"), name
            allowed = _may_send(resources, queue)
            own = json.dumps({"Fn::GetAtt": [name, "Arn"]})
            assert own in allowed or ("-wakes-*" in allowed and "-wakes-" in json.dumps(rule.get("Name"))), name


def _may_send(resources: Resources, queue: str) -> str:
    """The conditions under which EventBridge may send to the queue."""
    policies = [
        each["Properties"]
        for each in resources.values()
        if each["Type"] == "AWS::SQS::QueuePolicy" and {"Ref": queue} in each["Properties"]["Queues"]
    ]
    return json.dumps([policy["PolicyDocument"]["Statement"] for policy in policies])


def test_the_alert_topic_takes_cloudwatchs_messages_of_this_account_and_eventbridges_without_a_condition(
    resources: Resources,
) -> None:
    """AWS: "You can't use Condition blocks in Amazon SNS topic policies for EventBridge". With one, the topic refuses
    every message of a failed run."""
    statements = resources["AlertTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    conditions = {statement["Principal"]["Service"]: statement.get("Condition") for statement in statements}
    assert conditions == {
        "events.amazonaws.com": None,
        "cloudwatch.amazonaws.com": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }


def test_every_reader_of_a_stream_has_an_alarm(alarms: Resources, resources: Resources) -> None:
    """Lambda reads a shard no further while a function fails on one of its batches."""
    of_tables = {
        each["Properties"]["FunctionName"]["Ref"]
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::EventSourceMapping" and "StartingPosition" in each["Properties"]
    }
    assert of_tables
    of_watched_streams = {"EventsFunction"}
    watched = {
        dimension["Value"]["Ref"]
        for alarm in alarms.values()
        if alarm["MetricName"] == "IteratorAge"
        for dimension in alarm["Dimensions"]
    }
    assert watched == of_tables | of_watched_streams


def test_every_alarm_has_a_runbook_that_begins_with_what_a_person_sees(alarms: Resources) -> None:
    page = (DOCS / "runbooks.md").read_text()
    sections = {
        title.lower().replace(" ", "-"): text
        for title, text in re.findall(r"^## ([^\n]+)\n\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }
    named = {re.findall(r"docs/runbooks\.md#([\w-]+)$", alarm["AlarmDescription"])[0] for alarm in alarms.values()}
    assert named == set(sections)
    for title, text in sections.items():
        assert text.startswith("**You see**"), title


def test_there_are_no_alarms_and_no_dashboard_unless_asked_for(source: dict[str, Any], resources: Resources) -> None:
    for resource in resources.values():
        if resource["Type"] == "AWS::CloudWatch::Alarm":
            assert resource["Condition"] in {"HasAlerts", "AlertsOfEvents"}
    assert resources["MonitoringDashboard"]["Condition"] == "HasDashboard"
    parameters = source["Parameters"]
    assert [parameters[name]["Default"] for name in ("AlertEmail", "AlertTopicArn", "Dashboard")] == [
        "",
        "",
        "Disabled",
    ]


def test_the_dashboard_shows_every_metric_and_only_what_exists(
    widgets: list[dict[str, Any]], resources: Resources
) -> None:
    functions = {
        each["Properties"]["FunctionName"]["Fn::Sub"]
        for each in resources.values()
        if each["Type"] == "AWS::Lambda::Function"
    }
    shown = [metric for widget in widgets for metric in widget["metrics"] if not isinstance(metric[0], dict)]
    for metric in shown:
        match metric[:4]:
            case ["AWS/Lambda", _, "FunctionName", name]:
                assert name in functions
            case ["AWS/SQS", _, "QueueName", name]:
                assert resources[name.removeprefix("${").removesuffix(".QueueName}")]["Type"] == "AWS::SQS::Queue"
            case ["AWS/DynamoDB", _, "TableName", name]:
                assert name == "${Table}"
            case [namespace, _, "Stack", "${AWS::StackName}"]:
                assert namespace == NAMESPACE
            case unknown:
                pytest.fail(f"{unknown}")
    assert {metric[1] for metric in shown if metric[0] == NAMESPACE} == set(get_args(Name))


def test_the_dashboard_counts_what_things_cost_as_the_bench_does(widgets: list[dict[str, Any]]) -> None:
    from benches.cost import load_prices

    prices = load_prices()
    (sum_of,) = [metric[0]["expression"] for widget in widgets for metric in widget["metrics"] if len(metric) == 1]
    numbers = {float(number) for number in re.findall(r"\d*\.\d+", sum_of)}
    assert numbers == {
        prices["lambda"]["gb_second_arm64"],
        prices["lambda"]["request"],
        prices["dynamodb"]["write_unit"],
        prices["dynamodb"]["read_unit"],
    }


def test_the_dashboard_shows_by_dag_what_poking_costs_as_the_command_does(resources: Resources) -> None:
    from benches.cost import load_prices
    from gust.cli.poking import GB_SECOND, query

    (widget,) = [one["properties"] for one in _dashboard(resources) if one["type"] == "log"]
    assert widget["query"] == f"SOURCE '${{TaskLogs}}' | {query('1769')}", "with the parameter's default"
    assert resources["TaskLogs"]["Type"] == "AWS::Logs::LogGroup"
    assert float(GB_SECOND) == load_prices()["lambda"]["gb_second_arm64"]


def test_every_function_is_traced_where_it_is_asked_for(source: dict[str, Any], resources: Resources) -> None:
    assert source["Parameters"]["Tracing"]["Default"] == "Disabled"
    functions = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::Lambda::Function"]
    assert all(each["TracingConfig"] == {"Mode": {"Fn::If": ["Traces", "Active", "PassThrough"]}} for each in functions)
    # Lambda refuses a traced function whose role may not send traces: a policy beside the role might come too late.
    for function in functions:
        (right,) = traces(resources[function["Role"]["Fn::GetAtt"][0]])
        _, allowed, otherwise = right["Fn::If"]
        assert set(allowed["Action"]) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
        assert otherwise == {"Ref": "AWS::NoValue"}


def test_lambda_writes_of_failed_invocations_alone_unless_told_otherwise(
    source: dict[str, Any], resources: Resources
) -> None:
    """The two lines that it writes of each invocation otherwise would be an eighth of a task's price."""
    assert source["Parameters"]["LambdaLogLevel"]["Default"] == LAMBDA_LOG_LEVEL
    functions = {name: each for name, each in resources.items() if each["Type"] == "AWS::Lambda::Function"}
    for name, function in functions.items():
        assert function["Properties"]["LoggingConfig"]["SystemLogLevel"] == {"Ref": "LambdaLogLevel"}, name
