"""Answer a question for another function in a child: plugins are DAG authors' code, and looking for providers leaves much
behind in a process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gust.airflow_bridge import surroundings
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.child import run_in_child
from gust.airflow_bridge.parse import memory_for_child, ready
from gust.ports.objects import Objects

TIME_LIMIT: Final = 20.0
"""Seconds for one answer; an API user may be waiting for it."""


def answer_in_child(
    work: Callable[[Path | None, Path, Path | None], bytes],
    *,
    kind: str,
    objects: Objects,
    bundle_version: str | None,
    file: str = "",
    folder: Path | None = None,
) -> dict[str, Any]:
    """`{"answer": …}`, the JSON that `work(bundle, workspace, environment)` returns in a child, or `{"error": why}` for a
    person to read. The environment is that of `file` in the bundle, by default of the DAG folder itself.

    `kind` names the child's workspace; `folder` is where bundles are unpacked, if elsewhere than usual."""
    ready()
    bundles = BundleFolder(objects, folder) if folder else BundleFolder(objects)
    bundle = bundles.fetch(bundle_version) if bundle_version else None
    environment = bundles.fetch_environment(bundle, file) if bundle else None
    with surroundings.workspace(kind) as workspace:
        ended = run_in_child(
            lambda: work(bundle, workspace, environment), timeout=TIME_LIMIT, memory=memory_for_child()
        )
    if ended.answer is None:
        last_line = (ended.output.strip().splitlines() or [""])[-1]
        return {"error": f"{ended.how} {last_line}".strip()}
    return {"answer": json.loads(ended.answer)}
