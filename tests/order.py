"""In which order several pytest processes take the test modules, so that no process is left with a long one at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent

LONGEST: Final = (
    "unit/worker/test_parsed.py",
    "system/test_airflow_browser_suite.py",
    "system/golden/test_features.py",
    "system/test_packages.py",
    "system/test_operators.py",
    "system/test_providers.py",
    "system/test_fargate.py",
    "system/golden/test_wheel_examples.py",
    "system/test_web_ui.py",
    "differential/test_differential.py",
    "chaos/test_weather.py",
)
"""Modules that take minutes. The first one watches parses in its own process, which no other test has changed by then. Then
the longest begins; the two that only compute come last, because the browser suite is patient
for seconds only and waits less beside modules that wait themselves."""

PUNCTUAL: Final = (
    "chaos/test_editing.py",
    "system/test_time.py",
    "system/test_local_stack.py",
    "system/test_events.py",
)
"""Modules that hold Gust to a few seconds of wall time: cheap tests are their neighbours."""


def rank(module: Path, *, is_slow: bool) -> tuple[int, int]:
    """Sorts the longest modules first, then those marked slow, then the punctual ones, then all others."""
    name = module.relative_to(TESTS).as_posix()
    if name in LONGEST:
        return 0, LONGEST.index(name)
    if name in PUNCTUAL:
        return 2, 0
    return (1 if is_slow else 3), 0
