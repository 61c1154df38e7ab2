"""Threads for the UI's reads of many DAGs or runs at once."""

from typing import Final

from gust.store.parallel import Parallel

many: Final = Parallel()
