"""What must hold of the template whatever is added to it."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from gust.aws import clients
from gust.aws.queues import COMES_BACK_AFTER
from gust.aws.signing_keys import SIGNS_AFTER
from gust.aws.tokens import LONGEST_LIFETIME
from gust.cli.doctor import DEPLOYER
from gust.model import bucket_keys
from gust.model.bounds import LARGEST_FOLDER
from gust.model.environment import room
from gust.rest_api.access.auth import SIGNED_ROUTES
from gust.scheduling import transition
from gust.store.dynamodb import asset_queues
from gust.store.dynamodb.limits import CHANGED, GIVEN_BACK
from gust.store.dynamodb.xcoms import EDITED
from gust.store.keyspace import TABLE_DEFINITION, TTL_ATTRIBUTE
from tests.template.rights import statements

ROOT = Path(__file__).parents[2]
LARGEST_STORAGE = 10240
"""MB; Lambda has no larger /tmp."""
LARGEST_MEMORY_OF_A_NEW_ACCOUNT = 3008
"""MB."""

Resources = dict[str, dict[str, Any]]

RUNS_STRANGERS_CODE = {
    "ParseFunction": "ParseRole",
    "WorkerFunction": "WorkerRole",
    "TriggererFunction": "TriggererRole",
}

INVOKED_AND_WAITED_FOR = {
    "ExecutionApiFunction": "the worker sees the error and repeats",
    "ApiFunction": "the caller sees the error",
    "ParseFunction": "the state machine sees the error and repeats",
    "EnvironmentBuilderFunction": "the state machine sees the error and repeats",
    "DagProcessorFunction": "the state machine sees the error and repeats",
    "KeyMakerFunction": "CloudFormation waits for the answer, which tells the error",
}
"""Functions whose caller waits for the answer: a dead letter queue would stay empty."""


@pytest.mark.parametrize("template", ["template.yaml", "worker_group.yaml"])
def test_sam_finds_nothing_to_complain_about(template: str) -> None:
    sam = shutil.which("sam", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert sam, "aws-sam-cli belongs to the development requirements"
    environment = os.environ | {"AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    checked = subprocess.run(  # noqa: S603
        [sam, "validate", "--lint", "--template", template],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_function_can_be_built_and_has_its_door(source: dict[str, Any]) -> None:
    for name, function in of_type(source["Resources"], "AWS::Serverless::Function"):
        properties = function["Properties"]
        module, handler = properties["Handler"].split(".")
        door = ROOT / properties["CodeUri"] / f"{module}.py"
        assert door.is_file(), f"{name} has no door at {door}"
        assert re.search(rf"^(def )?{handler}\b", door.read_text(), re.MULTILINE), f"{door} has no {handler}"


def test_what_is_delivered_asynchronously_ends_somewhere_if_it_fails(resources: Resources) -> None:
    queues = dict(of_type(resources, "AWS::SQS::Queue"))
    for name, _ in of_type(resources, "AWS::Lambda::Function"):
        mappings = [
            mapping["Properties"]
            for _, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping")
            if mapping["Properties"]["FunctionName"] == {"Ref": name}
        ]
        if not mappings and name not in INVOKED_AND_WAITED_FOR:
            invoked = [
                each["Properties"]
                for _, each in of_type(resources, "AWS::Lambda::EventInvokeConfig")
                if each["Properties"]["FunctionName"] == {"Ref": name}
            ]
            assert invoked, f"who notices when {name} fails?"
            assert invoked[0]["DestinationConfig"]["OnFailure"]["Destination"], f"{name} drops what fails"
        for mapping in mappings:
            source = logical_id(mapping["EventSourceArn"])
            if source in queues:
                assert "RedrivePolicy" in queues[source]["Properties"], f"{source} has no dead letter queue"
            else:
                assert mapping["DestinationConfig"]["OnFailure"]["Destination"], f"{source} drops what fails"
                assert mapping["MaximumRetryAttempts"] >= 1
                assert mapping["BisectBatchOnFunctionError"]


def test_one_bad_record_does_not_fail_its_batch(resources: Resources) -> None:
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"], name


def test_a_message_stays_hidden_longer_than_its_function_may_run(resources: Resources) -> None:
    """Else Lambda refuses the mapping, or runs the same message twice at a time."""
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        queue = resources[logical_id(mapping["Properties"]["EventSourceArn"])]
        if queue["Type"] != "AWS::SQS::Queue":
            continue
        function = resources[mapping["Properties"]["FunctionName"]["Ref"]]
        assert queue["Properties"]["VisibilityTimeout"] > function["Properties"]["Timeout"], name


def test_a_worker_can_hide_its_message_and_failing_does_not_use_it_up(resources: Resources) -> None:
    """What fails comes again after seconds: few receives would be over before a service is well again."""
    assert resources["WorkerFunction"]["Properties"]["Environment"]["Variables"]["GUST_TASK_QUEUE_URL"]
    (hides,) = [s for s in statements(resources["WorkerRole"]) if "sqs:ChangeMessageVisibility" in as_list(s["Action"])]
    assert logical_id(hides["Resource"]) == "TasksQueue"
    receives = resources["TasksQueue"]["Properties"]["RedrivePolicy"]["maxReceiveCount"]
    assert sum(COMES_BACK_AFTER[min(n, len(COMES_BACK_AFTER) - 1)] for n in range(receives)) > 300


def test_who_invokes_a_function_is_neither_more_nor_less_patient_than_it_must_be(resources: Resources) -> None:
    """A question that is asked again while it is being answered is worked off twice at a time."""
    with_execution_api = clients.PATIENCE_WITH_EXECUTION_API.read_timeout
    assert with_execution_api > resources["ExecutionApiFunction"]["Properties"]["Timeout"]
    with_parser = clients.PATIENCE_WITH_PARSER
    assert with_parser.retries["total_max_attempts"] == 1
    for asks in ("ApiFunction", "ExecutionApiFunction", "SchedulerFunction", "DagProcessorFunction"):
        assert with_parser.read_timeout + with_parser.connect_timeout < resources[asks]["Properties"]["Timeout"], asks
    with_receipts = clients.PATIENCE_WITH_RECEIPTS  # a try's start waits for SQS, and can do without
    assert (with_receipts.connect_timeout + with_receipts.read_timeout) * with_receipts.retries[
        "total_max_attempts"
    ] <= 10


def test_no_queue_can_take_all_of_the_accounts_concurrency(resources: Resources) -> None:
    """A thousand functions at once is all that an account has: one queue's backlog must not starve the others."""
    for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping"):
        source = resources[logical_id(mapping["Properties"]["EventSourceArn"])]
        if source["Type"] != "AWS::SQS::Queue":
            continue
        assert mapping["Properties"]["ScalingConfig"]["MaximumConcurrency"], name


@pytest.mark.parametrize(("function", "role"), RUNS_STRANGERS_CODE.items())
def test_strangers_code_reaches_no_table_and_no_secret(resources: Resources, function: str, role: str) -> None:
    assert resources[function]["Properties"]["Role"] == {"Fn::GetAtt": [role, "Arn"]}
    allowed = {action for statement in statements(resources[role]) for action in as_list(statement["Action"])}
    services = {action.split(":")[0] for action in allowed}
    assert services <= {"logs", "sqs", "s3", "lambda", "kms"}
    assert not {"sqs:SendMessage", "s3:DeleteObject"} & allowed
    names = resources[function]["Properties"]["Environment"]["Variables"]
    assert not {"GUST_TABLE", "GUST_SIGNING_KEYS", "GUST_ENCRYPTION_KEYS"} & set(names)


@pytest.mark.parametrize("function", RUNS_STRANGERS_CODE)
def test_links_that_users_code_makes_lead_to_the_api_or_to_the_domain_before_it(
    source: dict[str, Any], function: str
) -> None:
    variables = source["Resources"][function]["Properties"]["Environment"]["Variables"]
    api = source["Outputs"]["ApiUrl"]["Value"]
    assert variables["AIRFLOW__API__BASE_URL"] == {"Fn::If": ["HasBaseUrl", {"Ref": "BaseUrl"}, api]}
    for name in ("HttpApi", "RestApi"):
        assert f"https://${{{name}}}.execute-api.${{AWS::Region}}.${{AWS::URLSuffix}}" in json.dumps(api)
        assert "ApiFunction" not in json.dumps(source["Resources"][name]), "else each would wait for the other"


def test_a_worker_reads_bundles_speaks_to_the_execution_api_and_writes_its_log(resources: Resources) -> None:
    by_action: dict[str, list[Any]] = {}
    for statement in statements(resources["WorkerRole"]):
        for action in set(as_list(statement["Action"])) - {"kms:Decrypt"}:  # see test_another_key
            by_action.setdefault(action, []).extend(as_list(statement["Resource"]))
    logs = [{"Fn::GetAtt": ["WorkerLogs", "Arn"]}, {"Fn::GetAtt": ["TaskLogs", "Arn"]}]
    queue = [{"Fn::GetAtt": ["TasksQueue", "Arn"]}]
    transfers = {"Fn::Sub": "${Bucket.Arn}/transfers/*"}
    environments = {"Fn::Sub": "${Bucket.Arn}/environments/*"}
    assert by_action == {
        "logs:CreateLogStream": logs,
        "logs:PutLogEvents": logs,
        "sqs:ReceiveMessage": queue,
        "sqs:DeleteMessage": queue,
        "sqs:GetQueueAttributes": queue,
        "sqs:ChangeMessageVisibility": queue,
        "s3:GetObject": [{"Fn::Sub": "${Bucket.Arn}/bundles/*"}, environments, transfers],
        "s3:PutObject": [transfers],
        "lambda:InvokeFunction": [{"Fn::GetAtt": ["ExecutionApiFunction", "Arn"]}],
    }


def test_task_policies_are_those_of_the_task_role_and_of_no_role_of_gusts(source: dict[str, Any]) -> None:
    roles = of_type(source["Resources"], "AWS::IAM::Role")
    assert [name for name, role in roles if "TaskPolicyArns" in json.dumps(role)] == ["TaskRole"]
    task_role = source["Resources"]["TaskRole"]["Properties"]
    assert "Policies" not in task_role, "it has no right on this stack"
    trust, tags = task_role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == tags["Principal"] == {"AWS": {"Fn::GetAtt": ["ExecutionApiRole", "Arn"]}}
    assert (trust["Action"], tags["Action"]) == ("sts:AssumeRole", "sts:TagSession")
    assert trust["Condition"] == {"StringEquals": {"sts:ExternalId": source["Outputs"]["TaskExternalId"]["Value"]}}


def test_the_execution_api_assumes_roles_of_tasks_and_no_other_function_assumes_any(source: dict[str, Any]) -> None:
    resources = source["Resources"]
    assuming = [
        name
        for name, resource in resources.items()
        if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::Policy")
        and "sts:AssumeRole" in json.dumps({**resource["Properties"], "AssumeRolePolicyDocument": None})
    ]
    assert assuming == ["ExecutionApiAssumesTaskRoles"]
    policy = resources["ExecutionApiAssumesTaskRoles"]["Properties"]
    assert policy["Roles"] == [{"Ref": "ExecutionApiRole"}]
    default, of_groups, further = policy["PolicyDocument"]["Statement"]
    assert default["Resource"] == {"Fn::GetAtt": ["TaskRole", "Arn"]}
    assert of_groups["Resource"]["Fn::Sub"].endswith(":iam::${AWS::AccountId}:role/gust/${AWS::StackName}/*")
    condition, given, otherwise = further["Fn::If"]
    assert (condition, given["Resource"]) == ("HasTaskRoles", {"Ref": "TaskRoleArns"})
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert source["Parameters"]["TaskRoleArns"]["Default"] == ""


def test_who_says_which_role_a_task_has_reads_the_document_that_says_it(source: dict[str, Any]) -> None:
    policy = source["Resources"]["ApisReadAccessDocument"]
    assert policy["Condition"] == "HasAccessDocument"
    readers = ("ApiRole", "ExecutionApiRole", "SchedulerRole")
    assert policy["Properties"]["Roles"] == [{"Ref": role} for role in readers]
    for role in readers:
        function = source["Resources"][role.replace("Role", "Function")]["Properties"]
        assert function["Environment"]["Variables"]["GUST_ACCESS_PARAMETER"] == {"Ref": "AccessParameter"}


def test_the_parser_asks_the_execution_api_and_no_other_function(resources: Resources) -> None:
    invoked = [s["Resource"] for s in statements(resources["ParseRole"]) if s["Action"] == "lambda:InvokeFunction"]
    assert [logical_id(arn) for arn in invoked] == ["ExecutionApiFunction"]
    assert resources["ExecutionApiFunction"]["Properties"]["FunctionName"] == {
        "Fn::Sub": "${AWS::StackName}-execution-api"
    }


@pytest.mark.parametrize("function", ["DagProcessorFunction", "ParseFunction", "WorkerFunction", "TriggererFunction"])
def test_who_has_a_bundle_on_its_disk_has_room_for_the_largest(resources: Resources, function: str) -> None:
    """Packed and unpacked; of the processor: the fetched files, the bundle before and the new one."""
    size = resources[function]["Properties"]["EphemeralStorage"]["Size"]
    if isinstance(size, dict):
        condition, with_fargate, size = size["Fn::If"]
        assert (condition, with_fargate) == ("HasFargate", LARGEST_STORAGE)
    assert size * 2**20 > 3 * LARGEST_FOLDER


def test_what_builds_parses_and_waits_has_room_for_packages_that_fargate_alone_runs(resources: Resources) -> None:
    builder = resources["EnvironmentBuilderFunction"]["Properties"]
    assert builder["EphemeralStorage"]["Size"] == LARGEST_STORAGE
    condition, with_fargate, _ = builder["Environment"]["Variables"]["GUST_STORAGE"]["Fn::If"]
    assert (condition, with_fargate) == ("HasFargate", str(LARGEST_STORAGE))
    assert 3 * room(LARGEST_STORAGE) * 10**6 < LARGEST_STORAGE * 2**20 * 1.2


@pytest.mark.parametrize("function", ["SchedulerFunction", "ExecutionApiFunction", "ApiFunction"])
def test_who_places_a_try_knows_what_workers_there_are(resources: Resources, function: str) -> None:
    given = resources[function]["Properties"]["Environment"]["Variables"]
    names = {"GUST_FARGATE_STATE_MACHINE", "GUST_FARGATE_X86", "GUST_WORKER_MEMORY", "GUST_TASK_STORAGE"}
    assert names <= given.keys()
    assert "GUST_FARGATE_X86" in resources["DagProcessorFunction"]["Properties"]["Environment"]["Variables"]


def test_the_parser_writes_only_what_parsing_gives(resources: Resources) -> None:
    assert prefixes_of(resources["ParseRole"], "s3:PutObject") == {"parses/*", "specs/*", "serialized/*", "sources/*"}


def test_the_parser_replaces_nothing_that_lies_under_a_hash(resources: Resources) -> None:
    """A DAG file that has the parser's credentials must not change what has been activated."""
    conditions = {
        resource["Fn::Sub"].removeprefix("${Bucket.Arn}/"): statement.get("Condition")
        for statement in statements(resources["ParseRole"])
        if "s3:PutObject" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    only_new = {"Null": {"s3:if-none-match": "false"}}
    assert conditions == {"parses/*": None, "specs/*": only_new, "serialized/*": only_new, "sources/*": only_new}


def test_the_parser_reads_neither_results_of_tasks_nor_what_is_on_its_way_to_them(resources: Resources) -> None:
    """It runs every DAG file; what DAGs hand from task to task is none of a file's business."""
    assert prefixes_of(resources["ParseRole"], "s3:GetObject") == {"bundles/*", "environments/*", "parses/*"}


def test_what_deploys_does_not_write_where_people_upload(resources: Resources) -> None:
    assert prefixes_of(resources["DagProcessorRole"], "s3:PutObject") == {"bundles/*", "parses/*", "recipes/*"}
    assert prefixes_of(resources["EnvironmentBuilderRole"], "s3:PutObject") == {
        "environments/*",
        "recipes/*.built.json",
    }


def test_an_environment_is_built_once_and_by_the_builder_alone(resources: Resources) -> None:
    """Who could write one would run code as every worker."""
    writers = {
        name
        for name, role in of_type(resources, "AWS::IAM::Role")
        for statement in statements(role)
        if "s3:PutObject" in as_list(statement["Action"])
        and any(
            "environments" in json.dumps(r) or r == {"Fn::Sub": "${Bucket.Arn}/*"}
            for r in as_list(statement["Resource"])
        )
    }
    assert writers == {"EnvironmentBuilderRole"}
    stores = [s for s in statements(resources["EnvironmentBuilderRole"]) if "environments" in json.dumps(s["Resource"])]
    assert [s["Condition"] for s in stores if s["Action"] == "s3:PutObject"] == [
        {"Null": {"s3:if-none-match": "false"}}
    ]


def test_each_function_and_container_that_unpacks_bundles_can_fetch_their_environments(source: dict[str, Any]) -> None:
    readers = [
        name
        for name, role in of_type(source["Resources"], "AWS::IAM::Role")
        if (
            resources := json.dumps([s["Resource"] for s in statements(role) if "s3:GetObject" in as_list(s["Action"])])
        )
        and "/bundles/*" in resources
        and "/environments/*" not in resources
        and name != "DagProcessorRole"  # it packs them, and runs nothing of them
    ]
    assert not readers


def test_no_role_reads_the_whole_bucket(resources: Resources) -> None:
    allowed = [statement for _, role in of_type(resources, "AWS::IAM::Role") for statement in statements(role)]
    of_objects = [each for each in allowed if any(one.startswith("s3:") for one in as_list(each["Action"]))]
    assert {"Fn::Sub": "${Bucket.Arn}/*"} not in [one for each in of_objects for one in as_list(each["Resource"])]
    keys = bucket_keys
    read = prefixes_of(resources["DagProcessorRole"], "s3:GetObject")
    assert {f"{keys.DAGS}*", *keys.BESIDE_DAGS} <= read
    assert not {f"{prefix}*" for prefix in (keys.TRANSFERS, keys.WORKLOADS, keys.FUNCTIONS, keys.SOURCES)} & read
    assert prefixes_of(resources["ApiRole"], "s3:GetObject") == {
        *("bundles/*.json", "environments/*.json"),
        *(f"{prefix}*" for prefix in (keys.SPECS, keys.SERIALIZED, keys.SOURCES, keys.DOCUMENTS)),
    }


def test_the_builder_reads_a_secret_only_where_the_stack_names_one(source: dict[str, Any]) -> None:
    policy = source["Resources"]["BuilderReadsIndexSecret"]
    assert policy["Condition"] == "HasPackageIndexSecret"
    reads, decrypts = policy["Properties"]["PolicyDocument"]["Statement"]
    assert reads["Resource"] == {"Ref": "PackageIndexSecret"}
    assert decrypts["Action"] == "kms:Decrypt"
    assert decrypts["Condition"] == {
        "StringEquals": {"kms:ViaService": {"Fn::Sub": "secretsmanager.${AWS::Region}.amazonaws.com"}},
        "StringLike": {"kms:EncryptionContext:SecretARN": {"Fn::Sub": "${PackageIndexSecret}*"}},
    }
    assert source["Parameters"]["PackageIndexSecret"]["Default"] == ""


def test_environments_are_built_by_what_runs_them(resources: Resources) -> None:
    """uv chooses wheels for its own interpreter and machine."""
    functions = ["EnvironmentBuilderFunction", *RUNS_STRANGERS_CODE]
    kinds = {json.dumps([resources[f]["Properties"][p] for p in ("Runtime", "Architectures")]) for f in functions}
    assert len(kinds) == 1


def prefixes_of(role: dict[str, Any], action: str) -> set[str]:
    resources = [r for s in statements(role) if action in as_list(s["Action"]) for r in as_list(s["Resource"])]
    return {resource["Fn::Sub"].removeprefix("${Bucket.Arn}/") for resource in resources}


KEYS = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/gust/${AWS::StackName}/keys/"


def keys_for(role: dict[str, Any], action: str) -> set[str]:
    """The last part of the names of the key parameters that the role has the right to `action` for."""
    return {
        resource["Fn::Sub"].removeprefix(KEYS)
        for statement in statements(role)
        if action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        if "Fn::Sub" in resource and resource["Fn::Sub"].startswith(KEYS)
    }


def test_only_functions_that_sign_or_decrypt_read_the_keys(resources: Resources) -> None:
    readers = {name: keys_for(role, "ssm:GetParameter") for name, role in of_type(resources, "AWS::IAM::Role")}
    both = {"signing", "encryption"}
    assert {name: read for name, read in readers.items() if read} == {
        "SchedulerRole": both,  # a deadline's interval may be a variable
        "ExecutionApiRole": both,
        "ApiRole": both,
        "DagProcessorRole": both,  # signs the parser's token, encrypts arguments of asset watchers
        "KeyRotationRole": {"signing"},
        "KeyMakerRole": both,  # carries them over, and encrypts them with another key of KMS
    }
    writers = {name: keys_for(role, "ssm:PutParameter") for name, role in of_type(resources, "AWS::IAM::Role")}
    assert {name: written for name, written in writers.items() if written} == {
        "KeyRotationRole": {"signing"},
        "KeyMakerRole": both,
    }


def test_no_role_reads_parameters_by_their_path_or_all_of_them(resources: Resources) -> None:
    """SSM lets a caller read below a path what it may not read by its name."""
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for statement in statements(role):
            asked = [action for action in as_list(statement["Action"]) if action.startswith("ssm:")]
            assert set(asked) <= {"ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameters"}, name
            assert not asked or "*" not in as_list(statement["Resource"]), name


def test_the_key_rotator_reaches_the_signing_keys_and_nothing_else(resources: Resources) -> None:
    allowed = {
        action: statement["Resource"]
        for statement in statements(resources["KeyRotationRole"])
        for action in as_list(statement["Action"])
        if not action.startswith("kms:")
    }
    logs, signing = {"Fn::GetAtt": ["KeyRotationLogs", "Arn"]}, {"Fn::Sub": f"{KEYS}signing"}
    assert allowed == {
        "logs:CreateLogStream": logs,
        "logs:PutLogEvents": logs,
        "ssm:GetParameter": signing,
        "ssm:PutParameter": signing,
        "sqs:SendMessage": {"Fn::GetAtt": ["ChangesDeadLetters", "Arn"]},
    }
    function = resources["KeyRotationFunction"]["Properties"]
    assert function["Role"] == {"Fn::GetAtt": ["KeyRotationRole", "Arn"]}
    ours = {name: value for name, value in function["Environment"]["Variables"].items() if name.startswith("GUST_")}
    assert ours == {"GUST_SIGNING_KEYS": {"Fn::GetAtt": ["Keys", "Signing"]}, "GUST_KMS_KEY": {"Ref": "KmsKeyArn"}}


def test_the_key_maker_reads_the_secrets_of_this_stack_alone(resources: Resources) -> None:
    (statement,) = [
        each
        for each in statements(resources["KeyMakerRole"])
        if "secretsmanager:GetSecretValue" in as_list(each["Action"])
    ]
    assert statement["Condition"] == {
        "StringEquals": {"aws:ResourceTag/aws:cloudformation:stack-id": {"Ref": "AWS::StackId"}}
    }
    (asks,) = [each for each in statements(resources["KeyMakerRole"]) if "cloudformation" in str(each["Action"])]
    assert asks["Resource"] == {"Ref": "AWS::StackId"}


def test_a_reader_of_keys_may_decrypt_them_under_any_key_of_the_operator_and_nothing_else(resources: Resources) -> None:
    """When `KmsKeyArn` changes, the key maker writes the parameters anew minutes before UsesKey names the new key, which
    waits for functions."""
    for name, role in of_type(resources, "AWS::IAM::Role"):
        reads = keys_for(role, "ssm:GetParameter")
        decrypts = [each for each in statements(role) if "kms:Decrypt" in as_list(each["Action"])]
        conditions = [each["Condition"]["StringEquals"] for each in decrypts]
        through_ssm = [each for each in conditions if each["kms:ViaService"]["Fn::Sub"].startswith("ssm.")]
        named = {key["Fn::Sub"] for each in through_ssm for key in as_list(each["kms:EncryptionContext:PARAMETER_ARN"])}
        assert named == {f"{KEYS}{each}" for each in reads}, name


@pytest.mark.parametrize("role", ["KeyMakerRole", "KeyRotationRole"])
def test_a_writer_of_keys_uses_kms_for_these_parameters_alone(resources: Resources, role: str) -> None:
    for statement in statements(resources[role]):
        if any(action.startswith("kms:") for action in as_list(statement["Action"])):
            equals = statement["Condition"]["StringEquals"]
            through = equals["kms:ViaService"]["Fn::Sub"].split(".")[0]
            if through == "ssm":
                named = {each["Fn::Sub"] for each in as_list(equals["kms:EncryptionContext:PARAMETER_ARN"])}
                assert named == {f"{KEYS}{each}" for each in keys_for(resources[role], "ssm:PutParameter")}
            else:
                assert (role, statement["Action"]) == ("KeyMakerRole", "kms:Decrypt")
                assert statement["Condition"]["StringLike"]["kms:EncryptionContext:SecretARN"]


@pytest.mark.parametrize("template", ["template.yaml", "worker_group.yaml"])
def test_a_new_account_can_have_the_stack_as_it_comes(template: str) -> None:
    """Lambda refuses functions above 3008 MB to an account that has used little of it, and the whole stack with them."""
    written = yaml_parse((ROOT / template).read_text())
    sizes = {
        name: each["Properties"]["MemorySize"]
        for name, each in written["Resources"].items()
        if "MemorySize" in each.get("Properties", {})
    }
    assert sizes
    for name, size in sizes.items():
        given = written["Parameters"][size["Ref"]]["Default"] if isinstance(size, dict) else size
        assert given <= LARGEST_MEMORY_OF_A_NEW_ACCOUNT, name


def test_the_doctor_looks_for_the_right_with_which_cloudformation_calls_the_key_maker(resources: Resources) -> None:
    """CloudFormation calls a custom resource's function with the rights of the principal that deploys."""
    assert [name for name, each in resources.items() if each["Type"].startswith("Custom::")] == ["Keys"]
    assert "lambda:InvokeFunction" in DEPLOYER


def test_a_stack_without_an_answer_of_the_key_maker_does_not_wait_for_an_hour(source: dict[str, Any]) -> None:
    keys = source["Resources"]["Keys"]["Properties"]
    # Lambda calls a function that fails twice more, after one and two minutes.
    assert source["Resources"]["KeyMakerFunction"]["Properties"]["Timeout"] < keys["ServiceTimeout"] <= 600


def test_the_signing_key_is_replaced_by_itself(resources: Resources) -> None:
    """The encryption key is not: without the old one everything would have to be encrypted anew first."""
    (rule,) = [
        each["Properties"]
        for _, each in of_type(resources, "AWS::Events::Rule")
        if each["Properties"].get("Targets", [{}])[0].get("Arn") == {"Fn::GetAtt": ["KeyRotationFunction", "Arn"]}
    ]
    rate = re.fullmatch(r"rate\((\d+) days\)", rule["ScheduleExpression"])
    assert rate is not None
    # A key is dropped by the rotation after next: what it signed must have run out by then, or keys pile up.
    assert timedelta(days=int(rate[1])) > LONGEST_LIFETIME + 2 * SIGNS_AFTER


def test_only_a_stack_that_tests_connections_lets_people_reach_workers(source: dict[str, Any]) -> None:
    tests = source["Resources"]["ApiSendsConnectionTests"]
    assert source["Parameters"]["TestConnection"]["Default"] == "Disabled"
    assert tests["Condition"] == "TestsConnections"
    assert source["Conditions"]["TestsConnections"] == {"Fn::Equals": [{"Ref": "TestConnection"}, "Enabled"]}
    (statement,) = tests["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", {"Fn::GetAtt": ["TasksQueue", "Arn"]})
    of_the_role = json.dumps(source["Resources"]["ApiRole"])
    assert "TasksQueue" not in of_the_role


def test_no_role_may_do_everything_or_anything_to_everything(resources: Resources) -> None:
    for name, role in of_type(resources, "AWS::IAM::Role"):
        for statement in statements(role):
            actions = as_list(statement["Action"])
            assert not [action for action in actions if "*" in action], name
            if statement["Resource"] == "*":
                assert actions in (["dynamodb:ListStreams"], ["ecr:GetAuthorizationToken"]), name


def test_each_function_has_a_role_and_a_log_of_its_own(source: dict[str, Any], resources: Resources) -> None:
    functions = list(of_type(resources, "AWS::Lambda::Function"))
    roles = [json.dumps(function["Properties"]["Role"]) for _, function in functions]
    logs = [function["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] for _, function in functions]
    assert len(set(roles)) == len(set(logs)) == len(functions)
    for log in logs:
        assert source["Resources"][log]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_table_is_the_one_that_the_store_speaks_to(resources: Resources) -> None:
    table = resources["Table"]["Properties"]
    assert by_name(table["AttributeDefinitions"]) == by_name(TABLE_DEFINITION["AttributeDefinitions"])
    assert table["KeySchema"] == TABLE_DEFINITION["KeySchema"]
    assert table["BillingMode"] == TABLE_DEFINITION["BillingMode"]
    assert table["StreamSpecification"]["StreamViewType"] == TABLE_DEFINITION["StreamSpecification"]["StreamViewType"]
    assert {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]} == {
        index["IndexName"]: index for index in TABLE_DEFINITION["GlobalSecondaryIndexes"]
    }
    assert table["TimeToLiveSpecification"] == {"AttributeName": TTL_ATTRIBUTE, "Enabled": True}


def test_lambda_lets_those_functions_loop_that_call_each_other_in_circles_and_no_others(resources: Resources) -> None:
    """A message of a chain that has come to a function some sixteen times is dropped, unless the function allows it."""
    calls = {name: called_by(resources, name) for name, _ in of_type(resources, "AWS::Lambda::Function")}
    in_a_loop = {name for name in calls if name in reached(calls, calls[name])}
    # Who is called from a loop is called at each turn, in the same chain.
    meant = in_a_loop | reached(calls, in_a_loop)
    allowed = {
        name
        for name, function in of_type(resources, "AWS::Lambda::Function")
        if function["Properties"].get("RecursiveLoop") == "Allow"
    }
    assert {"SchedulerFunction", "TriggererFunction", "ExecutionApiFunction", "WorkerFunction"} <= in_a_loop
    assert allowed == meant


def called_by(resources: Resources, name: str) -> set[str]:
    """The functions that it may invoke, or whose queues it may send to. (What comes out of the table's stream begins a new
    chain, and no function may write where uploads are noticed.)"""
    role = resources[logical_id(resources[name]["Properties"]["Role"])]
    mapped = {
        logical_id(mapping["Properties"]["EventSourceArn"]): mapping["Properties"]["FunctionName"]["Ref"]
        for _, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping")
    }
    called: set[str] = set()
    for statement in statements(role):
        for resource in as_list(statement["Resource"]):
            if "lambda:InvokeFunction" in as_list(statement["Action"]):
                called.add(logical_id(resource))
            if "sqs:SendMessage" in as_list(statement["Action"]):
                called |= {mapped[queue] for queue in [logical_id(resource)] if queue in mapped}
    return called


def reached(calls: dict[str, set[str]], names: set[str]) -> set[str]:
    found: set[str] = set()
    while names := names - found:
        found |= names
        names = {called for name in names for called in calls[name]}
    return found


def test_nothing_is_billed_by_the_hour(resources: Resources) -> None:
    free = {
        "AWS::EC2::VPC",
        "AWS::EC2::InternetGateway",
        "AWS::EC2::VPCGatewayAttachment",
        "AWS::EC2::RouteTable",
        "AWS::EC2::Route",
        "AWS::EC2::Subnet",
        "AWS::EC2::SubnetRouteTableAssociation",
        "AWS::EC2::SecurityGroup",
    }
    billed_by_the_hour = (
        "AWS::EC2::",
        "AWS::ECS::Service",
        "AWS::RDS::",
        "AWS::ElastiCache",
        "AWS::ElasticLoadBalancing",
    )
    others = {name: resource["Type"] for name, resource in resources.items() if resource["Type"] not in free}
    assert not [name for name, kind in others.items() if kind.startswith(billed_by_the_hour)]
    assert resources["Table"]["Properties"]["BillingMode"] == "PAY_PER_REQUEST"
    for name, function in of_type(resources, "AWS::Lambda::Function"):
        assert "ProvisionedConcurrencyConfig" not in function["Properties"], name


def test_nobody_reaches_the_bucket_or_the_api_from_the_internet_by_default(source: dict[str, Any]) -> None:
    assert all(source["Resources"]["Bucket"]["Properties"]["PublicAccessBlockConfiguration"].values())
    assert source["Parameters"]["ApiAuthorization"]["Default"] == "AWS_IAM"
    variables = source["Resources"]["ApiFunction"]["Properties"]["Environment"]["Variables"]
    assert variables["GUST_AUTH"] == {"Fn::If": ["IsOpen", "all-admins", ""]}
    assert source["Conditions"]["IsOpen"] == {"Fn::Equals": [{"Ref": "ApiAuthorization"}, "NONE"]}


def test_the_routes_that_check_signatures_are_those_whose_signers_are_believed(source: dict[str, Any]) -> None:
    routes = {
        route["Properties"]["RouteKey"]: route["Properties"]["AuthorizationType"]
        for _, route in of_type(source["Resources"], "AWS::ApiGatewayV2::Route")
    }
    assert routes == {"$default": "NONE", STATIC_FILES: "NONE"} | dict.fromkeys(SIGNED_ROUTES, "AWS_IAM")


STATIC_FILES = "GET /static/{proxy+}"


def test_what_anybody_may_ask_of_the_api_has_a_price_limit(resources: Resources, source: dict[str, Any]) -> None:
    stage = resources["HttpApiStage"]["Properties"]
    everywhere, static = stage["DefaultRouteSettings"], stage["RouteSettings"][STATIC_FILES]
    rate = static["ThrottlingRateLimit"]["Fn::If"][1]
    assert everywhere["ThrottlingRateLimit"] <= everywhere["ThrottlingBurstLimit"]
    assert rate <= static["ThrottlingBurstLimit"]
    dollars_a_gigabyte, largest = 0.09, 0.0021
    assert rate * largest * 3600 * dollars_a_gigabyte < 10
    assert (
        "StaticFilesRoute" in source["Resources"]["HttpApiStage"]["DependsOn"]
    )  # else CloudFormation knows no such route
    assert source["Parameters"]["ApiConcurrency"]["Default"] == 0  # a new account has none to reserve


def test_every_request_leaves_a_line_without_what_is_secret_in_its_query(resources: Resources) -> None:
    log = resources["HttpApiStage"]["Properties"]["AccessLogSettings"]
    assert logical_id(log["DestinationArn"]) == "AccessLogs"
    line = json.loads(log["Format"])
    assert {"time", "ip", "signer", "method", "path", "status"} <= line.keys()
    assert "querystring" not in log["Format"].lower()


def test_no_route_takes_signatures_where_nobody_verifies_them(source: dict[str, Any]) -> None:
    """On the local stack, whose emulator believes whatever name a signature bears."""
    assert source["Conditions"]["IsSigned"] == {"Fn::Equals": [{"Ref": "ApiAuthorization"}, "AWS_IAM"]}
    for api, kind in (("HttpApi", "AWS::ApiGatewayV2::Route"), ("RestApi", "AWS::ApiGateway::Method")):
        assert source["Conditions"][f"{api}IsSigned"]["Fn::And"][0] == {"Condition": "IsSigned"}
        for name, route in of_type(source["Resources"], kind):
            is_signed = route["Properties"]["AuthorizationType"] == "AWS_IAM"
            assert route["Condition"] == (f"{api}IsSigned" if is_signed else f"Has{api}"), name


def test_the_state_machine_gets_every_name_that_it_uses(source: dict[str, Any]) -> None:
    for name, machine in of_type(source["Resources"], "AWS::Serverless::StateMachine"):
        definition = (ROOT / machine["Properties"]["DefinitionUri"]).read_text()
        json.loads(definition)
        given = set(machine["Properties"]["DefinitionSubstitutions"])
        used = {part.split("}")[0] for part in definition.split("${")[1:]}
        assert used == given, name


def of_type(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, resource) for name, resource in resources.items() if resource["Type"] == kind)


def logical_id(arn: dict[str, Any]) -> str:
    if "Fn::Sub" in arn:  # by its name, where two refer to each other
        return (
            "".join(part.capitalize() for part in arn["Fn::Sub"].split("${AWS::StackName}-")[1].split("-")) + "Function"
        )
    return arn["Fn::GetAtt"][0]


def as_list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def by_name(definitions: list[dict[str, str]]) -> dict[str, str]:
    return {definition["AttributeName"]: definition["AttributeType"] for definition in definitions}


WOKEN_BY_OTHERS = {
    *("succeed", "fail", "stop", "retry", "reschedule", "defer", "resume", "fail_trigger", "lose", "restart", "grant"),
    *("await_input", "resume_answered", "answer"),
}
"""Edges by which workers and triggers move an instance, and after which something else may move. What runs the workers
loses tries too, not only the scheduler. What gives out slots does not know the run that it gives them to: it is told."""

OWN_OR_WITHOUT_CONSEQUENCE = {
    *("expand", "schedule", "complete_empty", "start_from_trigger", "queue", "queue_trigger", "resend", "refuse"),
    *("wait", "recount"),
    *(
        "skip",
        "upstream_fail",
        "remove",
        "time_out",
        "time_out_trigger",
        "time_out_input",
        "start",
        "label",
        "stop_others",
    ),
    *("clear", "interrupt", "mark", "forget", "annotate", "pin"),
}
"""The scheduler's own edges (`skip` by a branching task too, whose success follows), and two that change nothing. A person's
actions are many writes: the run is held meanwhile, and who lets go of it wakes the scheduler."""


def test_the_stream_wakes_the_scheduler_for_every_edge_of_others_and_for_no_other(resources: Resources) -> None:
    (mapping,) = (
        mapping["Properties"]
        for _, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping")
        if mapping["Properties"]["FunctionName"] == {"Ref": "SchedulerFunction"}
        and "FilterCriteria" in mapping["Properties"]
    )
    records = [json.loads(each["Pattern"])["dynamodb"] for each in mapping["FilterCriteria"]["Filters"]]
    patterns = [record["NewImage"] for record in records if "NewImage" in record]
    edges = {edge for pattern in patterns if "edge" in pattern for edge in pattern["edge"]["S"]}
    assert edges == WOKEN_BY_OTHERS | {GIVEN_BACK, CHANGED, asset_queues.EDGE, EDITED}


def test_every_edge_is_known_to_wake_or_not_to_wake() -> None:
    made = set(re.findall(r"_move\(\s*\"(\w+)\"", inspect.getsource(transition)))
    assert made == WOKEN_BY_OTHERS | OWN_OR_WITHOUT_CONSEQUENCE


def test_what_a_function_is_told_by_its_environment_is_text(resources: Resources) -> None:
    """AWS writes a number as text, the emulator does not start the function."""
    for name, function in of_type(resources, "AWS::Lambda::Function"):
        told = function["Properties"].get("Environment", {}).get("Variables", {})
        assert not [variable for variable, value in told.items() if isinstance(value, (int, float))], name


def test_the_bucket_deletes_nothing_that_a_bundle_names(resources: Resources) -> None:
    """Runs of old versions load their bundle and its environments, however old they are."""
    rules = resources["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    # Without a prefix there is a rule for replaced and deleted objects alone, which no bundle names.
    expiring = [rule for rule in rules if any(name.startswith("Expiration") for name in rule)]
    assert expiring
    assert all(rule.get("Prefix") for rule in expiring)
    for kept in (bucket_keys.BUNDLES, bucket_keys.ENVIRONMENTS, bucket_keys.RECIPES):
        assert not [rule for rule in expiring if kept.startswith(rule["Prefix"]) or rule["Prefix"].startswith(kept)]


def test_the_template_names_the_prefixes_of_the_bucket(resources: Resources) -> None:
    """A prefix that no key has would be a permission, a rule or an event source for nothing."""
    text = json.dumps(resources)
    granted = set(re.findall(r"\$\{Bucket\.Arn\}/(\w+/)\*", text))
    bucket = resources["Bucket"]["Properties"]
    expired = {rule["Prefix"] for rule in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" in rule}
    told = {
        rule["Value"]
        for queue in bucket["NotificationConfiguration"]["QueueConfigurations"]
        for rule in queue["Filter"]["S3Key"]["Rules"]
    }
    by_the_operator = {bucket_keys.FUNCTIONS}  # ./gust workers writes there, and CloudFormation reads
    assert granted | expired | told | by_the_operator == {*bucket_keys.PREFIXES, *bucket_keys.BESIDE_DAGS}
    assert told == {bucket_keys.DAGS, *bucket_keys.BESIDE_DAGS}
    assert expired == {bucket_keys.PARSES, bucket_keys.TRANSFERS, bucket_keys.WORKLOADS}


def test_the_execution_api_reads_secrets_for_tasks_only_where_the_stack_names_them(source: dict[str, Any]) -> None:
    for name, actions, parameter in (
        ("ExecutionApiReadsSecrets", ["secretsmanager:GetSecretValue", "ssm:GetParameter"], "SecretsBackendArns"),
        ("ExecutionApiDecryptsSecrets", ["kms:Decrypt"], "SecretsBackendKeyArns"),
    ):
        policy = source["Resources"][name]
        assert policy["Properties"]["Roles"] == [{"Ref": "ExecutionApiRole"}]
        [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
        assert as_list(statement["Action"]) == actions
        assert statement["Resource"] == {"Ref": parameter}
        assert source["Parameters"][parameter]["Default"] == ""
        assert policy["Condition"] in source["Conditions"]


def test_uploads_wait_a_second_in_the_queue_of_wake_ups(resources: Resources) -> None:
    """A burst of uploads lies in the bucket when its first message is read. A wake-up brings its own delay (SqsQueues)."""
    assert resources["WakesQueue"]["Properties"]["DelaySeconds"] == 1
    told = resources["Bucket"]["Properties"]["NotificationConfiguration"]["QueueConfigurations"]
    assert {json.dumps(each["Queue"]) for each in told} == {'{"Fn::GetAtt": ["WakesQueue", "Arn"]}'}
    # S3 tries the queue when it is told of it.
    assert "WakesQueuePolicy" in as_list(resources["Bucket"]["DependsOn"])
    senders = [
        each["Fn::If"][1] if "Fn::If" in each else each
        for each in resources["WakesQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    ]
    assert {each["Principal"]["Service"] for each in senders} == {"s3.amazonaws.com", "events.amazonaws.com"}
    assert all(each["Action"] == "sqs:SendMessage" and each["Condition"] for each in senders)


def test_the_deployer_alone_reads_airflows_options_and_hears_of_their_change(resources: Resources) -> None:
    readers = {
        name: resource
        for name, role in of_type(resources, "AWS::IAM::Role")
        for s in statements(role)
        if "ssm:GetParameter" in as_list(s["Action"])
        for resource in as_list(s["Resource"])
        if not resource["Fn::Sub"].startswith(KEYS)
    }
    parameter = resources["DagProcessorFunction"]["Properties"]["Environment"]["Variables"][
        "GUST_CONFIGURATION_PARAMETER"
    ]
    assert readers["DagProcessorRole"]["Fn::Sub"].endswith(f":parameter{parameter['Fn::Sub']}")
    assert set(readers) == {"DagProcessorRole"}
    rule = resources["ConfigurationChanged"]["Properties"]
    assert rule["EventPattern"]["detail"]["name"] == [parameter]
    assert [target["Arn"] for target in rule["Targets"]] == [{"Fn::GetAtt": ["WakesQueue", "Arn"]}]


def test_the_parser_sees_the_options_of_airflow_that_workers_see(resources):
    """What the parser has proven of a file holds in a worker where these are the same (`airflow_bridge.parsed`)."""
    of_parser, of_worker = (
        {
            name: value
            for name, value in resources[function]["Properties"]["Environment"]["Variables"].items()
            if name.startswith("AIRFLOW__")
        }
        for function in ("ParseFunction", "WorkerFunction")
    )
    assert of_parser.pop("AIRFLOW__CORE__TEST_CONNECTION") == {"Ref": "TestConnection"}  # no file asks for it
    assert of_parser == of_worker
