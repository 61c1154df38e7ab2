"""The price of an idle stack for a month, computed from the template: `python -m benches.idle`.

Nothing is billed by the hour, but four things go on: two secrets are kept, Lambda polls the queues, a tick looks at the
table every minute, and it leaves a line in a log. Storage is left out: an idle stack has next to none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benches.cost import load_prices

ROOT: Final = Path(__file__).parents[1]

MINUTES: Final = 30 * 24 * 60

LONG_POLL: Final = 20
"""Seconds that a poller of Lambda waits for a message before it asks again; each time is a request."""

POLLERS: Final = 5
"""Of a queue's event source mapping, always."""
POLLERS_WHEN_IDLE: Final = 2
"""Lambda goes down to so many where the mapping has no MaximumConcurrency."""

TICK_SECONDS: Final = 0.05
TICK_READS: Final = 1.5
"""Read units: three queries of an index that find nothing."""
TICK_WRITES: Final = 1
"""Write units: that the scheduler lives."""
TICK_LOG_BYTES: Final = 1_500
"""The function's own line, and Lambda's three about the invocation."""


@dataclass(frozen=True, slots=True)
class Line:
    what: str
    count: float
    dollars: float


def lines(resources: Mapping[str, Any], prices: Mapping[str, Any]) -> list[Line]:
    """`resources` after SAM's transform, by logical id."""
    secrets = sum(resource["Type"] == "AWS::SecretsManager::Secret" for resource in resources.values())
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
        Line("secrets", secrets, secrets * prices["secretsmanager"]["secret_month"]),
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


def mappings_of_queues(resources: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        resource
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and "Condition" not in resource  # what a parameter turns on says its price itself
        and resources[resource["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]]["Type"] == "AWS::SQS::Queue"
    ]


def pollers(mapping: Mapping[str, Any]) -> int:
    return POLLERS if mapping.get("ScalingConfig", {}).get("MaximumConcurrency") else POLLERS_WHEN_IDLE


def main() -> None:
    from gust.local import deployment

    resources, prices = deployment.transform(ROOT, {})["Resources"], load_prices()
    found = lines(resources, prices)
    for line in found:
        print(f"{line.what:22} {line.count:12,.2f}  ${line.dollars:.2f}")
    print(f"{'a month':22} {'':12}  ${sum(line.dollars for line in found):.2f}")
    for line in lines_on_request(resources, prices):
        print(f"{line.what + ' (by parameter)':22} {line.count:12,.2f}  ${line.dollars:.2f}")


if __name__ == "__main__":
    main()
