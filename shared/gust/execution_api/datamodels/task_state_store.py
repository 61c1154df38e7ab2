import math
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, JsonValue

from gust.execution_api.datamodels.base import Strict


def _storable(value: JsonValue) -> JsonValue:
    if value is None:
        raise ValueError("value cannot be null")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("value must be a finite number; NaN and Inf are not JSON representable")
    return value


StoredValue = Annotated[JsonValue, AfterValidator(_storable)]


class TaskStateStorePutBody(Strict):
    value: StoredValue
    expires_at: datetime | None = None
