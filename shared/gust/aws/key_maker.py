"""Makes the stack's keys, because CloudFormation can make no SecureString, and answers CloudFormation.

A key is made once and never replaced. A stack from before has its keys in two secrets of Secrets Manager: an update
carries their text over before CloudFormation deletes them, so that every value can still be decrypted and every token
verified. The keys go with the stack and with nothing else: a template without them, or an update that fails, leaves them.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.request import Request, urlopen

from botocore.exceptions import ClientError

from gust.aws.key_parameter import KeyParameter
from gust.errors import GustError

FORMER_SECRETS: Final = {"Signing": "SigningSecret", "Encryption": "EncryptionSecret"}
"""Key → logical id of the secret that held it in earlier templates."""

ENDS: Final = frozenset({"DELETE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS"})
"""States of a stack that goes: a person deletes it, or its creation has failed."""

BEGINS: Final = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"})
"""States of a stack that gets its keys. In any other, a request to create them is one that Lambda delivers late."""

PATIENCE: Final = (2.0, 4.0, 8.0, 16.0)
"""Seconds between tries: a new role's rights take a moment until every service knows them."""

NOT_YET: Final = frozenset({"AccessDenied", "AccessDeniedException"})

LONGEST_REASON: Final = 500
"""Characters; CloudFormation refuses an answer of more than 4096 bytes."""

log = logging.getLogger(__name__)

Clients = Callable[[str], Any]
"""Service → boto3's client."""


class UnansweredError(GustError):
    """CloudFormation did not take the answer. Lambda calls the function again, which does and answers the same."""


class KeyMaker:
    def __init__(self, clients: Clients, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._clients = clients
        self._pause = pause

    def handle(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Do what CloudFormation asks for. Returns the names of the keys' parameters. Twice is as good as once."""
        names = {key: str(request["ResourceProperties"][key]) for key in FORMER_SECRETS}
        for seconds in PATIENCE:
            try:
                self._do(request, names)
                break
            except ClientError as error:
                if error.response["Error"]["Code"] not in NOT_YET:
                    raise
                log.info("Not allowed yet: %s", error)
                self._pause(seconds)
        else:
            self._do(request, names)
        return names

    def _do(self, request: Mapping[str, Any], names: Mapping[str, str]) -> None:
        stack, key = request["StackId"], request["ResourceProperties"].get("KmsKeyArn", "")
        status = self._status(stack)
        parameters = {each: KeyParameter(name, self._clients("ssm"), key) for each, name in names.items()}
        if request["RequestType"] == "Delete":
            if status not in ENDS:
                log.warning("The stack is %s and not deleted: the keys stay, %s", status, ", ".join(names.values()))
                return
            for parameter in parameters.values():
                parameter.remove()
            return
        for each, parameter in parameters.items():
            former = self._former(stack, FORMER_SECRETS[each]) if status == "UPDATE_IN_PROGRESS" else None
            if parameter.create(former or new_key()):
                continue
            present = parameter.read()
            wanted = present.text if former is None else carried_over(each, former, present.text)
            # Written anew also where the operator has chosen another key of KMS: the old one may be gone tomorrow.
            if wanted != present.text or may_have_other_key(request, status):
                parameter.exchange(present, wanted)

    def _status(self, stack: str) -> str:
        return str(self._clients("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"])

    def _former(self, stack: str, logical_id: str) -> str | None:
        """The text of a secret that the stack has until this update ends; None: it has none."""
        try:
            found = self._clients("cloudformation").describe_stack_resource(
                StackName=stack, LogicalResourceId=logical_id
            )["StackResourceDetail"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            return None
        if found["ResourceType"] != "AWS::SecretsManager::Secret" or found["ResourceStatus"].startswith("DELETE"):
            return None
        secret = self._clients("secretsmanager").get_secret_value(SecretId=found["PhysicalResourceId"])
        return str(secret["SecretString"])


def new_key() -> str:
    """384 bits, as text without a comma, which separates keys."""
    return secrets.token_urlsafe(48)


def carried_over(key: str, former: str, present: str) -> str:
    """What becomes of a parameter that an earlier update left, while the stack went on with its secret. The secret holds.
    No encryption key is given up, since a value may need it; an old signing key might have been withdrawn."""
    if key != "Encryption":
        return former
    kept = [text for text in present.split(",") if text not in former.split(",")]
    return ",".join([former, *kept])


def may_have_other_key(request: Mapping[str, Any], status: str) -> bool:
    """Whether parameters that exist may be encrypted with another key of KMS than the request's. An earlier update that was
    rolled back may have left them, so a creation, which names no former key, says nothing of theirs."""
    if request["RequestType"] == "Create":
        return status in BEGINS
    before, after = request.get("OldResourceProperties", {}), request["ResourceProperties"]
    return bool(before.get("KmsKeyArn", "") != after.get("KmsKeyArn", ""))


def answered(
    request: Mapping[str, Any],
    do: Callable[[Mapping[str, Any]], dict[str, str]],
    *,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Call `do` and tell CloudFormation how it ended, whatever happens: without an answer, a stack waits. A deletion ends
    well in any case: what it could not delete costs nothing, and a stack that cannot be deleted does. Returns the status."""
    answer: dict[str, Any] = {
        "Status": "SUCCESS",
        "PhysicalResourceId": request.get("PhysicalResourceId")
        or f"{request['LogicalResourceId']}-{request['RequestId']}",
        **{name: request[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        answer["Data"] = do(request)
    except Exception as error:
        log.exception("CloudFormation's request failed: %s", request["RequestType"])
        if request["RequestType"] != "Delete":
            answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"[:LONGEST_REASON]}
    _send(request["ResponseURL"], answer, pause)
    return str(answer["Status"])


def _send(url: str, answer: Mapping[str, Any], pause: Callable[[float], None]) -> None:
    body = json.dumps(answer).encode()
    # The address is signed for a request without a content type.
    put = Request(url, data=body, method="PUT", headers={"Content-Type": ""})  # noqa: S310 - CloudFormation's own
    for seconds in (1.0, 2.0, 4.0):
        try:
            with urlopen(put, timeout=10):  # noqa: S310
                return
        except OSError as error:
            log.warning("CloudFormation does not take the answer: %s", error)
            pause(seconds)
    raise UnansweredError(f"CloudFormation does not take the answer to {answer['RequestId']}")
