"""What a line of a function's log has in it, and what would only cost."""

import io
import json
from datetime import datetime

import pytest

from gust.function_log import function_log

ROOT = "1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize(
    ("trace", "named"),
    [
        (None, {}),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0", {}),
        (f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1", {"xray_trace_id": ROOT}),
    ],
)
def test_a_line_names_what_happened_and_the_trace_that_is_kept(
    monkeypatch: pytest.MonkeyPatch, trace: str | None, named: dict[str, str]
) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    if trace is not None:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    written = io.StringIO()
    function_log(f"test-{id(written)}", written).info("ran", dag_id="etl", cost=None)
    line = json.loads(written.getvalue())
    assert line.pop("service") == f"test-{id(written)}"
    assert line == {"level": "INFO", "message": "ran", "dag_id": "etl", **named}


@pytest.mark.parametrize("level", ["warning", "error"])
def test_what_goes_wrong_has_its_time(level: str) -> None:
    """Lambda would take the line for INFO."""
    written = io.StringIO()
    getattr(function_log(f"test-{id(written)}", written), level)("went wrong")
    line = json.loads(written.getvalue())
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    assert line["level"] == level.upper()
