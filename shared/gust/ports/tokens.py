"""JWTs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from gust.model.callback import Callback
from gust.model.dag_run import DagRun
from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance
from gust.model.user import Session, User


class Tokens(Protocol):
    """Signs and checks JWTs. A worker's token names one dispatch of one try; a user's token names a person. The two have
    different audiences: each is refused where the other is asked for."""

    def for_dispatch(self, instance: TaskInstance, *, now: datetime, run: DagRun | None = None) -> str:
        """`in_message`, for the worker that runs this dispatch; for the triggerer if the instance is deferred. `run`: its
        run, whose digest the token names."""

    def for_callback(self, callback: Callback, *, now: datetime) -> str:
        """`in_message`, for the worker that runs the callback: valid for one dispatch of it."""

    def for_connection_test(self, test_id: str, *, now: datetime) -> str:
        """For the worker that tests the connection: it gives access to nothing else."""

    def in_message(self, dispatch: Dispatch, *, now: datetime) -> str:
        """For a message: valid only for starting the dispatch, for as long as a message may wait."""

    def for_parser(self, *, now: datetime) -> str:
        """For the parser, for one deployment: it reads variables and connections, and gives access to nothing else."""

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        """A short-lived token for a dispatch that has begun."""

    def dispatch_of(self, token: str, *, now: datetime) -> Dispatch:
        """The dispatch that the token names. Raises Forbidden if the token has expired or this stack did not sign it."""

    def for_user(self, user: User, *, now: datetime, lifetime: timedelta, signed_in_at: datetime | None = None) -> str:
        """A token for the public API, with Airflow's audience `apache-airflow`, `sub` (the name) and `role`. It says since
        when the person is signed in: `signed_in_at`, or `now`."""

    def user_of(self, token: str, *, now: datetime) -> User:
        """The user that the token names. Raises Unauthorized if it has expired, Forbidden if this stack did not sign it."""

    def session_of(self, token: str, *, now: datetime) -> Session:
        """The user that the token names, and since when they are signed in. Raises as `user_of` does."""

    def seal(self, claims: Mapping[str, str], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        """Sign claims that Gust gives away and wants back unchanged, for one purpose (`audience`)."""

    def unseal(self, token: str, audience: str, *, now: datetime) -> dict[str, str]:
        """The sealed claims. Raises Unauthorized if they have expired, Forbidden if this stack did not seal them."""
