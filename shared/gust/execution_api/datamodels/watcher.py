"""The triggerer's requests and answers about asset watchers; Gust's own. See `routes/watchers.py`."""

from typing import Any

from pydantic import AwareDatetime

from gust.execution_api.datamodels.base import Strict, moment
from gust.execution_api.datamodels.trigger import ParkPayload
from gust.model.watcher import Want, Watcher


class WatcherRunPayload(Strict):
    hostname: str


class WatcherEventPayload(Strict):
    number: int
    payload: Any = None


class WatcherParkPayload(ParkPayload):
    looked_at: AwareDatetime | None = None
    """The watcher has seen all that came before."""


def watcher_response(watcher: Watcher, wants: list[Want]) -> dict[str, Any]:
    return {
        "classpath": watcher.classpath,
        "kwargs": watcher.kwargs,
        "looked_at": moment(watcher.looked_at),
        "assets": [{"name": asset.name, "uri": asset.uri} for asset in sorted({want.asset for want in wants})],
    }
