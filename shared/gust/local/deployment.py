"""template.yaml → the emulator's CloudFormation, as `sam build && sam deploy` would do for AWS.

What differs is that layers are left out (where one is named, a text stands for it) and a function's package is its
folder as it is, because Lambda functions of the emulator are processes of our own interpreter and can import what
layers hold already; and that numbers among the parameters are put in their places here, because the emulator would put
text there.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError, WaiterError

from gust.errors import GustError
from gust.local import sam

STACK_NAME: Final = "gust"
_ARTIFACTS: Final = "gust-artifacts"
_TEMPLATE: Final = "template.json"
_FINGERPRINT_TAG: Final = "gust:fingerprint"
_WAITING: Final = {"Delay": 0.1, "MaxAttempts": 1200}
"""Seconds between two looks, and how many there are."""

Clients = Callable[[str], Any]
"""Service name → boto3 client of the emulator."""


class DeploymentError(GustError):
    """The emulator's CloudFormation refused the template; the message holds the events that say why."""


@dataclass(frozen=True, slots=True)
class Deployment:
    outputs: Mapping[str, str]
    changed: bool
    """Whether anything had to be created or updated."""


def deploy(root: Path, clients: Clients, parameters: Mapping[str, str]) -> Deployment:
    """Bring the stack to what `root`/template.yaml and the function folders say now. Does nothing if it is there."""
    template, packages = _package(root)
    _resolve_numbers(template, parameters)
    fingerprint = _fingerprint(template, packages, parameters)
    cloudformation = clients("cloudformation")
    stack = _describe(cloudformation)
    if stack and _is_settled(stack) and _tag(stack) == fingerprint:
        return Deployment(_outputs(stack), changed=False)
    if stack and stack["StackStatus"] in {"ROLLBACK_COMPLETE", "CREATE_FAILED", "ROLLBACK_FAILED"}:
        # It never existed whole, so there is nothing in it to keep.
        cloudformation.delete_stack(StackName=STACK_NAME)
        cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK_NAME, WaiterConfig=_WAITING)
        stack = None
    # By way of the bucket, as `sam deploy` does: in a request CloudFormation takes no template over 51,200 bytes.
    written = {_TEMPLATE: sam.transformed(template).encode()}
    _upload(clients("s3"), packages | written)
    _apply(cloudformation, parameters, fingerprint, exists=stack is not None)
    stack = _describe(cloudformation)
    assert stack is not None  # noqa: S101  it has just been waited for
    return Deployment(_outputs(stack), changed=True)


def transform(root: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    """What CloudFormation gets to see: the template after SAM's transform, packages named by their hash."""
    template, _ = _package(root)
    _resolve_numbers(template, parameters)
    return sam.transform(template)


def worker_group_template(root: Path, values: Mapping[str, str]) -> str:
    """`root`/worker_group.yaml as JSON, with its numbers in their places. `values`: of its parameters."""
    template: dict[str, Any] = sam.read(root / "worker_group.yaml")
    _resolve_numbers(template, values)
    return json.dumps(template)


def _package(root: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The template with code by address, and the packages by key."""
    template: dict[str, Any] = sam.read(root / "template.yaml")
    of_functions = template["Globals"]["Function"]
    of_functions.pop("Layers", None)
    # MiniStack answers 50 ms late where a function has printed nothing.
    of_functions["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] = "DEBUG"
    packages: dict[str, bytes] = {}
    layers: dict[str, Any] = {}
    for name, resource in list(template["Resources"].items()):
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Serverless::LayerVersion":
                del template["Resources"][name]
                layers[name] = f"{name}-is-installed"
            case "AWS::Serverless::Function":
                properties.pop("Layers", None)
                package = _zip(root / properties["CodeUri"])
                key = f"{hashlib.sha256(package).hexdigest()}.zip"
                packages[key] = package
                properties["CodeUri"] = f"s3://{_ARTIFACTS}/{key}"
            case "AWS::Serverless::StateMachine":
                properties["Definition"] = json.loads((root / properties.pop("DefinitionUri")).read_text())
    _put_in_place(template, layers)
    return template, packages


def _zip(folder: Path) -> bytes:
    """The same bytes for the same files, whenever they were written."""
    if not folder.is_dir():
        raise DeploymentError(f"template.yaml names {folder}, which is not there")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                package.writestr(zipfile.ZipInfo(str(file.relative_to(folder))), file.read_bytes())
    return buffer.getvalue()


def _resolve_numbers(template: dict[str, Any], parameters: Mapping[str, str]) -> None:
    """Put the parameters of type Number in their places in the template."""
    numbers = {
        name: int(parameters.get(name, declared.get("Default")))
        for name, declared in template["Parameters"].items()
        if declared["Type"] == "Number"
    }
    _put_in_place(template, numbers)


def _put_in_place(template: dict[str, Any], values: Mapping[str, Any]) -> None:
    """The values that `Ref` and `Sub` name."""

    def resolved(node: Any) -> Any:
        match node:
            case {"Ref": str(name)} if name in values:
                return values[name]
            case {"Fn::Sub": str(text)}:
                for name, value in values.items():
                    text = text.replace(f"${{{name}}}", str(value))
                return {"Fn::Sub": text}
            case dict():
                return {key: resolved(value) for key, value in node.items()}
            case list():
                return [resolved(value) for value in node]
        return node

    template["Resources"] = resolved(template["Resources"])


def _fingerprint(template: Mapping[str, Any], packages: Mapping[str, bytes], parameters: Mapping[str, str]) -> str:
    everything = json.dumps([template, sorted(packages), dict(parameters)], sort_keys=True, default=str)
    return hashlib.sha256(everything.encode()).hexdigest()


def _upload(s3: Any, packages: Mapping[str, bytes]) -> None:
    s3.create_bucket(Bucket=_ARTIFACTS)
    for key, package in packages.items():
        s3.put_object(Bucket=_ARTIFACTS, Key=key, Body=package)


def _apply(cloudformation: Any, parameters: Mapping[str, str], fingerprint: str, *, exists: bool) -> None:
    arguments = {
        "StackName": STACK_NAME,
        "TemplateURL": f"https://s3.amazonaws.com/{_ARTIFACTS}/{_TEMPLATE}",
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": _FINGERPRINT_TAG, "Value": fingerprint}],
    }
    try:
        if exists:
            cloudformation.update_stack(**arguments)
        else:
            cloudformation.create_stack(**arguments)
        waiter = cloudformation.get_waiter("stack_update_complete" if exists else "stack_create_complete")
        waiter.wait(StackName=STACK_NAME, WaiterConfig=_WAITING)
    except (ClientError, WaiterError) as problem:
        raise DeploymentError(f"{problem}\n{_failures(cloudformation)}") from problem


def _failures(cloudformation: Any) -> str:
    try:
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
    except ClientError:
        return ""
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED")
    )


def _describe(cloudformation: Any) -> dict[str, Any] | None:
    try:
        stacks: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
    except ClientError:
        return None
    return next((stack for stack in stacks if stack["StackStatus"] != "DELETE_COMPLETE"), None)


def _is_settled(stack: Mapping[str, Any]) -> bool:
    return stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}


def _tag(stack: Mapping[str, Any]) -> str | None:
    return next((tag["Value"] for tag in stack.get("Tags", []) if tag["Key"] == _FINGERPRINT_TAG), None)


def _outputs(stack: Mapping[str, Any]) -> dict[str, str]:
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
