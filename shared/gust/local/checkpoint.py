"""Save the emulator's state while it runs, and restore what MiniStack's own restart loses.

MiniStack writes its state only when it ends: `kill -9` would lose everything since the start. So the process forks, as
Redis does: the child has a copy of the memory, writes it to disk and exits, while the parent pauses for the fork alone
(measured in docs/local.md). A checkpoint is a folder, written under another name and renamed when it is whole; the
previous one is kept until then.
"""

from __future__ import annotations

import copy
import gc
import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import Final

from gust.local import ministack
from gust.local.storage import is_no_room

_MANIFEST: Final = "manifest.json"
_STREAMS: Final = "gust-streams.json"
_KEPT: Final = 2
"""Checkpoints to keep: the newest, and one more in case the newest is unreadable."""

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
        """Write the state of this process: the emulator, or its fork."""
        newest = self.newest()
        number = int(newest.name) + 1 if newest else 1
        partial = self._folder / f"{number:08}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            ministack.save_services(partial)
            (partial / _STREAMS).write_text(json.dumps(ministack.unread_stream_records()))
            (partial / _MANIFEST).write_text(json.dumps({"at": time.time()}))
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)  # a full disk has no room for half of one
            raise
        partial.rename(self._folder / f"{number:08}")
        for old in self._whole()[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def save_in_fork(self) -> int:
        """Start saving; returns the process id of the child, which exits 0 once the checkpoint is whole, and with
        NO_ROOM where the disk has none."""
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
    """Replace the emulator's port in saved state: queue URLs contain it, and are the keys of queues."""
    for file in checkpoint.glob("*.json"):
        text = file.read_text()
        moved = text.replace(f"localhost:{old}/", f"localhost:{new}/").replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        if moved != text:
            file.write_text(moved)


def repair(checkpoint: Path) -> None:
    """Restore what MiniStack's restart loses or leaves stuck. Call it once, after MiniStack has read `checkpoint` and
    before it serves."""
    ministack.restore_streams(json.loads((checkpoint / _STREAMS).read_text()))
    ministack.release_messages()
    ministack.forget_dead_executions()


def _hurry() -> None:
    """Only in the fork: no other thread changes its memory, so MiniStack need not copy the state before writing it."""
    os.nice(5)  # tasks come first; the checkpoint still ends in time on a busy processor
    gc.disable()
    copy.deepcopy = lambda value, _=None: value  # type: ignore[assignment, misc]
