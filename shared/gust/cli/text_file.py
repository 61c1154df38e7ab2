"""A file that a person names on the command line."""

from __future__ import annotations

from pathlib import Path

from gust.errors import GustError


class TextFileError(GustError):
    """The file cannot be read; the message is for the terminal."""


def read(file: Path) -> str:
    """Raises TextFileError, which names the file once."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise TextFileError(f"{file} cannot be read: {getattr(problem, 'strerror', None) or problem}") from problem
