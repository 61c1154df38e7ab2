"""The variables that a requirements file may name, such as a user and a token in the address of a package index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gust.environment_builder.uv import Refused

FILE: Final = "GUST_PACKAGE_INDEX_FILE"
"""Environment variable of a machine of one's own: the path of a JSON file with what a stack on AWS has in its secret."""


def index_variables(secret: str, around: Mapping[str, str]) -> dict[str, str]:
    """`secret`: the text of the secret that the stack names, if it names one. `around`: the environment; its `FILE` counts
    where there is no secret. Raises Refused where either is no JSON object of texts, without a word of what it says."""
    if secret:
        return _texts(secret, "The secret that the parameter PackageIndexSecret names")
    if not (path := around.get(FILE, "")):
        return {}
    try:
        text = Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"The file that {FILE} names cannot be read: {error}") from None
    return _texts(text, f"The file {path} that {FILE} names")


def _texts(text: str, what: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Refused(f"{what} is no JSON object of names and texts.")
    return found
