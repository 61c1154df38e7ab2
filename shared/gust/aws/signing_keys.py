"""The signing keys: one text that holds several, the newest first, separated by commas.

All keys verify; a token names its key in its header (`kid`). The key rotator writes a new key before the others
(`key_rotation`). The new key signs once it is old enough that every process verifies with it. A later rotation drops a
key when every token that it signed has expired. So no user is signed out, and no waiting task is refused. Each key carries
the moment it was made, `<epoch seconds>~<key>`; the stack's first key carries none.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple

ASK_AGAIN_AFTER: Final = 300.0
"""Seconds after which a process reads the secret again: by then it knows a new key."""
ASK_AGAIN_IN_NEED_AFTER: Final = 10.0
"""Seconds between two reads of the secret for tokens with an unknown key: the key may be new, or made up by a caller."""
SIGNS_AFTER: Final = timedelta(seconds=2 * ASK_AGAIN_AFTER)
"""How long a new key only verifies: a process that has just read the secret would refuse a token that another process,
started a moment later, signs with it."""


class SigningKeys:
    """`secret` returns the secret's text. It is called for the first token made or checked, and every few minutes again."""

    def __init__(self, secret: Callable[[], str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = secret
        self._monotonic = monotonic
        self._known: tuple[float, dict[str, _Key]] | None = None

    def signing(self, now: datetime) -> tuple[str, str]:
        """Id and text of the key that signs: the newest that every process knows, or the oldest if none is old enough."""
        keys = self._keys(ASK_AGAIN_AFTER)
        key_id = next((key_id for key_id, key in keys.items() if key.is_known(now)), next(reversed(keys)))
        return key_id, keys[key_id].text

    def find(self, key_id: str) -> str | None:
        """The key of that id; `None` if the secret has none."""
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
    """An id that tells keys apart and reveals nothing of them."""
    return sha256(f"gust key id {key}".encode()).hexdigest()[:16]


def parse(secret: str) -> list[tuple[int | None, str]]:
    """(epoch seconds of its making, key) of each key, the newest first."""
    return [_parsed(part.strip()) for part in secret.split(",") if part.strip()]


def _parsed(part: str) -> tuple[int | None, str]:
    made, tilde, key = part.partition("~")
    return (int(made), key) if tilde and made.isascii() and made.isdigit() else (None, part)


def rotated(secret: str, *, now: datetime, longest_lifetime: timedelta) -> str:
    """The secret's text with a new key in front, without the keys whose tokens have all expired."""
    kept = []
    signed_until = now
    for made, key in parse(secret):
        # The key before it still signs while this one is new, and later in processes with the old secret.
        if now - signed_until >= longest_lifetime + 2 * SIGNS_AFTER:
            break
        kept.append(key if made is None else f"{made}~{key}")
        if made is None:
            break
        signed_until = datetime.fromtimestamp(made, tz=now.tzinfo)
    return ",".join([f"{int(now.timestamp())}~{secrets.token_urlsafe(48)}", *kept])


def drops(secret: str, *, longest_lifetime: timedelta) -> list[datetime]:
    """The moments from which on `rotated` leaves out one key more, ascending."""
    made = [moment for moment, _ in reversed(parse(secret)) if moment is not None]
    return [datetime.fromtimestamp(each, UTC) + longest_lifetime + 2 * SIGNS_AFTER for each in made]


def is_under_way(secret: str, now: datetime) -> bool:
    """Whether the newest key only verifies yet."""
    made, text = parse(secret)[0]
    return not _Key(made, text).is_known(now)
