"""The triggerer's requests and answers about asset watchers; Gust's own. See `routes/watchers.py`."""

from typing import Any

from gust.execution_api.datamodels.base import Strict
from gust.model.watcher import Want, Watcher


class WatcherRunPayload(Strict):
    hostname: str


class WatcherEventPayload(Strict):
    number: int
    payload: Any = None


def watcher_response(watcher: Watcher, wants: list[Want]) -> dict[str, Any]:
    return {
        "classpath": watcher.classpath,
        "kwargs": watcher.kwargs,
        "assets": [{"name": asset.name, "uri": asset.uri} for asset in sorted({want.asset for want in wants})],
    }
