"""Identity tokens: of workers and triggerers, each for one dispatch of one try, and of API users.

JWTs, HS256, signed with keys that only the control plane's functions may read (`signing_keys`). As in Airflow a dispatch has
two tokens. The one in its message lasts as long as a message may wait, and can only start the dispatch. The execution API
exchanges it at the start for a short one, which heartbeats renew. Both prove the caller's identity, not that its try is
still current: each write checks that (docs/adr/0030-two-tokens-for-a-dispatch.md).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from gust.aws.signing_keys import SigningKeys
from gust.errors import Forbidden, Unauthorized
from gust.model.access import Role
from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dispatch import UNBEGUN, Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.model.user import Session, User

DISPATCH_AUDIENCE: Final = "urn:gust:execution-api"
USER_AUDIENCE: Final = "apache-airflow"
"""Airflow's default; the audience keeps apart the two kinds of tokens that one key signs."""

ALGORITHM: Final = "HS256"

MESSAGE_LIFETIME: Final = {
    Scope.EXECUTION: timedelta(hours=1),
    Scope.TRIGGER: timedelta(days=8),
    Scope.WATCHER: timedelta(days=8),
    Scope.CALLBACK: timedelta(hours=2),
}
"""Lifetimes of tokens in messages, by scope: longer than a message may wait (a task's 10 minutes; a trigger's message is
sent again and again while its task is deferred)."""

LIFETIME: Final = {
    Scope.EXECUTION: timedelta(minutes=10),
    Scope.TRIGGER: timedelta(minutes=10),
    Scope.WATCHER: timedelta(minutes=10),
    Scope.CALLBACK: timedelta(minutes=20),
    Scope.CONNECTION_TEST: timedelta(minutes=5),
    Scope.PARSE: timedelta(hours=6),
}
"""Lifetimes of tokens after the start. A try's heartbeats renew its token every few seconds; a triggerer renews a trigger's
and a watcher's when it asks, every minute, whether they are still wanted. A callback has no heartbeat, so its token lasts as
long as its worker's function may run. A connection test has none either; its token comes in its message and gives access to
that connection alone. Ten minutes is Airflow's default."""

LONGEST_LIFETIME: Final = max(MESSAGE_LIFETIME.values())
"""The longest lifetime of any token. API users' tokens last for hours."""


class JwtTokens:
    """Implements `ports.Tokens`. `secret` returns the text of the secret with the signing keys."""

    def __init__(self, secret: Callable[[], str], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._keys = SigningKeys(secret, monotonic=monotonic)

    def for_dispatch(self, instance: TaskInstance, *, now: datetime, run: DagRun | None = None) -> str:
        deferred = instance.state is TaskInstanceState.DEFERRED
        dispatch = Dispatch.of(instance, Scope.TRIGGER if deferred else Scope.EXECUTION)
        return self.in_message(replace(dispatch, run_digest=run.digest) if run else dispatch, now=now)

    def for_callback(self, callback: Callback, *, now: datetime) -> str:
        shown = callback.run_key.task_instance(callback.task_id or "", callback.map_index)
        dispatch = Dispatch(
            shown, callback.try_number, callback.dispatch_count, Scope.CALLBACK, callback_id=callback.callback_id
        )
        return self.in_message(dispatch, now=now)

    def for_connection_test(self, test_id: str, *, now: datetime) -> str:
        no_instance = TaskInstanceKey("", "", "")
        return self.renewed(Dispatch(no_instance, 0, 0, Scope.CONNECTION_TEST, callback_id=test_id), now=now)

    def in_message(self, dispatch: Dispatch, *, now: datetime) -> str:
        claims = {**_claims_of(dispatch), "scope": UNBEGUN, "starts": dispatch.scope.value}
        if dispatch.run_digest:
            claims["run_digest"] = dispatch.run_digest
        return self._sign(claims, DISPATCH_AUDIENCE, now=now, lifetime=MESSAGE_LIFETIME[dispatch.scope])

    def for_parser(self, *, now: datetime) -> str:
        return self.renewed(Dispatch(TaskInstanceKey("", "", ""), 0, 0, Scope.PARSE), now=now)

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        return self._sign(_claims_of(dispatch), DISPATCH_AUDIENCE, now=now, lifetime=LIFETIME[dispatch.scope])

    def dispatch_of(self, token: str, *, now: datetime) -> Dispatch:
        claims = self._claims(token, DISPATCH_AUDIENCE)
        try:
            is_begun = claims["scope"] != UNBEGUN
            dispatch = Dispatch(
                TaskInstanceKey(claims["dag_id"], claims["run_id"], claims["task_id"], claims["map_index"]),
                claims["try_number"],
                claims["dispatch_count"],
                Scope(claims["scope"] if is_begun else claims["starts"]),
                scheduled_at=datetime.fromisoformat(moment) if (moment := claims.get("scheduled_at")) else None,
                callback_id=claims.get("callback_id", ""),
                run_digest=claims.get("run_digest", ""),
                is_begun=is_begun,
            )
        except (KeyError, ValueError) as problem:
            raise Forbidden("Invalid auth token") from problem
        if claims["exp"] <= now.timestamp():
            raise Forbidden("Invalid auth token: it has expired")
        return dispatch

    def for_user(self, user: User, *, now: datetime, lifetime: timedelta, signed_in_at: datetime | None = None) -> str:
        claims: dict[str, Any] = {"sub": user.name, "role": user.role.name if user.role is not None else None}
        if user.dag_roles:
            claims["dag_roles"] = list(user.dag_roles)
        if signed_in_at is not None:
            claims["auth_time"] = int(signed_in_at.timestamp())
        return self._sign(claims, USER_AUDIENCE, now=now, lifetime=lifetime)

    def user_of(self, token: str, *, now: datetime) -> User:
        return self.session_of(token, now=now).user

    def session_of(self, token: str, *, now: datetime) -> Session:
        claims = self._claims(token, USER_AUDIENCE)
        if "role" not in claims:
            raise Forbidden("Invalid auth token")
        if claims["exp"] <= now.timestamp():
            raise Unauthorized("Token expired")
        role = None if claims["role"] is None else Role.of(claims["role"])
        user = User(claims["sub"], role, tuple(claims.get("dag_roles", ())))
        return Session(
            user, issued_at=_moment(claims["iat"]), signed_in_at=_moment(claims.get("auth_time", claims["iat"]))
        )

    def seal(self, claims: Mapping[str, str], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        return self._sign({"sub": audience, **claims}, f"urn:gust:{audience}", now=now, lifetime=lifetime)

    def unseal(self, token: str, audience: str, *, now: datetime) -> dict[str, str]:
        claims = self._claims(token, f"urn:gust:{audience}")
        if claims["exp"] <= now.timestamp():
            raise Unauthorized("It has expired")
        return {name: str(value) for name, value in claims.items()}

    def _sign(self, claims: dict[str, Any], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        times = {"iat": int(now.timestamp()), "exp": int((now + lifetime).timestamp())}
        key_id, key = self._keys.signing(now)
        token: str = jwt().encode(
            {"aud": audience, **times, **claims}, key, algorithm=ALGORITHM, headers={"kid": key_id}
        )
        return token

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a valid token, expired or not: callers compare `exp` with the clock they were given."""
        try:
            claims: dict[str, Any] = jwt().decode(
                token,
                self._key_of(token),
                algorithms=[ALGORITHM],
                audience=audience,
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
            )
        except jwt().InvalidTokenError as problem:
            raise Forbidden("Invalid auth token") from problem
        return claims

    def _key_of(self, token: str) -> str:
        """Raises InvalidTokenError if the token names none of the secret's keys."""
        header = jwt().get_unverified_header(token)
        # A token without a key id was signed before there were several keys: by the oldest present one.
        key = self._keys.find(header["kid"]) if "kid" in header else self._keys.oldest()
        if key is None:
            raise jwt().DecodeError("it is not a key of ours")
        return key


def _claims_of(dispatch: Dispatch) -> dict[str, Any]:
    return {
        "sub": str(dispatch.id),
        "scope": dispatch.scope.value,
        "dag_id": dispatch.key.dag_id,
        "run_id": dispatch.key.run_id,
        "task_id": dispatch.key.task_id,
        "map_index": dispatch.key.map_index,
        "try_number": dispatch.try_number,
        "dispatch_count": dispatch.dispatch_count,
        **({"scheduled_at": dispatch.scheduled_at.isoformat()} if dispatch.scheduled_at else {}),
        **({"callback_id": dispatch.callback_id} if dispatch.callback_id else {}),
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@cache
def jwt() -> ModuleType:
    """Imported by the first token: it takes a tenth of the scheduler's cold start, and most ticks send nothing."""
    return import_module("jwt")
