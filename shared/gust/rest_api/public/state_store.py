"""Values that API users may store in the state stores of tasks and assets."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Final

from pydantic import AfterValidator, JsonValue

MAX_BYTES: Final = "AIRFLOW__STATE_STORE__MAX_VALUE_STORAGE_BYTES"
"""Airflow's `[state_store] max_value_storage_bytes`, for API users; workers are only warned. 0: no limit."""


def _storable(value: Any) -> Any:
    if value is None:
        raise ValueError("value cannot be null")
    try:
        size = len(json.dumps(value, allow_nan=False))
    except ValueError as problem:
        raise ValueError("value contains non-finite numbers; NaN and Inf are not JSON representable") from problem
    most = int(os.environ.get(MAX_BYTES, "65535"))
    if 0 < most < size:
        raise ValueError(
            f"value exceeds max_value_storage_bytes ({most}); "
            "raise [state_store] max_value_storage_bytes or set it to 0 to disable the limit"
        )
    return value


StoredValue = Annotated[JsonValue, AfterValidator(_storable)]
