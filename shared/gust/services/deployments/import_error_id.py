"""How import errors are numbered: Airflow's have numbers of their database."""

from hashlib import sha256


def import_error_id(filename: str) -> int:
    """A number that a file's import error keeps; 48 bits, which JavaScript's numbers hold."""
    return int.from_bytes(sha256(filename.encode()).digest()[:6], "big")
