"""The other doors out: queues, objects, logs, tokens."""
