"""Frozen values that every other package speaks in. Nothing here reads a clock, a file or the network."""
