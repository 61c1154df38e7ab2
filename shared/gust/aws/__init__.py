"""Adapters for the ports other than the store: queues, objects, logs, tokens."""
