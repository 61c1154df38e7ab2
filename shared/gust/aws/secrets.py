"""Reads the secrets of Airflow's secrets backends. Implements `ports.SecretReader`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from gust.errors import Forbidden, ServiceUnavailable
from gust.model.secrets_backend import Service

ABSENT: Final = frozenset(
    {"ResourceNotFoundException", "ParameterNotFound", "InvalidParameterException", "InvalidRequestException"}
)
"""An invalid request is one for a secret that is marked for deletion; an invalid parameter, a name that no secret has."""

TRANSIENT: Final = frozenset(
    {
        *("ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"),
        *("InternalServiceError", "InternalServiceErrorException", "InternalServerError", "ServiceUnavailable"),
        *("ServiceUnavailableException", "RequestTimeout"),
    }
)

Client = Callable[[str, str | None], Any]
"""boto3's client of a service in a region; None: the function's own."""


class AwsSecrets:
    """`hidden`: names of parameters that the function may read for itself and never for a task."""

    def __init__(self, client: Client, *, hidden: frozenset[str] = frozenset()) -> None:
        self._client = client
        self._hidden = hidden

    def read(self, service: Service, name: str, region: str | None) -> str | None:
        # SSM takes a version or label behind a colon, and drops spaces.
        if name.partition(":")[0].strip() in self._hidden:
            raise Forbidden(f"{name} is the stack's own")
        client = self._client(service, region)
        try:
            if service is Service.SECRETS_MANAGER:
                secret: str | None = client.get_secret_value(SecretId=name).get("SecretString")
                return secret
            return str(client.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ABSENT:
                return None
            if code in TRANSIENT:
                raise ServiceUnavailable(str(error)) from error
            raise Forbidden(str(error)) from error
        except BotoCoreError as error:
            raise ServiceUnavailable(str(error)) from error


class SsmConfiguration:
    """Reads the document with Airflow's options from a parameter of SSM. Implements `ports.ConfigurationDocument`."""

    def __init__(self, name: str, client: Any) -> None:
        self._name = name
        self._client = client

    def text(self) -> str:
        if not self._name:
            return ""
        try:
            return str(self._client.get_parameter(Name=self._name, WithDecryption=True)["Parameter"]["Value"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ParameterNotFound":
                return ""
            raise ServiceUnavailable(f"{self._name} could not be read: {error}") from error
        except BotoCoreError as error:
            raise ServiceUnavailable(f"{self._name} could not be read: {error}") from error


LARGEST_STANDARD: Final = 4096
"""Characters that a parameter of SSM holds without a price."""


def configuration_parameter(stack: str) -> str:
    """The parameter that a stack's deployer reads (`GUST_CONFIGURATION_PARAMETER` in template.yaml)."""
    return f"/gust/{stack}/configuration"


def put_configuration(ssm: Any, stack: str, document: str) -> None:
    """Make it the stack's document with Airflow's options. An empty one removes the parameter."""
    name = configuration_parameter(stack)
    if not document:
        ssm.delete_parameters(Names=[name])
        return
    tier = "Standard" if len(document) <= LARGEST_STANDARD else "Advanced"
    ssm.put_parameter(Name=name, Value=document, Type="String", Overwrite=True, Tier=tier)
