"""Replaces the signing key, in the steps that Secrets Manager asks for.

    createSecret   stores the keys with a new one before them, as a version that no function reads yet (AWSPENDING)
    setSecret      does nothing: no other service uses the key
    testSecret     checks that tokens signed with the new key and with the older ones verify
    finishSecret   makes the version the secret (AWSCURRENT)

Secrets Manager may call a step several times, and all of them again after one died: each step looks for its result and does
only the missing part. The version's id is the rotation's token, so a step that runs twice at once makes one version.
Only these steps read AWSPENDING: a rotation that dies half-way has changed nothing.

The operator may replace the keys by hand meanwhile, to sign all users out. A rotation must not bring the old keys back:
`finishSecret` moves the label away from the very version that it has compared with, or not at all.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any, Final, NoReturn

from gust.aws.signing_keys import builds_on, comes_too_late, rotated
from gust.aws.tokens import LONGEST_LIFETIME, JwtTokens
from gust.errors import StaleSigningKeys

PENDING: Final = "AWSPENDING"
CURRENT: Final = "AWSCURRENT"


class KeyRotation:
    """The rotation of one secret. `client` is Secrets Manager's, `secret` the secret's name or ARN."""

    def __init__(self, secret: str, client: Any) -> None:
        self._secret = secret
        self._client = client

    def step(self, name: str, token: str, now: datetime) -> None:
        """Take the step. Raises StaleSigningKeys if this rotation can no longer succeed."""
        stages = self._client.describe_secret(SecretId=self._secret)["VersionIdsToStages"].get(token, ())
        if CURRENT in stages:
            return
        if PENDING not in stages:
            raise StaleSigningKeys(f"No rotation {token} is under way")
        match name:
            case "createSecret":
                self._create(token, now)
            case "setSecret":
                pass
            case "testSecret":
                self._test(token, now)
            case "finishSecret":
                self._finish(token, now)
            case _:
                raise ValueError(f"A rotation has no step {name!r}")

    def _create(self, token: str, now: datetime) -> None:
        errors = self._client.exceptions
        with contextlib.suppress(errors.ResourceNotFoundException):
            self._pending(token)
            return
        keys = rotated(self._current()[0], now=now, longest_lifetime=LONGEST_LIFETIME)
        with contextlib.suppress(errors.ResourceExistsException):  # the same step, twice at a time
            self._client.put_secret_value(
                SecretId=self._secret, ClientRequestToken=token, SecretString=keys, VersionStages=[PENDING]
            )

    def _test(self, token: str, now: datetime) -> None:
        pending, current = self._pending(token), self._current()[0]
        if pending == current:
            return  # no rotation: Secrets Manager checks that it can call us, before a schedule begins
        self._require_to_build_on(current, pending, token)
        after, before = JwtTokens(lambda: pending), JwtTokens(lambda: current)
        newest = JwtTokens(lambda: pending.partition(",")[0])
        for tokens in (before, after, newest):
            sealed = tokens.seal({}, "rotation", now=now, lifetime=LONGEST_LIFETIME)
            after.unseal(sealed, "rotation", now=now)

    def _finish(self, token: str, now: datetime) -> None:
        current, version = self._current()
        pending = self._pending(token)
        self._require_to_build_on(current, pending, token)
        if comes_too_late(pending, now):
            self._give_up(token, "The new key comes too late: it would sign before every function knows it")
        self._client.update_secret_version_stage(
            SecretId=self._secret, VersionStage=CURRENT, MoveToVersionId=token, RemoveFromVersionId=version
        )

    def _require_to_build_on(self, current: str, pending: str, token: str) -> None:
        """Raises StaleSigningKeys and gives the rotation up if the keys were replaced meanwhile: while a version is pending,
        Secrets Manager begins no other rotation."""
        if not builds_on(pending, current):
            self._give_up(token, "The keys were replaced by hand meanwhile")

    def _give_up(self, token: str, why: str) -> NoReturn:
        self._client.update_secret_version_stage(SecretId=self._secret, VersionStage=PENDING, RemoveFromVersionId=token)
        raise StaleSigningKeys(f"{why}; this rotation is given up")

    def _pending(self, token: str) -> str:
        found = self._client.get_secret_value(SecretId=self._secret, VersionId=token, VersionStage=PENDING)
        return str(found["SecretString"])

    def _current(self) -> tuple[str, str]:
        """The keys, and the version that holds them."""
        found = self._client.get_secret_value(SecretId=self._secret, VersionStage=CURRENT)
        return str(found["SecretString"]), str(found["VersionId"])
