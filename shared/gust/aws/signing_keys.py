"""The keys that tokens are signed with: one secret's text that holds several, the newest first, separated by commas.

Each of them verifies; a token names its key in its header (`kid`). A key is replaced by writing a new one before it
(`key_rotation`). It signs when it has been there for so long that every process verifies with it, and is dropped by a
later replacement, when every token that it signed has run out. So nobody is logged out, and no task that waits is
refused. Each key carries the moment it was made, `<epoch seconds>~<key>`; the one that CloudFormation made up carries none.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

ASK_AGAIN_AFTER: Final = 300.0
"""Seconds. A process that lives on knows a new key by then."""
ASK_AGAIN_IN_NEED_AFTER: Final = 10.0
"""Seconds. A token may name a key that came since; one that names no key at all must not have us ask each time."""
SIGNS_AFTER: Final = timedelta(seconds=2 * ASK_AGAIN_AFTER)
"""A new key only verifies for so long: a process that has just asked for the keys would refuse what another one, which came
a moment later, signs with it."""


class SigningKeys:
    """`secret` gives the secret's text. Asked for when the first token is made or checked, and now and then again."""

    def __init__(self, secret: Callable[[], str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = secret
        self._monotonic = monotonic
        self._known: tuple[float, dict[str, _Key]] | None = None

    def signing(self, now: datetime) -> tuple[str, str]:
        """The id and the key that sign: the newest that everybody knows, or the oldest where none is old enough."""
        keys = self._keys(ASK_AGAIN_AFTER)
        key_id = next((key_id for key_id, key in keys.items() if key.is_known(now)), next(reversed(keys)))
        return key_id, keys[key_id].text

    def find(self, key_id: str) -> str | None:
        """The key of that id; `None` where the secret has none."""
        key = self._keys(ASK_AGAIN_AFTER).get(key_id) or self._keys(ASK_AGAIN_IN_NEED_AFTER).get(key_id)
        return None if key is None else key.text

    def oldest(self) -> str:
        return next(reversed(self._keys(ASK_AGAIN_AFTER).values())).text

    def _keys(self, max_age: float) -> dict[str, _Key]:
        now = self._monotonic()
        if self._known is None or now - self._known[0] >= max_age:
            self._known = now, {id_of(key): _Key(made, key) for made, key in parse(self._ask())}
        return self._known[1]


class _Key(NamedTuple):
    made: int | None
    text: str

    def is_known(self, now: datetime) -> bool:
        return self.made is None or now.timestamp() - self.made >= SIGNS_AFTER.total_seconds()


def id_of(key: str) -> str:
    """Tells keys apart, and nothing about them."""
    return sha256(f"gust key id {key}".encode()).hexdigest()[:16]


def parse(secret: str) -> list[tuple[int | None, str]]:
    """When each key was made (epoch seconds) and the key, the newest first."""
    return [_parsed(part.strip()) for part in secret.split(",") if part.strip()]


def _parsed(part: str) -> tuple[int | None, str]:
    made, tilde, key = part.partition("~")
    return (int(made), key) if tilde and made.isascii() and made.isdigit() else (None, part)


def rotated(secret: str, *, now: datetime, longest_lifetime: timedelta) -> str:
    """The secret's text with a new key before those it has, but for those that signed nothing which could still hold."""
    kept = []
    signed_until = now
    for made, key in parse(secret):
        # The key before goes on signing while this one is new, and then in processes that have not asked again.
        if now - signed_until > longest_lifetime + 2 * SIGNS_AFTER:
            break
        kept.append(key if made is None else f"{made}~{key}")
        if made is None:
            break
        signed_until = datetime.fromtimestamp(made, tz=now.tzinfo)
    return ",".join([f"{int(now.timestamp())}~{secrets.token_urlsafe(48)}", *kept])


def builds_on(secret: str, current: str) -> bool:
    """Whether it is `current` with one new key before it, and perhaps without the oldest ones."""
    (made, new), *kept = parse(secret)
    known = parse(current)
    return made is not None and bool(kept) and kept == known[: len(kept)] and new not in {key for _, key in known}


def comes_too_late(secret: str, now: datetime) -> bool:
    """Whether its newest key would sign before every process has asked for it. Its age counts from when it was made, and
    nobody could ask before it was there."""
    made, _ = parse(secret)[0]
    return made is not None and now.timestamp() - made > SIGNS_AFTER.total_seconds() - ASK_AGAIN_AFTER
