"""A bucket that notes what is read of it as a whole."""

from typing import IO

from gust.aws.memory import MemoryObjects


class Recording(MemoryObjects):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    def get(self, key: str) -> bytes:
        self.got.append(key)
        return super().get(key)

    def download(self, key: str, into: IO[bytes]) -> None:
        """A part at a time, which is not noted."""
        into.write(super().get(key))
