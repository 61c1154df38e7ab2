"""Names and values of secrets, as the amazon provider's own classes look them up; and what is remembered of the answers."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from gust import bootstrap
from gust.aws.memory import MemorySecrets
from gust.aws.secrets import AwsSecrets, SsmConfiguration
from gust.errors import Forbidden, ServiceUnavailable
from gust.model.airflow_options import check, read_document
from gust.model.secrets_backend import PARAMETER_STORE, SECRETS_MANAGER, Kind, Service, backend_of
from gust.ports.clock import ManualClock
from gust.services.context import Services
from gust.services.settings.options import keep_options
from gust.services.settings.secrets import read_secret
from gust.store.memory import MemoryStore

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = ("warehouse", "aws/default", "Über", "a.b")
SECRETS = (
    "postgres://u:p@h:1/s?x=1",
    "plain",
    '{"engine": "mysql", "user": "u", "pass": "p", "host": "h", "schema": "s", "port": 1, "extra": {"a": 1}}',
    ' {"conn_type": "http", "endpoint": "h", "password": "first", "key": "second"}',
)


class Recorder:
    """boto3's client of a provider's backend: keeps the names, answers with one secret."""

    def __init__(self, secret: str) -> None:
        self.names: list[str] = []
        self.secret = secret

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803 - boto3's name
        self.names.append(SecretId)
        return {"SecretString": self.secret}

    def get_parameter(self, Name: str, WithDecryption: bool) -> Any:  # noqa: N803
        self.names.append(Name)
        return {"Parameter": {"Value": self.secret}}


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    ("path", "kwargs"),
    [
        (SECRETS_MANAGER, {}),
        (SECRETS_MANAGER, {"connections_prefix": "team/conns/", "variables_prefix": None, "config_prefix": ""}),
        (
            SECRETS_MANAGER,
            {"sep": "_", "connections_prefix": "c_", "extra_conn_words": {"host": ["endpoint"], "user": ["who"]}},
        ),
        (SECRETS_MANAGER, {"connections_lookup_pattern": "^WARE", "variables_lookup_pattern": "b"}),
        (SECRETS_MANAGER, {"full_url_mode": False, "profile_name": None, "connections_prefix": ""}),
        (PARAMETER_STORE, {}),
        (PARAMETER_STORE, {"connections_prefix": "team/conns/", "variables_prefix": None, "config_prefix": ""}),
        (PARAMETER_STORE, {"connections_lookup_pattern": "^WARE", "region_name": "eu-west-1"}),
    ],
)
def test_names_and_values_are_the_providers(path: str, kwargs: dict[str, Any], secret: str) -> None:
    from airflow.sdk._shared.module_loading import import_string

    options = {"secrets.backend": path, "secrets.backend_kwargs": json.dumps(kwargs)}
    assert read_document(json.dumps(options)).problems == ()
    ours = backend_of(options)
    assert ours is not None
    for kind, method in (
        (Kind.CONNECTION, "get_conn_value"),
        (Kind.VARIABLE, "get_variable"),
        (Kind.OPTION, "get_config"),
    ):
        for key in KEYS:
            recorder, theirs = Recorder(secret), import_string(path)(**json.loads(json.dumps(kwargs)))
            theirs.__dict__["client"] = recorder
            value = getattr(theirs, method)(key)

            name = ours.name_of(kind, key)
            assert ([name] if name is not None else []) == recorder.names
            assert (ours.value_of(kind, secret) if name is not None else None) == value


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"role_arn": "arn:aws:iam::1:role/x"}, "role_arn cannot be set: the execution API asks with its own role"),
        ({"endpoint_url": "https://elsewhere"}, "endpoint_url cannot be set"),
        ({"connections_prefix": 1}, "connections_prefix is a text."),
        ({"connections_lookup_pattern": "("}, "is no pattern"),
        ({"extra_conn_words": {"host": "endpoint"}}, "extra_conn_words is an object of lists"),
    ],
)
def test_arguments_that_the_execution_api_cannot_follow_are_refused(kwargs: dict[str, Any], why: str) -> None:
    (problem,) = read_document(
        json.dumps({"secrets.backend": SECRETS_MANAGER, "secrets.backend_kwargs": kwargs})
    ).problems

    assert problem.startswith("secrets.backend_kwargs: ")
    assert why in problem


# --- what is remembered ---------------------------------------------------------------------------------------------------


class World:
    def __init__(self, **options: str) -> None:
        self.clock, self.secrets = ManualClock(NOON), MemorySecrets()
        self.services = Services(
            store=MemoryStore(),
            objects=None,  # type: ignore[arg-type]
            queues=None,  # type: ignore[arg-type]
            tokens=None,  # type: ignore[arg-type]
            clock=self.clock,
            logs=None,  # type: ignore[arg-type]
            secrets=self.secrets,
        )
        keep_options(self.services.store, {"secrets.backend": SECRETS_MANAGER, **options})

    def has(self, found: str | Exception | None) -> None:
        place = (Service.SECRETS_MANAGER, "airflow/variables/x")
        if found is None:
            self.secrets.secrets.pop(place, None)
        else:
            self.secrets.secrets[place] = found

    @property
    def value(self) -> str | None:
        found = read_secret(self.services, Kind.VARIABLE, "x")
        return found.problem or found.value


@pytest.mark.parametrize("before", ["old", None, Forbidden("AccessDeniedException: no")])
def test_an_answer_is_remembered_for_a_minute_also_that_there_is_none(before: str | Exception | None) -> None:
    world = World()
    world.has(before)
    first = world.value
    world.has("new")

    world.clock.advance(59)
    assert world.value == first
    world.clock.advance(2)
    assert world.value == "new"
    assert len(world.secrets.asked) == 2


def test_the_lifetime_is_airflows_option() -> None:
    world = World(**{"secrets.use_cache": "True", "secrets.cache_ttl_seconds": "600"})
    world.has("old")
    assert world.value == "old"
    world.has("new")
    world.clock.advance(599)
    assert world.value == "old"
    world.clock.advance(2)
    assert world.value == "new"


def test_a_lifetime_that_no_moment_can_have_is_a_long_one() -> None:
    """Of options that were kept before they were checked for it."""
    world = World(**{"secrets.use_cache": "True", "secrets.cache_ttl_seconds": "9" * 30})
    world.has("old")
    assert world.value == "old"
    world.has("new")
    world.clock.advance(10 * 365 * 86_400)
    assert world.value == "old"


@pytest.mark.parametrize("name", ["secrets.cache_ttl_seconds", "core.default_task_retry_delay"])
def test_a_duration_of_more_than_a_hundred_years_is_refused(name: str) -> None:
    assert check({name: "3153600000"}).problems == ()
    assert check({name: "3153600001"}).problems == (f"{name}: '3153600001' seconds are more than a hundred years.",)
    assert check({name: "9" * 400}).problems == (f"{name}: '{'9' * 400}' seconds are more than a hundred years.",)


def test_another_backend_is_asked_at_once() -> None:
    """A file that is parsed with the old one's answer would not be parsed again."""
    world = World()
    world.has("old")
    assert world.value == "old"
    keep_options(world.services.store, {"secrets.backend": PARAMETER_STORE})
    world.secrets.secrets[Service.PARAMETER_STORE, "/airflow/variables/x"] = "new"
    assert world.value == "new"


def test_a_service_that_is_unwell_is_asked_again() -> None:
    world = World()
    world.has(ServiceUnavailable("ThrottlingException: slow down"))
    assert world.value == "airflow/variables/x in secretsmanager: ThrottlingException: slow down"
    world.has("well")
    assert world.value == "well"


def test_an_error_about_a_secret_does_not_show_it() -> None:
    world = World()
    world.secrets.secrets[(Service.SECRETS_MANAGER, "airflow/connections/x")] = '{"password": "hidden"'

    found = read_secret(world.services, Kind.CONNECTION, "x")
    assert found.problem == "airflow/connections/x holds no connection: JSONDecodeError"


# --- AWS ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield AwsSecrets(lambda service, region: boto3.client(service, region_name=region))  # type: ignore[call-overload]


def test_secrets_of_aws(aws: AwsSecrets) -> None:
    manager, ssm = boto3.client("secretsmanager"), boto3.client("ssm")
    manager.create_secret(Name="text", SecretString="s")
    manager.create_secret(Name="binary", SecretBinary=b"s")
    manager.create_secret(Name="gone", SecretString="s")
    manager.delete_secret(SecretId="gone")
    ssm.put_parameter(Name="/plain", Value="p", Type="String")
    ssm.put_parameter(Name="/hidden", Value="h", Type="SecureString")

    assert [aws.read(Service.SECRETS_MANAGER, name, None) for name in ("text", "binary", "gone", "none")] == [
        "s",
        None,
        None,
        None,
    ]
    assert [aws.read(Service.PARAMETER_STORE, name, None) for name in ("/plain", "/hidden", "/none")] == [
        "p",
        "h",
        None,
    ]
    assert aws.read(Service.SECRETS_MANAGER, "text", "eu-west-1") is None


@pytest.mark.parametrize(
    "variable", ["gust/gust/keys/signing", "gust/gust/keys/encryption:1", "gust/gust/keys/signing "]
)
def test_no_prefix_and_no_spelling_reaches_the_stacks_own_keys(
    aws: AwsSecrets, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """The execution API may read them for itself, and a backend without a prefix takes any name for a variable's."""
    for key, name in (("GUST_SIGNING_KEYS", "signing"), ("GUST_ENCRYPTION_KEYS", "encryption")):
        boto3.client("ssm").put_parameter(Name=f"/gust/gust/keys/{name}", Value="hush", Type="SecureString")
        monkeypatch.setenv(key, f"/gust/gust/keys/{name}")
    kwargs = json.dumps({"variables_prefix": ""})
    backend = backend_of({"secrets.backend": PARAMETER_STORE, "secrets.backend_kwargs": kwargs})
    assert backend is not None
    name_in_ssm = backend.name_of(Kind.VARIABLE, variable)
    assert name_in_ssm == f"/{variable}"
    secrets = AwsSecrets(lambda service, region: boto3.client(service), hidden=bootstrap.own_keys())  # type: ignore[call-overload]

    with pytest.raises(Forbidden, match="the stack's own"):
        secrets.read(Service.PARAMETER_STORE, name_in_ssm, None)


class Refusing:
    def __init__(self, code: str) -> None:
        self.code = code

    def get_secret_value(self, SecretId: str) -> Any:  # noqa: N803
        from botocore.exceptions import ClientError

        raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "GetSecretValue")


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("AccessDeniedException", Forbidden),
        ("DecryptionFailure", Forbidden),
        ("ThrottlingException", ServiceUnavailable),
        ("InternalServiceError", ServiceUnavailable),
    ],
)
def test_a_refusal_says_what_aws_said(code: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match=code):
        AwsSecrets(lambda service, region: Refusing(code)).read(Service.SECRETS_MANAGER, "x", None)


def test_the_document_is_a_parameter_and_absent_it_is_empty(aws: AwsSecrets) -> None:
    document = SsmConfiguration("/gust/stack/configuration", boto3.client("ssm"))
    assert document.text() == ""
    boto3.client("ssm").put_parameter(Name="/gust/stack/configuration", Value="[core]", Type="String")
    assert document.text() == "[core]"
    assert SsmConfiguration("", None).text() == ""
