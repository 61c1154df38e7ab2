"""`./gust …`: parses the command and calls the module that does the work. The entry script has made the environment."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from gust.cli import workers

ROOT = Path(__file__).parents[3]


TEST_CONNECTION = "AIRFLOW__CORE__TEST_CONNECTION"
"""Airflow's setting: whether connections may be tested. On AWS it is the parameter TestConnection."""
DEFAULT_DEFERRABLE = "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE"
"""Airflow's setting: whether operators that can defer do so by default. On AWS it is the parameter DefaultDeferrable."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["bench", *theirs]:
            return run_module("benches", theirs)
        case ["record-golden", *theirs]:
            return run_module("tests.oracle.record", theirs)
        case ["test" | "deploy", "-h" | "--help", *_]:
            pass
        case ["test", "differential", _, *_]:
            return run_module("tests.differential", given[2:])
        case ["test", *theirs]:
            return test(theirs)
        case ["deploy", *theirs]:
            return deploy(theirs)
    options = _parser().parse_args(given)
    match options.command:
        case "local":
            return local(options)
        case "reencrypt":
            return reencrypt(options.stack)
        case "login":
            return login(options)
        case "rotate-key":
            return rotate_key(options.stack)
        case "check-access":
            return check_access(options.file)
        case "workers" | "worker":
            return workers.run(options)
    raise AssertionError(options.command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gust", description="Unmodified Apache Airflow DAG files on AWS primitives.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    local = commands.add_parser("local", help="run everything on this machine; no AWS account, no Docker")
    local.add_argument(
        "--dags", type=Path, default=ROOT / "examples" / "dags", help="folder of DAG files (%(default)s)"
    )
    local.add_argument("--port", type=int, default=8080, help="where the API answers (%(default)s)")
    local.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on (%(default)s: every caller is administrator); any other demands a login",
    )
    local.add_argument("--data", type=Path, default=ROOT / ".gust", help="where state is kept (%(default)s)")
    local.add_argument(
        "--workers",
        type=_at_least_one,
        metavar="N",
        help="how many tasks run at the same time (by memory, 200 MB each: at most 32, as Airflow's parallelism)",
    )
    local.add_argument(
        "--aws",
        choices=["emulator", "real"],
        default="emulator",
        help="which AWS the tasks' SDKs call: the local emulator (default), or your account, with your shell's credentials",
    )
    local.add_argument("--paused", action="store_true", help="new DAGs start paused, as in Airflow")

    # The arguments of test, bench, record-golden and deploy are another program's and come here only for `--help`: a parser
    # would separate options from their values.
    test = commands.add_parser("test", help="run the checks and the tests")
    test.add_argument(
        "pytest",
        nargs=argparse.REMAINDER,
        help="a tier (unit, system, …), or arguments for pytest; `differential --cases N --seed S`: random DAGs",
    )

    commands.add_parser("bench", help="measure against real Airflow", add_help=False)
    commands.add_parser("record-golden", help="record real Airflow's results of the examples", add_help=False)

    deploy = commands.add_parser("deploy", help="sam build && sam deploy, to your AWS account")
    deploy.add_argument("sam", nargs=argparse.REMAINDER, help="arguments for sam deploy, as they are")

    reencrypt = commands.add_parser(
        "reencrypt", help="encrypt variables and connections with the first key of the stack"
    )
    reencrypt.add_argument("--stack", required=True, help="name of the CloudFormation stack")

    login = commands.add_parser("login", help="sign in to the web UI with your AWS credentials")
    where = login.add_mutually_exclusive_group(required=True)
    where.add_argument("--stack", help="name of the CloudFormation stack")
    where.add_argument("--local", action="store_true", help="to the local stack that runs on this machine")
    login.add_argument("--data", type=Path, default=ROOT / ".gust", help="where that one's state is kept (%(default)s)")
    login.add_argument("--page", default="/", help="where the browser goes first (%(default)s)")
    login.add_argument(
        "--print", action="store_true", help="print the link instead of opening it; it is good for a minute"
    )
    login.add_argument("--as", dest="tag", metavar="TAG", help="by your session tag (docs/access.md)")
    login.add_argument("--token", action="store_true", help="print a token for programs instead")

    rotate = commands.add_parser("rotate-key", help="replace the signing key now; users stay signed in")
    rotate.add_argument("--stack", required=True, help="name of the CloudFormation stack")

    workers.register(commands)
    check = commands.add_parser("check-access", help="check an access document")
    check.add_argument("file", type=Path, help="the document (docs/access.md)")
    return parser


def _real_aws() -> str:
    """The credentials that an SDK would use, in words. Calls nothing."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        whose = f"the key {os.environ['AWS_ACCESS_KEY_ID']} of your environment"
    else:
        whose = f"profile {os.environ.get('AWS_PROFILE', 'default')}"
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return f"{whose}, region {region or 'as the profile says'}"


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("a number from 1 to 1000")
    return int(text)


def local(options: argparse.Namespace) -> int:
    from gust.local.deployment import DeploymentError
    from gust.local.processes import InUseError
    from gust.local.stack import LocalStack, LocalStackError

    if not options.dags.is_dir():
        print(f"gust: {options.dags} is not a folder.", file=sys.stderr)
        return 2
    testing = os.environ.get(TEST_CONNECTION, "Disabled").strip().capitalize()
    if testing not in ("Disabled", "Enabled", "Hidden"):
        print(f"gust: {TEST_CONNECTION} is Disabled, Enabled or Hidden, not {testing}.", file=sys.stderr)
        return 2
    deferrable = os.environ.get(DEFAULT_DEFERRABLE, "False").strip().lower()
    if deferrable not in ("true", "false"):
        print(f"gust: {DEFAULT_DEFERRABLE} is True or False, not {deferrable}.", file=sys.stderr)
        return 2
    started = time.monotonic()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stopper(stop))
    stack = LocalStack(
        root=ROOT,
        data=options.data,
        dags=options.dags,
        port=options.port,
        host=options.host,
        paused=options.paused,
        workers=options.workers,
        real_aws=options.aws == "real",
        parameters={"TestConnection": testing, "DefaultDeferrable": deferrable},
        on_progress=_say,
    )
    try:
        stack.start()
        if options.dags.samefile(ROOT / "examples" / "dags"):
            _make_example_resources(stack.client)
        print(f"\n  Gust is ready after {time.monotonic() - started:.0f} s:  {stack.public_url}")
        if stack.demands_login:
            print(f"  Sign in  {stack.login_link()}")
            print("           one minute, one use; another one: ./gust login --local   (plain HTTP: trust the network)")
        print(f"  DAGs  {options.dags}   (saved changes show within seconds)")
        print(f"  Tasks {stack.workers} at the same time at most   (--workers)")
        print(f"  Logs  {stack.logs}")
        if options.aws == "real":
            print(f"  AWS   REAL: tasks call and change your account with {_real_aws()}.")
        print("  Ctrl-C ends it; the state stays.\n", flush=True)
        stack.run(stop)
    except Stopped:
        pass
    except (InUseError, LocalStackError, DeploymentError) as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    except OSError as problem:
        print(f"gust: {problem.strerror or problem} ({problem.filename or options.data})", file=sys.stderr)
        return 1
    finally:
        stack.stop()
    print("Stopped.")
    return 0


def _make_example_resources(client: Callable[[str], Any]) -> None:
    """The Lambda function, Glue job and buckets that two of the examples use, in the emulator; today's file included."""
    from examples import resources

    resources.create(client)
    resources.land_orders(datetime.now(UTC).date().isoformat(), client)


class Stopped(BaseException):
    """Raised in the main thread by a signal that ends the stack, also before it is ready."""


def _stopper(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the stack is ending already
        stop.set()
        raise Stopped

    return handle


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {line}", flush=True)


STACK_TIERS: Final = ("tests/chaos", "tests/system")
"""Tests that start the whole stack and are sensitive to load: they run one after the other."""

PARALLEL: Final = tuple(f"tests/system/test_{name}.py" for name in ("packages", "fargate", "airflow_browser_suite"))
"""Tests that start stacks, too, but mostly wait: for the package index, containers and browsers. They run in parallel with
those tiers, after all others."""


def test(arguments: list[str]) -> int:
    """Runs the checks and all tests, or one tier (`unit`, `system`, …), or pytest with its own arguments. Returns the first
    exit code that is not zero."""
    tests = ROOT / "tests"
    named = [f"tests/{argument}" if (tests / argument).is_dir() else argument for argument in arguments]
    checks = (
        []
        if arguments
        else [
            [_tool("ruff"), "check", "."],
            [_tool("ruff"), "format", "--check", "."],
            [_tool("mypy")],
            [_tool("lint-imports")],
        ]
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    codes = []
    pytest = [sys.executable, "-m", "pytest"]
    for command in [*checks, *([[*pytest, *named]] if arguments else [])]:
        print(f"\n$ {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        codes.append(subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode)
    if not arguments:
        codes += _all_tiers(pytest, environment)
    failed = [Path(command[0]).name for command, code in zip(checks, codes, strict=False) if code]
    if failed:
        print(f"gust: also failed, above: {', '.join(failed)}", file=sys.stderr)
    return next((code for code in codes if code), 0)


def _all_tiers(pytest: list[str], environment: dict[str, str]) -> list[int]:
    """Runs the tiers that start stacks, and in parallel all others in a process of their own, whose output it prints at the
    end. On two processors this takes two thirds of the time."""
    tiers = sorted(f"tests/{folder.name}" for folder in (ROOT / "tests").iterdir() if any(folder.rglob("test_*.py")))
    beside = [*(tier for tier in tiers if tier not in STACK_TIERS), *PARALLEL]
    stacks = [*STACK_TIERS, *(f"--ignore={path}" for path in PARALLEL)]
    print(f"\n$ pytest {' '.join(beside)} &\n$ pytest {' '.join(stacks)}", flush=True)
    with tempfile.TemporaryFile() as output:
        other = subprocess.Popen([*pytest, *beside], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = subprocess.run([*pytest, *stacks], cwd=ROOT, env=environment, check=False).returncode
            codes = [code, other.wait()]
        finally:
            other.kill()
        output.seek(0)
        print(f"\n$ pytest {' '.join(beside)}\n{output.read().decode(errors='replace')}", flush=True)
    return codes


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def run_module(module: str, arguments: list[str]) -> int:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "shared")}
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=ROOT, env=environment, check=False).returncode


def deploy(arguments: list[str]) -> int:
    """`sam build && sam deploy` with the given arguments, after checks of layer sizes and the account's concurrency."""
    sam = shutil.which("sam")
    if sam is None:
        print(
            "gust: the SAM CLI is missing: install aws-sam-cli (`uv tool install aws-sam-cli`), then again.",
            file=sys.stderr,
        )
        return 1
    if shutil.which("make") is None:
        print("gust: make is missing; the layers are built with it.", file=sys.stderr)
        return 1
    from samtranslator.yaml_helper import yaml_parse

    from gust.cli import layers

    layers.note_inputs(ROOT)
    built = subprocess.run([sam, "build", "--cached"], cwd=ROOT, check=False).returncode
    if built:
        print("gust: sam build failed, see above. Nothing was deployed.", file=sys.stderr)
        return built
    template = yaml_parse((ROOT / "template.yaml").read_text())
    if refused := layers.too_large(template, ROOT / ".aws-sam" / "build"):
        print("gust: Lambda would refuse these functions. Nothing was deployed.", *refused, sep="\n  ", file=sys.stderr)
        return 1
    _tell_of_concurrency(arguments)
    first = ["--guided"] if not arguments and not _is_configured() else []
    return subprocess.run([sam, "deploy", *first, *arguments], cwd=ROOT, check=False).returncode


def _tell_of_concurrency(arguments: list[str]) -> None:
    from gust.cli import concurrency

    limit = concurrency.account_limit(concurrency.region_of(arguments) or _deploy_settings().get("region"))
    settings = " ".join([*arguments, str(_deploy_settings().get("parameter_overrides", ""))])
    if limit is not None and (advice := concurrency.advice(limit, settings=settings)):
        print(advice, file=sys.stderr)


def reencrypt(stack: str) -> int:
    """Encrypt all settings with the first key of the secret (docs/adr/0013), with your own AWS credentials."""
    import boto3

    from gust import bootstrap
    from gust.services.settings.reencrypt_settings import reencrypt_settings

    described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    os.environ |= {
        "GUST_TABLE": outputs["TableName"],
        "GUST_BUCKET": outputs["BucketName"],
        "GUST_ENCRYPTION_SECRET": outputs["EncryptionSecretArn"],
    }
    done = reencrypt_settings(bootstrap.from_environment())
    print(f"Encrypted {done.written} variables, connections, triggers and other values with the first key.")
    for name in done.unreadable:
        print(f"gust: no key decrypts {name}; it was not changed.", file=sys.stderr)
    return 1 if done.unreadable else 0


def login(options: argparse.Namespace) -> int:
    if options.local:
        return login_here(options)
    import boto3

    from gust.cli import login as ways_in

    session = boto3.Session()
    try:
        url = ways_in.api_url(session.client("cloudformation"), options.stack)
        if options.token:
            print(ways_in.token(url, session, tag=options.tag))
        else:
            ways_in.show(ways_in.link(url, session, page=options.page, tag=options.tag), opens=not options.print)
    except ways_in.LoginError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    return 0


def login_here(options: argparse.Namespace) -> int:
    """Sign in to a local stack. Any user of this machine who can read its data folder can do this."""
    from gust.cli.login import show
    from gust.local import sign_in
    from gust.local.stack import emulator_client

    if options.tag:
        print("gust: the local stack knows no session tags.", file=sys.stderr)
        return 2
    try:
        endpoint, url = sign_in.running(options.data.resolve())
        client = emulator_client("lambda", endpoint)
        if options.token:
            print(sign_in.token(client))
        else:
            show(sign_in.link(client, url, page=options.page), opens=not options.print)
    except sign_in.SignInError as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    return 0


def rotate_key(stack: str, client: Callable[[str], Any] | None = None) -> int:
    """Start the monthly rotation now: a new signing key in front of the present ones. `client`: boto3's."""
    import boto3
    from botocore.exceptions import ClientError

    aws: Any = client or boto3.client
    described = aws("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    try:
        aws("secretsmanager").rotate_secret(SecretId=outputs["SigningSecretArn"])
    except ClientError as refused:
        print(f"gust: {refused}", file=sys.stderr)
        return 1
    print("A new key is being made; it signs within a quarter of an hour. Tokens of older keys stay valid.")
    return 0


def check_access(file: Path) -> int:
    from gust.errors import Invalid
    from gust.rest_api.access.access import AccessDocument

    try:
        document = AccessDocument.parse(file.read_text())
    except (Invalid, OSError) as problem:
        print(f"gust: {problem}", file=sys.stderr)
        return 1
    print(f"The document is valid: {len(document.iam)} entries for IAM, {len(document.oidc)} for OIDC.")
    return 0


def _is_configured() -> bool:
    """Whether samconfig.toml names a region, i.e. an earlier `--guided` has saved its answers."""
    return "region" in _deploy_settings()


def _deploy_settings() -> dict[str, Any]:
    file = ROOT / "samconfig.toml"
    if not file.exists():
        return {}
    return dict(tomllib.loads(file.read_text()).get("default", {}).get("deploy", {}).get("parameters", {}))


if __name__ == "__main__":
    sys.exit(main())
