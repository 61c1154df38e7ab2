"""Who speaks: tokens of workers and the triggerer, each for one dispatch of one try, and tokens of people.

JWTs, HS256, signed with a key that only the control plane's functions may read. A dispatch's token proves who speaks,
not that they may still speak: whether the dispatch is the current one is checked by the conditional write it asks for.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import jwt

from gust.errors import Forbidden, Unauthorized
from gust.model.callback import Callback
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance
from gust.services.ports import User

DISPATCH_AUDIENCE: Final = "urn:gust:execution-api"
USER_AUDIENCE: Final = "apache-airflow"
"""Airflow's default; the audiences keep the two kinds apart, which one key signs."""

ALGORITHM: Final = "HS256"

DISPATCH_LIFETIME: Final = {
    Scope.EXECUTION: timedelta(hours=1),
    Scope.TRIGGER: timedelta(days=8),
    Scope.WATCHER: timedelta(days=8),
    Scope.CALLBACK: timedelta(hours=2),
}
"""Longer than a message may wait (a task's 10 minutes; a trigger's message is sent again and again while its task is
deferred) plus the longest time between two renewals (a heartbeat, a look at the trigger)."""


class JwtTokens:
    """Implements `ports.Tokens`. `signing_key` is asked for once, when the first token is made or checked."""

    def __init__(self, signing_key: Callable[[], str]) -> None:
        self._key = cache(signing_key)

    def for_dispatch(self, instance: TaskInstance, *, now: datetime) -> str:
        deferred = instance.state is TaskInstanceState.DEFERRED
        return self.renewed(Dispatch.of(instance, Scope.TRIGGER if deferred else Scope.EXECUTION), now=now)

    def for_callback(self, callback: Callback, *, now: datetime) -> str:
        shown = callback.run_key.task_instance(callback.task_id or "", callback.map_index)
        dispatch = Dispatch(
            shown, callback.try_number, callback.dispatch_count, Scope.CALLBACK, callback_id=callback.callback_id
        )
        return self.renewed(dispatch, now=now)

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        claims = {
            "sub": str(dispatch.id),
            "scope": dispatch.scope.value,
            "dag_id": dispatch.key.dag_id,
            "run_id": dispatch.key.run_id,
            "task_id": dispatch.key.task_id,
            "map_index": dispatch.key.map_index,
            "try_number": dispatch.try_number,
            "dispatch_count": dispatch.dispatch_count,
            **({"callback_id": dispatch.callback_id} if dispatch.scope in {Scope.CALLBACK, Scope.WATCHER} else {}),
        }
        return self._sign(claims, DISPATCH_AUDIENCE, now=now, lifetime=DISPATCH_LIFETIME[dispatch.scope])

    def dispatch_of(self, token: str, *, now: datetime) -> Dispatch:
        claims = self._claims(token, DISPATCH_AUDIENCE)
        try:
            dispatch = Dispatch(
                TaskInstanceKey(claims["dag_id"], claims["run_id"], claims["task_id"], claims["map_index"]),
                claims["try_number"],
                claims["dispatch_count"],
                Scope(claims["scope"]),
                callback_id=claims.get("callback_id", ""),
            )
        except (KeyError, ValueError) as problem:
            raise Forbidden("Invalid auth token") from problem
        if claims["exp"] <= now.timestamp():
            raise Forbidden("Invalid auth token: it has expired")
        return dispatch

    def for_user(self, user: User, *, now: datetime, lifetime: timedelta) -> str:
        return self._sign({"sub": user.name, "role": user.role}, USER_AUDIENCE, now=now, lifetime=lifetime)

    def user_of(self, token: str, *, now: datetime) -> User:
        claims = self._claims(token, USER_AUDIENCE)
        if "role" not in claims:
            raise Forbidden("Invalid auth token")
        if claims["exp"] <= now.timestamp():
            raise Unauthorized("Token expired")
        return User(claims["sub"], claims["role"])

    def _sign(self, claims: dict[str, Any], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        times = {"iat": int(now.timestamp()), "exp": int((now + lifetime).timestamp())}
        return jwt.encode({"aud": audience, **times, **claims}, self._key(), algorithm=ALGORITHM)

    def _claims(self, token: str, audience: str) -> dict[str, Any]:
        """What a token of ours says, expired or not: callers compare `exp` with the clock they were given."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(),
                algorithms=[ALGORITHM],
                audience=audience,
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
            )
        except jwt.InvalidTokenError as problem:
            raise Forbidden("Invalid auth token") from problem
        return claims
