"""What this installation of Airflow consists of, in the REST API's own shapes: the other side of `aws.inventory`.

Asked in a child: plugins are strangers' code, and looking for providers' leaves much behind.
"""

import json
from pathlib import Path
from typing import Any, Final

from gust.airflow_bridge import compat, surroundings
from gust.airflow_bridge.bundle import BundleFolder
from gust.airflow_bridge.child import run_in_child
from gust.airflow_bridge.parse import memory_for_child, ready, shown
from gust.ports.objects import Objects

PATIENCE: Final = 20.0
"""Seconds; a person is waiting."""


def tell(objects: Objects, question: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """`{"answer": …}`, or `{"error": why}`. `question` is what `ParserInventory` sends."""
    ready()
    version = question["bundle_version"]
    bundle = (BundleFolder(objects, folder) if folder else BundleFolder(objects)).fetch(version) if version else None
    with surroundings.workspace("inventory") as workspace:
        ended = run_in_child(
            lambda: answer_here(bundle, question["inventory"], workspace),
            timeout=PATIENCE,
            memory=memory_for_child(),
        )
    if ended.answer is None:
        last_line = (ended.output.strip().splitlines() or [""])[-1]
        return {"error": f"{ended.how} {last_line}".strip()}
    return {"answer": json.loads(ended.answer)}


def answer_here(bundle: Path | None, what: str, workspace: Path) -> bytes:
    """Look in this process: the child's work."""
    compat.log_here()
    surroundings.enter(bundle, workspace)
    answer: Any
    match what:
        case "plugins":
            plugins, errors = compat.plugins()
            # Files are told as people know them, not as they lie here.
            answer = {
                "plugins": plugins,
                "import_errors": {_shown(source, bundle): _shown(error, bundle) for source, error in errors.items()},
            }
        case "providers":
            answer = compat.providers()
        case "configuration":
            answer = {
                section: {option: _placeless(value, bundle) for option, value in options.items()}
                for section, options in compat.configuration().items()
            }
        case _:
            raise ValueError(f"The inventory has no {what}")
    return json.dumps(answer).encode()


def _shown(text: str, bundle: Path | None) -> str:
    return text if bundle is None else shown(text, bundle)


def _placeless(text: str, bundle: Path | None) -> str:
    return text if bundle is None else text.replace(str(bundle), compat.DAGS_ROOT)
