"""The tokens that let a worker or the triggerer speak for one dispatch of one try, and for nothing else.

JWTs, HS256, signed with a key that only the control plane's functions may read. A token proves who speaks, not that
they may still speak: whether the dispatch is the current one is checked by the conditional write it asks for.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import jwt

from gust.errors import Forbidden
from gust.model.dispatch import Dispatch, Scope
from gust.model.keys import TaskInstanceKey
from gust.model.state import TaskInstanceState
from gust.model.task_instance import TaskInstance

AUDIENCE: Final = "urn:gust:execution-api"
"""Keeps these apart from people's tokens, which the same key signs."""

ALGORITHM: Final = "HS256"

LIFETIME: Final = {Scope.EXECUTION: timedelta(hours=1), Scope.TRIGGER: timedelta(days=8)}
"""Longer than a message may wait (a task's 10 minutes; a trigger's message is sent again and again while its task is
deferred) plus the longest time between two renewals (a heartbeat)."""


class JwtTokens:
    """Implements `ports.Tokens`. `signing_key` is asked for once, when the first token is made or checked."""

    def __init__(self, signing_key: Callable[[], str]) -> None:
        self._key = cache(signing_key)

    def for_dispatch(self, instance: TaskInstance, *, now: datetime) -> str:
        """A token for the instance's present dispatch: the triggerer's where it is deferred, else a worker's."""
        deferred = instance.state is TaskInstanceState.DEFERRED
        return self.renewed(Dispatch.of(instance, Scope.TRIGGER if deferred else Scope.EXECUTION), now=now)

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        """A token that speaks for the same dispatch and is valid for a whole lifetime from `now`."""
        claims = {
            "aud": AUDIENCE,
            "sub": str(dispatch.id),
            "iat": int(now.timestamp()),
            "exp": int((now + LIFETIME[dispatch.scope]).timestamp()),
            "scope": dispatch.scope.value,
            "dag_id": dispatch.key.dag_id,
            "run_id": dispatch.key.run_id,
            "task_id": dispatch.key.task_id,
            "map_index": dispatch.key.map_index,
            "try_number": dispatch.try_number,
            "dispatch_count": dispatch.dispatch_count,
        }
        return jwt.encode(claims, self._key(), algorithm=ALGORITHM)

    def verify(self, token: str, *, now: datetime) -> Dispatch:
        """What the token speaks for. Raises Forbidden where it is expired, forged, or meant for somebody else."""
        try:
            # Expiry is checked below, against the clock that is passed in.
            claims = jwt.decode(
                token,
                self._key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "sub"]},
            )
            dispatch = _dispatch(claims)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as problem:
            raise Forbidden("Invalid auth token") from problem
        if claims["exp"] <= now.timestamp():
            raise Forbidden("Invalid auth token: it has expired")
        return dispatch


def _dispatch(claims: dict[str, Any]) -> Dispatch:
    return Dispatch(
        TaskInstanceKey(claims["dag_id"], claims["run_id"], claims["task_id"], claims["map_index"]),
        claims["try_number"],
        claims["dispatch_count"],
        Scope(claims["scope"]),
    )
