"""The price of an idle stack for a month, computed from the template: `python -m benches.idle [--check]`.

Nothing is billed by the hour, but three things go on: Lambda polls the queues, a tick looks at the table every minute, and
it leaves a line in a log. The two keys are kept where that costs nothing. Storage is left out: there is next to none.
`--check` ends with 1 if the month costs a dollar or more.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches.cost import load_prices

ROOT: Final = Path(__file__).parents[1]

CEILING: Final = 1.00
"""Dollars a month."""

MINUTES: Final = 30 * 24 * 60

LONG_POLL: Final = 20
"""Seconds that a poller of Lambda waits for a message before it asks again; each time is a request."""

POLLERS: Final = 5
"""Of a queue's event source mapping when traffic is low, where it has a MaximumConcurrency (AWS Lambda's developer guide,
"Configuring scaling behavior for SQS event source mappings")."""
POLLERS_WHEN_IDLE: Final = 2
"""Lambda "can optimize" to so few where it has none."""

KEYS: Final = frozenset({"Signing", "Encryption"})
"""Properties of the keys' resource, each with the name of a parameter."""

KMS_REQUESTS: Final = 2
"""A rotation of the signing key decrypts and encrypts it. A tick that finds nothing needs no key."""

TICK_SECONDS: Final = 0.05
TICK_READS: Final = 1.5
"""Read units: three queries of an index that find nothing."""
TICK_WRITES: Final = 1
"""Write units: that the scheduler lives."""
TICK_LOG_BYTES: Final = 160
"""The function's own line. Lambda adds none of its own to an invocation that succeeded, unless `LambdaLogLevel` says so."""


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    count: float
    dollars: float


def lines(resources: Mapping[str, Any], prices: Mapping[str, Any]) -> list[Line]:
    """`resources` after SAM's transform, by logical id."""
    secrets = sum(resource["Type"] == "AWS::SecretsManager::Secret" for resource in resources.values())
    keys = sum(len(KEYS & resource["Properties"].keys()) for resource in of_type(resources, "Custom::Keys"))
    polls = sum(pollers(mapping["Properties"]) for mapping in mappings_of_queues(resources)) * MINUTES * 60 / LONG_POLL
    memory = resources["SchedulerFunction"]["Properties"]["MemorySize"] / 1024
    tick = (
        prices["lambda"]["request"]
        + TICK_SECONDS * memory * prices["lambda"]["gb_second_arm64"]
        + TICK_READS * prices["dynamodb"]["read_unit"]
        + TICK_WRITES * prices["dynamodb"]["write_unit"]
    )
    logged = MINUTES * TICK_LOG_BYTES / 2**30
    return [
        Line("keys in SSM", keys, keys * prices["ssm"]["parameter_month"]),
        *([Line("secrets", secrets, secrets * prices["secretsmanager"]["secret_month"])] if secrets else []),
        Line("requests to KMS", KMS_REQUESTS, KMS_REQUESTS * prices["kms"]["request"]),
        Line("polls of the queues", polls, polls * prices["sqs"]["request"]),
        Line("ticks", MINUTES, MINUTES * tick),
        Line("GB of the ticks' log", logged, logged * prices["logs"]["ingested_gb"]),
    ]


def lines_on_request(resources: Mapping[str, Any], prices: Mapping[str, Any]) -> list[Line]:
    """What parameters add to an idle stack (docs/monitoring.md)."""
    alarms = sum(resource["Type"] == "AWS::CloudWatch::Alarm" for resource in resources.values())
    return [
        Line("alarms", alarms, alarms * prices["cloudwatch"]["alarm_month"]),
        Line("dashboard", 1, prices["cloudwatch"]["dashboard_month"]),
    ]


def lines_of_parameters(
    resources: Mapping[str, Any], prices: Mapping[str, Any], parameters: Mapping[str, str]
) -> list[Line]:
    """What these parameters of a deployment add to `lines`."""
    alerts = bool(parameters.get("AlertEmail") or parameters.get("AlertTopicArn"))
    events = parameters.get("Events") == "Enabled"
    states = {"HasAlerts": alerts, "HasEvents": events, "AlertsOfEvents": alerts and events}
    on = {name for name, is_on in states.items() if is_on}
    alarms = sum(alarm.get("Condition") in on for alarm in of_type(resources, "AWS::CloudWatch::Alarm"))
    dashboards = int(parameters.get("Dashboard") == "Enabled")
    mappings = [each for each in of_type(resources, "AWS::Lambda::EventSourceMapping") if each.get("Condition") in on]
    polls = sum(pollers(each["Properties"]) for each in mappings if is_of_queue(each, resources))
    polls *= MINUTES * 60 // LONG_POLL
    return [
        Line("alarms", alarms, alarms * prices["cloudwatch"]["alarm_month"]),
        Line("dashboard", dashboards, dashboards * prices["cloudwatch"]["dashboard_month"]),
        Line("polls of the queue of events", polls, polls * prices["sqs"]["request"]),
    ]


def of_type(resources: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    return [resource for resource in resources.values() if resource["Type"] == kind]


def of_mwaa(prices: Mapping[str, Any]) -> Line:
    """The same month of Amazon MWAA's smallest environment, without its storage."""
    return Line("MWAA's mw1.micro", MINUTES / 60, MINUTES / 60 * prices["mwaa"]["micro_hour"])


def mappings_of_queues(resources: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        resource
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and "Condition" not in resource  # what a parameter turns on: `lines_of_parameters`
        and is_of_queue(resource, resources)
    ]


def is_of_queue(mapping: Mapping[str, Any], resources: Mapping[str, Any]) -> bool:
    source = mapping["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]
    return bool(resources[source]["Type"] == "AWS::SQS::Queue")


def pollers(mapping: Mapping[str, Any]) -> int:
    return POLLERS if mapping.get("ScalingConfig", {}).get("MaximumConcurrency") else POLLERS_WHEN_IDLE


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benches.idle", description=__doc__)
    parser.add_argument("--check", action="store_true", help=f"exit code 1 from ${CEILING:.2f} a month")
    options = parser.parse_args(arguments)

    from gust.local import deployment

    resources, prices = deployment.transform(ROOT, {})["Resources"], load_prices()
    found = lines(resources, prices)
    for line in found:
        print(told(line))
    together = sum(line.dollars for line in found)
    print(f"{'a month':24} {'':12}  ${together:.2f}")
    print(told(of_mwaa(prices)))
    for line in lines_on_request(resources, prices):
        print(told(Line(f"{line.what} (by parameter)", line.count, line.dollars)))
    if options.check and together >= CEILING:
        print(f"An idle stack costs ${together:.2f} a month; less than ${CEILING:.2f} is the target.", file=sys.stderr)
        return 1
    return 0


def told(line: Line) -> str:
    return f"{line.what:24} {line.count:12,.2f}  ${line.dollars:.2f}"


if __name__ == "__main__":
    # `gust` is not installed: the benches run from the checkout, as the tests do.
    sys.path.insert(0, str(ROOT / "shared"))
    sys.exit(main())
