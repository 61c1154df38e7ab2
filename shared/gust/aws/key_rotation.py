"""Replaces the signing key: puts a new one in front of the present keys.

The operator may replace the keys by hand at the same moment, to sign all users out. A rotation must not undo that: if
another writer came between its read and its write, it puts that writer's keys back.
"""

from __future__ import annotations

from datetime import datetime

from gust.aws.key_parameter import KeyParameter
from gust.aws.signing_keys import is_under_way, rotated
from gust.aws.tokens import LONGEST_LIFETIME, JwtTokens


def rotate(parameter: KeyParameter, now: datetime) -> bool:
    """Returns whether there is a new key. There is none if the newest key does not sign yet: an event that EventBridge
    delivers twice makes one key. Nor if another writer replaced the keys meanwhile: its keys stay."""
    present = parameter.read()
    if is_under_way(present.text, now):
        return False
    keys = rotated(present.text, now=now, longest_lifetime=LONGEST_LIFETIME)
    _prove(keys, present.text, now)
    return parameter.exchange(present, keys)


def _prove(after: str, before: str, now: datetime) -> None:
    """Raises Forbidden unless tokens signed with the new key and with the present ones verify afterwards."""
    checking = JwtTokens(lambda: after)
    for keys in (before, after, after.partition(",")[0]):
        sealed = JwtTokens(lambda keys=keys: keys).seal({}, "rotation", now=now, lifetime=LONGEST_LIFETIME)  # type: ignore[misc]
        checking.unseal(sealed, "rotation", now=now)
