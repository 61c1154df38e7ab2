"""How reading an archive fails."""

import lzma
import zipfile
import zlib
from typing import Final

UNREADABLE: Final = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Exceptions of `zipfile` and the disk."""
