"""Builds environments with uv. Nothing else installs packages, and nothing else has uv."""
