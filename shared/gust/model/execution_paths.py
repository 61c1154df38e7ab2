"""Paths of the execution API that Airflow's does not have, for both sides: `execution_api.routes` serves them, workers and
triggerers fill in the id and send to them."""

from typing import Final
from urllib.parse import quote

BASE_PATH: Final = "/execution"
"""Where the execution API begins; the paths below follow it."""

CREDENTIALS: Final = "/gust/credentials"
CLAIM_CALLBACK: Final = "/gust/callbacks/{callback_uuid}/run"
END_CALLBACK: Final = "/gust/callbacks/{callback_uuid}/state"
LOSE_TRY: Final = "/gust/tries/{task_instance_id}/lost"
HEAR_OF_WORKERS: Final = "/gust/worker-groups/{queue}/sign-of-life"
TRIGGER: Final = "/gust/triggers/{task_instance_id}"
TRIGGER_EVENT: Final = "/gust/triggers/{task_instance_id}/event"
PARK_TRIGGER: Final = "/gust/triggers/{task_instance_id}/park"
CLAIM_WATCHER: Final = "/gust/watchers/{watcher_id}/run"
WATCHER_EVENT: Final = "/gust/watchers/{watcher_id}/event"
PARK_WATCHER: Final = "/gust/watchers/{watcher_id}/park"


def secret(kind: str, key: str) -> str:
    """Where the secrets backend is asked for a connection, a variable or an option."""
    return f"/gust/secrets/{quote(kind, safe='')}/{quote(key, safe='')}"
