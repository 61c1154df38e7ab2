"""Replaces the signing key: puts a new one in front of the present keys.

The operator may replace the keys by hand at the same moment, to sign all users out. A rotation must not undo that: if
another writer came between its read and its write, it puts that writer's keys back.
"""

from __future__ import annotations

from datetime import datetime

from gust.aws.key_parameter import LARGEST, KeyParameter
from gust.aws.signing_keys import drops, is_under_way, parse, rotated
from gust.aws.tokens import LONGEST_LIFETIME, JwtTokens
from gust.errors import Conflict


def rotate(parameter: KeyParameter, now: datetime) -> bool:
    """Returns whether there is a new key. There is none if the newest key does not sign yet: an event that EventBridge
    delivers twice makes one key. Nor if another writer replaced the keys meanwhile: its keys stay. Raises Conflict where the
    parameter has no room for another key: each present one may have signed a token that is still valid."""
    present = parameter.read()
    if is_under_way(present.text, now):
        return False
    keys = rotated(present.text, now=now, longest_lifetime=LONGEST_LIFETIME)
    if len(keys) > LARGEST:
        raise _no_room(present.text)
    _prove(keys, present.text, now)
    return parameter.exchange(present, keys)


def _no_room(present: str) -> Conflict:
    def has_room(now: datetime) -> bool:
        return len(rotated(present, now=now, longest_lifetime=LONGEST_LIFETIME)) <= LARGEST

    until = next(filter(has_room, drops(present, longest_lifetime=LONGEST_LIFETIME)), None)
    when = f"try again after {until:%Y-%m-%d %H:%M:%S} UTC, or " if until else ""
    return Conflict(
        f"the parameter is full: tokens of each of its {len(parse(present))} keys may still be valid, and SSM keeps "
        f"{LARGEST:,} characters; {when}sign all users out (docs/access.md)"
    )


def _prove(after: str, before: str, now: datetime) -> None:
    """Raises Forbidden unless tokens signed with the new key and with the present ones verify afterwards."""
    checking = JwtTokens(lambda: after)
    for keys in (before, after, after.partition(",")[0]):
        sealed = JwtTokens(lambda keys=keys: keys).seal({}, "rotation", now=now, lifetime=LONGEST_LIFETIME)  # type: ignore[misc]
        checking.unseal(sealed, "rotation", now=now)
