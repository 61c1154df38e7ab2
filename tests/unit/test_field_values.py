from __future__ import annotations

import pytest

from gust.model.field_values import values_of
from gust.model.keys import DagRunKey, TaskInstanceKey


def test_fields_and_properties_are_read_by_name() -> None:
    read = values_of(TaskInstanceKey, "task_id", "run")
    assert read(TaskInstanceKey("etl", "one", "extract")) == {"task_id": "extract", "run": DagRunKey("etl", "one")}


def test_a_name_that_the_class_lacks_is_refused_before_a_value_is_read() -> None:
    with pytest.raises(AttributeError, match="TaskInstanceKey has no task"):
        values_of(TaskInstanceKey, "task", "run_id")
