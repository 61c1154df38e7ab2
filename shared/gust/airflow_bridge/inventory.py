"""What this installation of Airflow consists of, in the REST API's own shapes: the other side of `aws.inventory`."""

import json
from pathlib import Path
from typing import Any

from gust.airflow_bridge import compat, surroundings
from gust.airflow_bridge.answering import answer_in_child
from gust.airflow_bridge.parse import shown
from gust.ports.objects import Objects


def answer_about_installation(objects: Objects, question: dict[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """`question` is what `ParserInventory` sends; see `answer_in_child` for the answer."""
    return answer_in_child(
        lambda bundle, workspace, environment: answer_here(bundle, question["inventory"], workspace, environment),
        kind="inventory",
        objects=objects,
        bundle_version=question["bundle_version"],
        folder=folder,
    )


def answer_here(bundle: Path | None, what: str, workspace: Path, environment: Path | None = None) -> bytes:
    """Look in this process: the child's work."""
    compat.log_here()
    surroundings.enter(bundle, workspace, environment)
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
            if told := ({} if bundle is None else surroundings.options_of(bundle)).get("secrets.backend"):
                answer["secrets"]["backend"] = told  # the child itself has another in its place
        case _:
            raise ValueError(f"The inventory has no {what}")
    return json.dumps(answer).encode()


def _shown(text: str, bundle: Path | None) -> str:
    return text if bundle is None else shown(text, bundle)


def _placeless(text: str, bundle: Path | None) -> str:
    return text if bundle is None else text.replace(str(bundle), compat.DAGS_ROOT)
