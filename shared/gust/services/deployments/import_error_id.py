"""Numeric ids of import errors, in place of Airflow's database ids."""

from hashlib import sha256


def import_error_id(filename: str) -> int:
    """A stable number for a file's import error; 48 bits, which JavaScript reads exactly."""
    return int.from_bytes(sha256(filename.encode()).digest()[:6], "big")
