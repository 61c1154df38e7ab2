"""Shows the failure of a deployment as an import error of the whole folder. The deployment then rests before it begins anew.
The active bundle stays active.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from gust.model.bounds import cut
from gust.model.bundle import BUNDLE_NAME, ImportProblem
from gust.services.context import Services
from gust.services.deployments.deployment_turn import RESTS, keep_turn
from gust.services.deployments.import_error_id import import_error_id
from gust.services.deployments.measure_import_errors import measure_import_errors

THE_FOLDER: Final = "(the whole folder)"
"""The file name of an import error that no single file has caused."""

log = logging.getLogger(__name__)


def fail_deployment(services: Services, deployment: str, error: Mapping[str, str]) -> None:
    """`error`: the error that Step Functions caught. The deployment keeps its turn while it rests."""
    now = services.clock.now()
    reason = what_happened(error)
    log.error("deployment %s failed: %s", deployment, reason)
    services.store.put_import_problem(
        ImportProblem(
            import_error_id=import_error_id(THE_FOLDER),
            filename=THE_FOLDER,
            bundle_name=BUNDLE_NAME,
            stack_trace=cut(
                f"The folder was not deployed; the bundle before it stays active. The deployment is tried again.\n{reason}\n"
            ),
            timestamp=now,
        )
    )
    keep_turn(services.store, deployment, now + RESTS)
    measure_import_errors(services)


def what_happened(error: Mapping[str, str]) -> str:
    """The error's text: Lambda's own message if there is one."""
    cause = error.get("Cause", "")
    try:
        failure = json.loads(cause)
        return f"{failure['errorType']}: {failure['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        return f"{error.get('Error', 'It failed')}: {cause}"
