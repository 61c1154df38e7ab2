"""JSON from API users: values that no database keeps, and how much of a wrong input an answer shows again."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

Place = tuple[str | int, ...]

LONGEST_SHOWN: Final = 200_000
"""Characters of JSON. Airflow shows all of a wrong input again; ours must fit into what a Lambda function returns."""

_ESCAPED_HALF: Final = r"\\u[dD][89a-fA-F]"
"""How JSON writes half of a surrogate pair. Two that belong together are a character."""


def half_character(text: str | bytes, value: Any) -> tuple[Place, str] | None:
    """The place of half a surrogate pair in the `value` of the JSON `text`, and the string that has it. Python's parser
    accepts it, and UTF-8 cannot encode it."""
    found = re.search(_ESCAPED_HALF, text) if isinstance(text, str) else re.search(_ESCAPED_HALF.encode(), text)
    return _half_in(value) if found else None


def _half_in(value: Any) -> tuple[Place, str] | None:
    match value:
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return (), value
        case list() | dict():
            for place, part in value.items() if isinstance(value, dict) else enumerate(value):
                if found := _half_in(part) or _half_in(place):
                    return (_writable(place), *found[0]), found[1]
        case _:
            pass
    return None


def without_number(value: Any) -> Place | None:
    """The place of a NaN or an infinity in the value. Python's parser reads and writes them, and no other does."""
    match value:
        case float():
            return None if math.isfinite(value) else ()
        case list() | dict():
            for place, part in value.items() if isinstance(value, dict) else enumerate(value):
                if (found := without_number(part)) is not None:
                    return (_writable(place), *found)
        case _:
            pass
    return None


def _writable(place: str | int) -> str | int:
    return place.encode(errors="backslashreplace").decode() if isinstance(place, str) else place


def shown(value: Any) -> Any:
    """The value, or the beginning of its JSON if that is long."""
    text = json.dumps(value, default=str)
    return value if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN // 100]}…"
