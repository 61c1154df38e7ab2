from pydantic import Field

from gust.execution_api.datamodels.base import Query, Strict
from gust.execution_api.datamodels.task_state_store import StoredValue


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
