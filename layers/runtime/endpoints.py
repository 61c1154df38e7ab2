"""`endpoints.py IN OUT`: botocore's table of endpoints, without the 290 services that no function of Gust calls.

A function's first client reads the table, 1.2 MB in 20 ms. Tasks and their own clients read the whole one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

KEPT = (
    *("cloudformation", "dynamodb", "events", "kinesis", "lambda", "logs", "s3", "secretsmanager", "sqs", "ssm"),
    *("states", "streams.dynamodb", "sts"),
)
"""Botocore's endpoint prefixes of the services."""


def kept_of(table: dict[str, Any]) -> dict[str, Any]:
    partitions = []
    for partition in table["partitions"]:
        services = {name: each for name, each in partition["services"].items() if name in KEPT}
        partitions.append({**partition, "services": services})
    return {**table, "partitions": partitions}


if __name__ == "__main__":
    source, destination = map(Path, sys.argv[1:])
    destination.write_text(json.dumps(kept_of(json.loads(source.read_text())), separators=(",", ":")))
