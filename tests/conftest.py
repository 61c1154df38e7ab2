"""Shared by all tiers: nothing yet but the package path, which pyproject sets."""
