from pydantic import Field

from gust.execution_api.datamodels.base import Strict
from gust.http.check import Query


class VariablePostBody(Strict):
    value: str | None = Field(alias="val")
    description: str | None = None


class VariableKeys(Query):
    prefix: str | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)
    offset: int = Field(default=0, ge=0)
