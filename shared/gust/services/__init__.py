"""Verbs. Each reads through the ports, asks `gust.scheduling`, writes conditionally, then performs; each may be repeated."""
