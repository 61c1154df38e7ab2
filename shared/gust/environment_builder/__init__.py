"""Builds environments with uv. No other package of Gust installs packages or has uv."""
