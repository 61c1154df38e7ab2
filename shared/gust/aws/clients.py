"""The process's clients of AWS, each made by its first call.

A client takes some 20 ms to make: a function that never reads logs never pays for a client of CloudWatch Logs.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.httpsession import create_urllib3_context
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

import gust
from gust.model.container_start import HOST

CONNECTIONS: Final = 32
"""Kept open per client: as many as the store writes in parallel."""

ENDPOINTS: Final = Path(gust.__file__).with_name("ENDPOINTS")
"""In a layer: botocore's table of endpoints, as `layers/runtime/endpoints.py` leaves it."""


def user_agent(function: str) -> str:
    """The calling function, as SDKs name an application: CloudTrail shows it, and the bench's meter sorts calls by it."""
    return f"gust app/{function}" if function else "gust"


def caller(environment: Mapping[str, str]) -> str:
    """The function that this process is, by its full name, or `container`; empty for any other process."""
    is_container = environment.get("GUST_LOG_STREAM", "").startswith(HOST)
    return environment.get("AWS_LAMBDA_FUNCTION_NAME") or ("container" if is_container else "")


CONFIG: Final = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=3,
    read_timeout=30,
    max_pool_connections=CONNECTIONS,
    # A tenth of a call's processor time: AWS checks its parameters, too.
    parameter_validation=False,
)


PATIENCE_WITH_PARSER: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 1}, read_timeout=25)
)
"""Shorter than the API's own time limit. No retry: a slow parser would do the same work twice at the same time."""

PATIENCE_WITH_EXECUTION_API: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 3}, read_timeout=35)
)
"""Longer than the execution API's function may run, so that a slow request is not processed twice at the same time. The
Task SDK's client retries on top."""

PATIENCE_WITH_STS: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=2, read_timeout=5)
)
"""An SDK waits two seconds for its credentials, and asks three times."""

PATIENCE_WITH_RECEIPTS: Final = CONFIG.merge(
    Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=2, read_timeout=3)
)
"""A try's start waits for the call, and continues without it when SQS does not answer."""


@cache
def client_in(service: str, region: str | None) -> Any:
    """The client of a service in a region; None: the function's own."""
    return client(service) if region is None else client(service, CONFIG.merge(Config(region_name=region)))


@cache
def client(service: str, config: Config = CONFIG) -> Any:
    """The process's only client of a service with that configuration. Safe to use from several threads."""
    return MadeByFirstCall(partial(_client, service, config))


def _client(service: str, config: Config) -> Any:
    return session().client(service, config=config)


_MAKING: Final = Lock()
"""Boto3's session may be used by one thread at a time; a client of it by several."""


class MadeByFirstCall:
    """Stands for what `make` returns. Of all of them in the process, one is made at a time."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            with _MAKING:
                if self._made is None:
                    self._made = self._make()
        return getattr(self._made, name)


@cache
def session() -> Any:
    """Boto3's session of this process."""
    of_botocore = Session()
    # A tenth of a call's processor time: boto makes its own name anew for each.
    of_botocore.set_default_client_config(Config(user_agent=user_agent(caller(os.environ))))
    of_botocore.register_component("data_loader", loader_of(of_botocore))
    return boto3.session.Session(botocore_session=of_botocore)


def loader_of(of_botocore: Session, endpoints: Path = ENDPOINTS) -> Loader:
    """Looks where the session's own one does, which an operator's `AWS_DATA_PATH` or `data_path` may have changed."""
    paths = of_botocore.get_component("data_loader").search_paths
    return LoaderByName(endpoints=endpoints, extra_search_paths=[*paths], include_default_search_paths=False)


_READ: Final[dict[str, Any]] = {}
"""The content of botocore's files that this process has read, by path without the ending."""


class FilesReadOnce(JSONFileLoader):
    """Keeps what it reads for other loaders of this process, and for its forks."""

    def load_file(self, file_path: str) -> Any:
        found = _READ.get(file_path)
        if found is None:
            found = super().load_file(file_path)
            if found is not None:
                _READ[file_path] = found
        return found


def read_ahead(services: Iterable[str]) -> None:
    """Do once for all forks of this process what does not depend on settings: read botocore's files about the services (7 MB
    for all and 1 to 5 MB for each), and have OpenSSL initialize itself (5 MB). Makes no client."""
    create_urllib3_context()
    loader = LoaderByName()
    for name in ("endpoints", "partitions", "sdk-default-configuration"):
        loader.load_data(name)
    for service in services:
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_data(os.path.join(service, loader.determine_latest_version(service, kind), kind))


class LoaderByName(Loader):
    """Takes each folder of botocore's for a service. Botocore looks into all of them, of 400 services, to learn which have a
    file of the type; the search for the file itself then finds out."""

    FILE_LOADER_CLASS = FilesReadOnce

    def __init__(self, *, endpoints: Path = ENDPOINTS, **where: Any) -> None:
        super().__init__(**where)
        self._endpoints = endpoints

    def load_data_with_path(self, name: str) -> tuple[Any, str]:
        """The short table of endpoints, if there is one and the operator has none of their own."""
        if name == "endpoints" and self._endpoints.is_file():
            found = next(folder for folder in self.search_paths if os.path.isfile(f"{folder}/{name}.json"))
            if found == self.BUILTIN_DATA_PATH:
                return json.loads(self._endpoints.read_bytes()), f"{found}/{name}"
        data, path = super().load_data_with_path(name)
        return data, path

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        return [name for folder in self.search_paths if os.path.isdir(folder) for name in os.listdir(folder)]
