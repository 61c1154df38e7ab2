"""An update of a stack from the last release to this template: which resources CloudFormation would replace or delete.

`released.json` holds what that takes of the last release's template (before the first: of the template that this test came
with). `PYTHONPATH=shared .venv/bin/python -m tests.template.test_update` writes it anew, at a release.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gust.local import deployment

ROOT: Final = Path(__file__).parents[2]
RELEASED: Final = Path(__file__).with_name("released.json")

HOLDING_STATE: Final = frozenset(
    {
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::SecretsManager::Secret",
        "Custom::Keys",
    }
)
"""Types of resources whose replacement loses something: state, files, keys, logs, messages."""

AS_GOOD_AS_LOST: Final = {"AWS::SecretsManager::Secret": {"GenerateSecretString"}}
"""Properties whose change keeps the resource and replaces what is in it."""

HANDED_OVER: Final = {
    "SigningSecret": "the key maker takes its text (tests/handlers/test_key_maker.py)",
    "EncryptionSecret": "likewise",
    "UploadsQueue": "S3's test message to the new queue deploys what came before (tests/handlers/test_scheduler.py)",
    "UploadsDeadLetters": "uploads that were never deployed: likewise",
}
"""Resources that may go, because another one has what they hold by then → which, and the test that shows it."""

Release = Mapping[str, Mapping[str, Any]]
"""Logical id → `type`, and of the properties those that cannot be changed in place."""


def of_template(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "type": resource["Type"],
            "fixed": {
                key: value
                for key, value in resource.get("Properties", {}).items()
                if key in create_only(resource["Type"])
            },
        }
        for name, resource in sorted(resources.items())
    }


def create_only(kind: str) -> frozenset[str]:
    """The properties of the resource's type whose change makes CloudFormation replace it, by its public schema."""
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
    pointers = [*schema.get("createOnlyProperties", []), *schema.get("conditionalCreateOnlyProperties", [])]
    named = {pointer.removeprefix("/properties/").split("/")[0] for pointer in pointers}
    return frozenset(named | AS_GOOD_AS_LOST.get(kind, set()))


def lost(before: Release, after: Release) -> Iterator[str]:
    """Sentences, one for each resource that holds state and would be replaced or deleted."""
    for name, old in before.items():
        if old["type"] not in HOLDING_STATE or name in HANDED_OVER:
            continue
        new = after.get(name)
        if new is None:
            yield f"{name} would be deleted"
        elif new["type"] != old["type"]:
            yield f"{name} would be replaced: it becomes {new['type']}"
        elif changed := sorted(
            key for key in {*old["fixed"], *new["fixed"]} if old["fixed"].get(key) != new["fixed"].get(key)
        ):
            yield f"{name} would be replaced: {', '.join(changed)} cannot be changed in place"


def today() -> dict[str, dict[str, Any]]:
    return of_template(json.loads(json.dumps(deployment.transform(ROOT, {})["Resources"])))


def test_an_update_from_the_last_release_keeps_everything_that_holds_state() -> None:
    assert list(lost(json.loads(RELEASED.read_text()), today())) == []


def test_a_new_sort_key_and_a_renamed_log_would_be_noticed() -> None:
    released = json.loads(RELEASED.read_text())
    changed = json.loads(RELEASED.read_text())
    changed["Table"]["fixed"]["KeySchema"] = []
    changed["LogsOfTasks"] = changed.pop("TaskLogs")

    assert list(lost(released, changed)) == [
        "Table would be replaced: KeySchema cannot be changed in place",
        "TaskLogs would be deleted",
    ]


if __name__ == "__main__":
    kept = {name: each for name, each in today().items() if each["type"] in HOLDING_STATE}
    RELEASED.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
