"""The store in memory: it passes the same contract tests as `store.dynamodb`."""

from gust.store.memory.store import MemoryStore

__all__ = ["MemoryStore"]
