from pydantic import Field

from gust.execution_api.datamodels.base import Strict
from gust.execution_api.datamodels.task_state_store import StoredValue
from gust.http.check import Query


class AssetStateStorePutBody(Strict):
    value: StoredValue


class ByName(Query):
    name: str = Field(min_length=1)


class ByUri(Query):
    uri: str = Field(min_length=1)


class KeyByName(ByName):
    key: str = Field(min_length=1)


class KeyByUri(ByUri):
    key: str = Field(min_length=1)
