"""Saves the emulator's state while it runs, and repairs what its own restart would lose.

MiniStack writes its state when it is asked to end, and only then: `kill -9` would lose everything since the start. Here
the process forks instead, as Redis does: the child has all memory as it was at that moment, writes it down and is
gone, while the parent has paused for the fork alone (measured in docs/local.md). A checkpoint is a folder, written
beside and renamed when it is whole; the one before is kept until then.

All that we know of MiniStack's insides is in this file and in `emulator.py`.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

from gust.local.log_files import FileEvents, saved
from gust.local.storage import is_no_room

_MANIFEST: Final = "manifest.json"
_STREAMS: Final = "gust-streams.json"
_KEPT: Final = 2
"""The newest, and the one before it for the case that the newest turns out unreadable."""

NO_ROOM: Final = 28
"""Exit code of the child that saves."""

log = logging.getLogger("gust.checkpoint")


class Checkpoints:
    """The checkpoints of one data directory, `folder`/<number>/. Higher numbers are newer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob("*.partial"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def newest(self) -> Path | None:
        """The newest whole checkpoint."""
        return next(iter(self._whole()), None)

    def save(self) -> None:
        """Write the state of this process down, now. The caller is the emulator, or its fork."""
        newest = self.newest()
        number = int(newest.name) + 1 if newest else 1
        partial = self._folder / f"{number:08}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            _write_services(partial)
            (partial / _STREAMS).write_text(json.dumps(_unread_stream_records()))
            (partial / _MANIFEST).write_text(json.dumps({"at": time.time()}))
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)  # a full disk has no room for half of one
            raise
        partial.rename(self._folder / f"{number:08}")
        for old in self._whole()[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def save_in_fork(self) -> int:
        """Start saving; returns the process id of the child, which exits 0 once the checkpoint is whole, and with NO_ROOM
        where the disk has none."""
        child = os.fork()
        if child:
            return child
        try:
            logging.disable()  # another thread may have held a handler's lock while we forked
            _hurry()
            self.save()
            os._exit(0)
        except BaseException as problem:  # whatever it is, the child must not live on as a second emulator
            os._exit(NO_ROOM if is_no_room(problem) else 1)

    def size(self) -> int:
        """Bytes of the newest."""
        newest = self.newest()
        return sum(file.stat().st_size for file in newest.rglob("*") if file.is_file()) if newest else 0

    def _whole(self) -> list[Path]:
        """Newest first."""
        whole = [path for path in self._folder.iterdir() if path.name.isdigit() and (path / _MANIFEST).exists()]
        return sorted(whole, reverse=True)


def move_port(checkpoint: Path, old: int, new: int) -> None:
    """Rewrite addresses of the emulator in saved state: queue URLs hold its port, and are keys of queues."""
    for file in checkpoint.glob("*.json"):
        text = file.read_text()
        moved = text.replace(f"localhost:{old}/", f"localhost:{new}/").replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        if moved != text:
            file.write_text(moved)


def repair(checkpoint: Path) -> None:
    """Run once, after MiniStack has read `checkpoint` and before it serves: what its restart loses or leaves stuck."""
    _restore_streams(json.loads((checkpoint / _STREAMS).read_text()))
    _release_messages()
    _forget_dead_executions()


def _hurry() -> None:
    """Only in the fork: nobody else sees its memory, so MiniStack need not copy its state before it writes it."""
    os.nice(5)  # behind tasks, and yet done in time where they leave nothing idle
    gc.disable()
    copy.deepcopy = lambda value, _=None: value  # type: ignore[assignment, misc]


def _write_services(folder: Path) -> None:
    from ministack import app
    from ministack.core import persistence
    from ministack.services import lambda_svc

    def default(value: Any) -> Any:
        return saved(value) if isinstance(value, FileEvents) else persistence._json_default(value)

    def save(service: str, state: Any) -> None:
        """As MiniStack does, but failing where there is no room, which it logs: half a state is none."""
        content = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
        with contextlib.suppress(
            TypeError, ValueError
        ):  # a service that Gust has no use for; ours are looked for below
            text = json.dumps(content, default=default)
            (folder / f"{service}.json").write_text(text)

    persistence.save_state = save
    persistence.STATE_DIR = str(folder)
    lambda_svc.CODE_BLOB_DIR = str(folder / "lambda-blobs")
    services = app._build_persistence_save_dict()
    persistence.save_all(services)
    missing = [
        name for name in ("dynamodb", "sqs", "lambda", "cloudformation") if not (folder / f"{name}.json").exists()
    ]
    if missing:
        raise RuntimeError(f"MiniStack did not save {', '.join(missing)}")


def _unread_stream_records() -> list[dict[str, Any]]:
    """Of each event source mapping: what it has yet to deliver. MiniStack saves positions, but not the records."""
    from ministack.services import dynamodb, lambda_svc

    unread = []
    for (account, region, mapping_id), position in lambda_svc._dynamodb_stream_positions._data.items():
        mapping = lambda_svc._esms._data.get((account, region, mapping_id))
        if mapping is None:
            continue
        table = mapping["EventSourceArn"].split("/stream/")[0].split("/")[-1]
        records = dynamodb.stream_records_since(table, position, 1_000_000, account_id=account, region=region)
        unread.append({"mapping": [account, region, mapping_id], "table": table, "records": records})
    return unread


def _restore_streams(unread: list[dict[str, Any]]) -> None:
    """Positions count records since the emulator's start, so a saved one points far beyond the end of the new, empty
    stream and the mapping would sleep until as many records have come again: give the records back, start at zero.
    One table has one mapping here; with several, each record would go to all of them once more, which is allowed."""
    from ministack.services import dynamodb, lambda_svc

    lambda_svc._dynamodb_stream_positions._data.clear()
    for entry in unread:
        account, region, mapping_id = entry["mapping"]
        dynamodb._stream_records._data[(account, region, entry["table"])] = list(entry["records"])
        lambda_svc._dynamodb_stream_positions._data[(account, region, mapping_id)] = 0


def _release_messages() -> None:
    """Messages that were with a function are visible at once: those functions are gone, and waiting out the visibility
    timeout (16 minutes for tasks) teaches nobody anything. The interrupted delivery does not count."""
    from ministack.services import sqs

    now = time.time()
    for queue in sqs._queues._data.values():
        for message in queue["messages"]:
            if message.get("receive_count", 0) > 0 and message["visible_at"] > now:
                message["visible_at"] = now
                message["receive_count"] -= 1


def _forget_dead_executions() -> None:
    """Drop executions that the end of the emulator cut off: MiniStack does not go on with them. Their names are free
    again, so that a deployment can be started anew under its own."""
    from ministack.services import stepfunctions

    executions = stepfunctions._executions._data
    for key in [key for key, each in executions.items() if each.get("error") == "States.ServiceRestart"]:
        del executions[key]
