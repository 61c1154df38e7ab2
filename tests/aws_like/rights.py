"""What a function's role lets it do, judged call by call.

MiniStack's own evaluator decides (`ministack.core.iam_evaluator`: Deny before Allow, wildcards, conditions); it checks
policies only for callers with keys of their own, and functions of the local stack share one. The roles are the ones that the
emulator's CloudFormation made of `template.yaml`, with all names resolved. MiniStack also knows which action and resource a
request is; `needs` adds what it leaves out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from tests.aws_like.requests import Request

ACCOUNT: Final = "000000000000"
REGION: Final = "us-east-1"

CONTAINER: Final = "container"
"""The caller that is no function."""

_BATCH_OF: Final = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}
"""Calls that IAM knows by the name of another."""

CONDITION_KEYS: Final = frozenset({"events:targetarn", "lambda:sourcefunctionarn", "s3:if-none-match"})
"""Those to which `needs` gives a value, in small letters."""


@dataclass(frozen=True)
class Need:
    """What one call needs to be allowed."""

    action: str
    resource: str
    context: tuple[tuple[str, str | tuple[str, ...]], ...] = ()
    """Condition keys → what they are for this call."""


@dataclass(frozen=True)
class Grant:
    """One action on one resource, of one statement."""

    policy: str
    statement: str
    """See `names`."""
    effect: str
    action: str
    resource: str
    resource_number: int
    conditions: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.policy, self.statement, self.action, self.resource_number))

    @property
    def name(self) -> str:
        """Finds the grant in the template: the resource by its place, because names are made when a stack is."""
        return f"{self.policy} {self.statement} {self.action} {self.resource_number}"


@dataclass(frozen=True)
class Role:
    name: str
    """As the emulator's CloudFormation has made it: `<stack>-<logical id>-<suffix>`."""
    policies: tuple[tuple[str, str], ...]
    """Name → document."""

    @property
    def logical_id(self) -> str:
        """A worker group's role has the statements of the stack's own, in their order (tests/template)."""
        return self.name.split("-")[-2]


def needs(request: Request) -> list[Need]:
    """Empty where IAM has no say."""
    of_caller = ()
    if request.caller and request.caller != CONTAINER:
        of_caller = (("lambda:sourcefunctionarn", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{request.caller}"),)
    return [replace(need, context=(*need.context, *of_caller)) for need in _needs(request)]


def _needs(request: Request) -> list[Need]:
    from ministack.core import iam_actions

    given = (request.service, request.method, request.path, dict(request.headers), request.body)
    query = dict(request.query)
    action = iam_actions.extract_iam_action(*given, query)
    if action is None:
        return []
    resource = iam_actions.extract_resource_arn(*given, query, REGION, ACCOUNT)
    match request.service:
        case "dynamodb":
            return _of_dynamodb(request, action)
        case "s3":
            context = [("s3:if-none-match", value) for value in [request.headers.get("if-none-match")] if value]
            more = iam_actions.s3_additional_checks(
                request.method, request.path, dict(request.headers), request.body, query
            )
            return [Need(action, resource, tuple(context)), *(Need(each, arn) for each, arn in more)]
        case "logs":
            # Log streams are resources of their own, and a group's ARN ends so where a call names no stream.
            return [Need(action, f"{resource}:log-stream:{request.json.get('logStreamName', '')}")]
        case "events" if rule := request.json.get("Rule") or request.json.get("Name"):
            bus = request.json.get("EventBusName", "default").rpartition("/")[2]
            targets = tuple(target["Arn"] for target in request.json.get("Targets", ()))
            on = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{bus}/{rule}"
            return [Need(action, on, (("events:targetarn", targets),) if targets else ())]
        case "sts" if any(name.startswith("Tags.") for name in query):
            return [Need(action, resource), Need("sts:TagSession", resource)]
    return [Need(_BATCH_OF.get(action, action), resource)]


def _of_dynamodb(request: Request, action: str) -> list[Need]:
    """A transaction is no action: each of its items is the call that it would be alone."""
    from ministack.core import iam_actions

    items = iam_actions.dynamodb_transaction_checks(action, request.body, REGION, ACCOUNT)
    if items:
        return [Need(each, arn) for each, arn in dict.fromkeys(items)]
    return [Need(action, arn) for arn in iam_actions.dynamodb_resource_arns(request.body, REGION, ACCOUNT)]


def role_of(caller: str) -> Role | None:
    """`None` if the emulator has no such function."""
    from ministack.services import iam, lambda_svc

    if caller == CONTAINER:
        roles = [name for name in _names(iam._roles) if name.split("-")[-2:-1] == ["ContainerRole"]]
        name = roles[0] if roles else None
    else:
        function = next((record for key, record in lambda_svc._functions._data.items() if key[-1] == caller), None)
        name = function["config"]["Role"].rpartition("/")[2] if function else None
    role = iam._roles.get_scoped(ACCOUNT, None, name) if name else None
    return Role(name, tuple(role["InlinePolicies"].items())) if name and role else None


def _names(roles: Any) -> Iterator[str]:
    for key in roles._data:
        yield key[-1] if isinstance(key, tuple) else key


@lru_cache(maxsize=10_000)
def judge(role: Role, need: Need) -> tuple[Grant, ...]:
    """The grants that allow it; none if it is refused."""
    matching = [grant for grant in grants(role.policies) if _matches(grant, need)]
    if any(grant.effect == "Deny" for grant in matching):
        return ()
    return tuple(matching)


@lru_cache(maxsize=100)
def grants(policies: tuple[tuple[str, str], ...]) -> tuple[Grant, ...]:
    from ministack.core.iam_evaluator import parse_policy_document

    return tuple(
        Grant(name, of_statement, statement.effect, action, _arn(action, resource), number, statement.conditions)
        for name, document in policies
        for statements in [parse_policy_document(document)]
        for of_statement, statement in zip(names(each.sid for each in statements), statements, strict=True)
        for action in statement.actions
        for number, resource in enumerate(statement.resources)
    )


def names(sids: Iterable[str | None]) -> list[str]:
    """A policy's statements: one with a Sid has that name, the others are numbered. A statement that a condition of the
    template adds has a Sid, so that the numbers are the same without it."""
    others = itertools.count()
    return [sid or str(next(others)) for sid in sids]


def _arn(action: str, resource: str) -> str:
    """`Ref` of a secret is its ARN; MiniStack's is its name."""
    if action.startswith("secretsmanager:") and not resource.startswith("arn:"):
        return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{resource}-??????"
    return resource


def _matches(grant: Grant, need: Need) -> bool:
    from ministack.core.iam_evaluator import EvalContext, ParsedStatement, evaluate

    context = EvalContext(
        principal_arn="",
        principal_type="AssumedRole",
        principal_account=ACCOUNT,
        action=need.action,
        resource_arn=need.resource,
        region=REGION,
        service_context={key: list(value) if isinstance(value, tuple) else value for key, value in need.context},
    )
    as_allowed = ParsedStatement("", "Allow", [grant.action], [], [grant.resource], [], dict(grant.conditions))
    return bool(evaluate(context, [[as_allowed]]).decision == "Allow")
