"""`./gust deploy`: this checkout into your AWS account.

It needs the environment of `./gust` alone: no SAM CLI, no make, no Docker. It says what it will create or change and what
that costs idle, asks, follows CloudFormation, and ends with the addresses and the next commands. Parameters that are not
given keep their values. `template.yaml` stays a SAM template: `sam build && sam deploy` deploys the same stack.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final

from gust import __version__
from gust.cli import ROOT, artifacts, changes, concurrency, ecs_role, event_rules, layers, workers
from gust.cli import aws as cli_aws
from gust.cli.aws import AwsError, Clients, Stack
from gust.cli.containers import (
    Containers,
    containers_of,
    loses_containers,
    loses_network,
    what_loses_network,
    what_stops,
)
from gust.cli.event_sources import why_receiver_stays
from gust.cli.resources import of_type, resources_of

HELP: Final = "deploy to your AWS account: no SAM, no Docker; asks before it changes anything"

VERSION_TAG: Final = "gust:version"

REST_STAGE: Final = "airflow"

LONGEST: Final = {"AWS::Serverless::Function": ("FunctionName", 64), "AWS::Serverless::StateMachine": ("Name", 80)}
"""Characters of a name that AWS takes, by the property that holds the stack's name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    settings = saved_settings()
    parser.add_argument(
        "--stack",
        "--stack-name",
        default=settings.get("stack_name", cli_aws.DEFAULT_STACK),
        metavar="NAME",
        help="name of the CloudFormation stack (%(default)s)",
    )
    cli_aws.add_arguments(parser, has_stack=False)
    parser.add_argument(
        "--set",
        "--parameter-overrides",
        dest="parameters",
        type=_name_and_value,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="parameters of template.yaml, see docs/deploying.md; others keep their values",
    )
    parser.add_argument(
        "--tags",
        type=_name_and_value,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="tags of the stack and of all its resources; others stay",
    )
    parser.add_argument("--role-arn", metavar="ARN", help="the role with which CloudFormation makes the change")
    parser.add_argument("--artifacts", metavar="BUCKET", help="bucket for code; else one that this command creates")
    parser.add_argument(
        "--dry-run", action="store_true", help="upload the code, show what would change, change no stack"
    )
    parser.add_argument("--guided", action="store_true", help=argparse.SUPPRESS)  # it asks anyway
    parser.add_argument("--yes", "--no-confirm-changeset", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    options.region = options.region or os.environ.get("AWS_REGION") or saved_settings().get("region")
    return deploy(options, cli_aws.clients(options), ask=_ask if sys.stdin.isatty() else None, say=_say)


def deploy(
    options: argparse.Namespace,
    aws: Clients,
    *,
    ask: Callable[[str, bool], bool] | None,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """`ask` shows a question with its default answer; without it, `--yes` is needed. Returns the exit code."""
    name, template = options.stack, artifacts.source_template(ROOT)
    if objection := why_no_stack_name(name, longest_stack_name(template)):
        raise AwsError(objection)
    if ask is None and not (options.yes or options.dry_run):
        raise AwsError("this asks before it changes anything, and here is no terminal: give --yes, or --dry-run.")
    identity = aws("sts").get_caller_identity()
    account, region = identity["Account"], cli_aws.region_of(aws("sts"))
    present = cli_aws.find_stack(aws, name)
    is_new = present is None or present.status in changes.NEW
    say(f"Account {account}, region {region}, stack {name} ({'new' if is_new else _version_of(present)})")
    if present and present.status in changes.LEFT_OVER:
        raise AwsError(
            f"{name} is {present.status}: a part of it is left, which CloudFormation does not update. ./gust delete --stack "
            f"{name} deletes that; then deploy again."
        )
    if present and is_new:
        what = f"{name} is {present.status}: it was never whole, and a deployment deletes it first"
        say(what if present.status != "REVIEW_IN_PROGRESS" else f"{what}, with the change set that waits there.")
        if options.dry_run:
            say("Nothing was changed, and CloudFormation was not asked.")
            return 0
    parameters = dict(options.parameters)
    declared = template["Parameters"]
    if unknown := sorted(parameters.keys() - declared.keys()):
        raise AwsError(f"template.yaml has no parameter {', '.join(unknown)}; docs/deploying.md lists them.")
    loses_receiver = not is_new and parameters.get("Events", "Enabled") != "Enabled"
    if present and loses_receiver and (reason := why_receiver_stays(aws, present)):
        raise AwsError(f"Events={parameters['Events']} deletes the receiver of events, and {reason}")
    parameters |= _for_small_account(aws, parameters, present, say)

    bucket = options.artifacts or artifacts.bucket_name(account, region)
    if is_new:
        for line in _introduction(bucket, parameters):
            say(line)
    if ask and not options.yes and is_new and not options.dry_run and not ask("Prepare the deployment?", True):
        return 1
    if not options.artifacts and artifacts.require_bucket(aws, bucket, account):
        say(f"Created the bucket {bucket}, for code.")
    made = artifacts.made_of(ROOT, bucket, template)
    sizes = artifacts.upload(aws, bucket, account, made.packages, say)
    if refused := layers.refused_by_lambda(template, lambda part: sizes.get(part, 0)):
        raise AwsError("\n  ".join(["Lambda would refuse these functions. Nothing was deployed.", *refused]))

    if present and is_new:
        changes.clear(aws, name, role=options.role_arn)
        present = None
    change = changes.propose(
        aws,
        name,
        present,
        template_url=artifacts.put_template(aws, bucket, account, made.template),
        declared=declared,
        parameters=parameters,
        tags={**(present.tags if present else {}), VERSION_TAG: __version__, **dict(options.tags)},
        role=options.role_arn,
        pause=pause,
    )
    if change is None:
        say("Nothing to change.")
        return 0
    rules = event_rules.RulesOfChange(aws, name, change, pause)
    try:
        rules.check(present)
        say(f"CloudFormation would {'create' if change.is_creation else 'change'}:")
        for line in changes.told(change):
            say(line)
        containers = _containers_that_stop(aws, present, change, say) if present else None
        is_agreed = not options.dry_run and (options.yes or bool(ask and ask("Deploy this?", False)))
        if is_agreed and containers:
            containers.stop_all(say, pause=pause)
        if is_agreed and ecs_role.needs_role(change):
            ecs_role.have_role(aws, say, pause=pause)
    except BaseException:
        changes.discard(aws, change, name)
        raise
    if not is_agreed:
        changes.discard(aws, change, name)
        say("Nothing was changed.")
        return 0 if options.dry_run else 1
    changes.carry_out(
        aws,
        change,
        say,
        pause=pause,
        at_cleanup=[rules.at_cleanup],
        meanwhile=containers.stop_again if containers else None,
    )
    deployed = cli_aws.require_stack(aws, name)
    if not is_new:
        deploy_rest_api(aws, deployed, say)
    left_behind = rules.afterwards(deployed, say)
    if not is_new:
        left_behind = update_workers(aws, deployed, say) or left_behind
    for line in _afterwards(deployed, options):
        say(line)
    return left_behind


def _containers_that_stop(
    aws: Clients, present: Stack, change: changes.ChangeSet, say: Callable[[str], None]
) -> Containers | None:
    """Those of a stack that loses Fargate; says how many run. Raises AwsError where some run in a network that goes."""
    from botocore.exceptions import ClientError

    if not loses_containers(change):
        if loses_network(change) and (found := containers_of(aws, present)) and (running := found.count()):
            raise AwsError(what_loses_network(running))
        return None
    containers = containers_of(aws, present)
    try:
        if containers and (running := containers.count()):
            say(what_stops(running))
    except ClientError as refused:
        say(f"It stops all containers; AWS does not tell how many run: {cli_aws.in_one_line(refused)}")
    return containers


def update_workers(aws: Clients, stack: Stack, say: Callable[[str], None]) -> int:
    """Brings the stack's worker groups up to date. Returns the exit code; the stack itself is deployed."""
    try:
        return workers.update(aws, stack.name, say=say) if workers.named(aws, stack) else 0
    except Exception as problem:
        if (line := cli_aws.in_one_line(problem)) is None:
            raise
        say(f"Worker groups may be out of date (./gust workers update): {line}")
        return 1


def deploy_rest_api(aws: Clients, stack: Stack, say: Callable[[str], None]) -> None:
    """Deploys the stack's REST API, if it has one: CloudFormation changes its routes and its policy, and deploys them
    only when it creates the API."""
    from botocore.exceptions import ClientError

    for api in of_type(resources_of(aws, stack), "AWS::ApiGateway::RestApi"):
        try:
            aws("apigateway").create_deployment(restApiId=api.id, stageName=REST_STAGE)
        except ClientError as refused:
            say(f"The REST API answers as before, because it could not be deployed: {refused}")
            say(f"  aws apigateway create-deployment --rest-api-id {api.id} --stage-name {REST_STAGE}")


# --- what is said ------------------------------------------------------------------------------------------------------


_APIS: Final = {"Rest": "a REST API", "Private": "a private REST API"}
"""Values of the parameter ApiEndpoint, but for the default."""


def _introduction(bucket: str, parameters: Mapping[str, str]) -> list[str]:
    lines = [
        "This creates a stack of Gust: Lambda functions, a DynamoDB table, queues, a bucket for DAG files, "
        f"{_APIS.get(parameters.get('ApiEndpoint', ''), 'an HTTP API')},",
        f"and, once for the account and region, the bucket {bucket} for code. Nothing is billed by the hour.",
    ]
    if (price := idle_price(parameters)) is not None:
        lines.append(
            f"Idle, it costs about ${price:.2f} a month at list prices (docs/benches.md); tasks cost when they run."
        )
    return [*lines, "The first deployment builds the layers: some minutes, and some 500 MB of downloads.", ""]


def idle_price(parameters: Mapping[str, str]) -> float | None:
    """Dollars a month without a run, as `python -m benches.idle` computes it; `None` in a copy without the benches."""
    try:
        from benches.cost import load_prices
        from benches.idle import lines, lines_of_parameters
    except ImportError:
        return None
    from gust.local import deployment

    resources, prices = deployment.transform(ROOT, parameters)["Resources"], load_prices()
    found = [*lines(resources, prices), *lines_of_parameters(resources, prices, parameters)]
    return sum(line.dollars for line in found)


def _afterwards(stack: Stack, options: argparse.Namespace) -> list[str]:
    here = "".join(
        f" --{word} {value}" for word, value in (("profile", options.profile), ("region", options.region)) if value
    )
    named = "" if stack.name == cli_aws.DEFAULT_STACK else f" --stack {stack.name}"
    bucket = stack.outputs["BucketName"]
    return [
        "",
        f"  Web UI and API  {stack.outputs['ApiUrl']}",
        f"  DAG files       s3://{bucket}/dags/",
        "",
        f"  aws s3 sync my_dags s3://{bucket}/dags/ --delete{here}",
        f"  ./gust login{named}{here}      your browser, signed in with your AWS credentials",
        f"  ./gust status{named}{here}     what runs, what waits, what failed",
        f"  ./gust doctor{named}{here}     quotas, rights, dead letters",
    ]


def _version_of(present: Stack | None) -> str:
    version = present.tags.get(VERSION_TAG) if present else None
    return f"there, Gust {version}" if version else "there"


# --- what is checked before -------------------------------------------------------------------------------------------


def longest_stack_name(template: Mapping[str, Any]) -> int:
    """Characters that a stack's name may have, so that all names made of it are valid."""
    room = [
        limit - len(pattern.replace("${AWS::StackName}", ""))
        for resource in template["Resources"].values()
        for named, limit in [LONGEST.get(resource["Type"], ("", 0))]
        if named and (pattern := _sub(resource["Properties"].get(named)))
    ]
    return min([128, *room])


def _sub(value: Any) -> str:
    return str(value["Fn::Sub"]) if isinstance(value, dict) and "Fn::Sub" in value else ""


def why_no_stack_name(name: str, longest: int) -> str | None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name):
        return f"{name} is no name for a stack: a letter, then letters, digits and hyphens."
    if len(name) > longest:
        return f"{name} has {len(name)} characters; {longest} are possible, because names of functions begin with it."
    return None


def _for_small_account(
    aws: Clients, parameters: Mapping[str, str], present: Stack | None, say: Callable[[str], None]
) -> dict[str, str]:
    """What a stack may take of the concurrency of a new account, unless the operator or the stack says it."""
    has_said = "WorkerConcurrency" in parameters or (present is not None and "WorkerConcurrency" in present.parameters)
    limit = concurrency.limit_of(aws)
    if limit is None or has_said or not (fitting := concurrency.fitting(limit)):
        return {}
    say(
        f"This account runs at most {limit} functions at once here, so tasks get {fitting['WorkerConcurrency']} of them "
        f"and triggers {fitting['TriggererConcurrency']}. Ask AWS for more (Service Quotas, AWS Lambda, Concurrent "
        "executions), then set WorkerConcurrency."
    )
    return fitting


# --- the terminal -----------------------------------------------------------------------------------------------------


def saved_settings() -> dict[str, Any]:
    """What `sam deploy --guided` has saved, if it was used."""
    file = ROOT / "samconfig.toml"
    if not file.exists():
        return {}
    return dict(tomllib.loads(file.read_text()).get("default", {}).get("deploy", {}).get("parameters", {}))


def _name_and_value(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"NAME=VALUE, not {text}")
    return name, value


def _ask(question: str, default: bool) -> bool:
    said = input(f"{question} [{'Y/n' if default else 'y/N'}] ").strip().lower()
    return default if not said else said in ("y", "yes")


def _say(line: str) -> None:
    print(line, flush=True)
