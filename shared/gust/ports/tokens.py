"""JWTs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from gust.model.callback import Callback
from gust.model.dispatch import Dispatch
from gust.model.task_instance import TaskInstance
from gust.model.user import Session, User


class Tokens(Protocol):
    """Signs and checks JWTs; workers' tokens name one dispatch of one try, users' tokens a person.

    The two have different audiences: neither is accepted where the other belongs."""

    def for_dispatch(self, instance: TaskInstance, *, now: datetime) -> str:
        """`in_message`, for the worker that shall run the dispatch, or for the triggerer where the instance is deferred."""

    def for_callback(self, callback: Callback, *, now: datetime) -> str:
        """`in_message`, for the worker that shall run it: valid for one dispatch of one callback."""

    def for_connection_test(self, test_id: str, *, now: datetime) -> str:
        """For the worker that shall test the connection: it gives no access to anything else."""

    def in_message(self, dispatch: Dispatch, *, now: datetime) -> str:
        """For a message: good for starting the dispatch alone, for as long as a message may wait."""

    def for_parser(self, *, now: datetime) -> str:
        """For the parser, for one deployment: it reads variables and connections, and gives no access to anything else."""

    def renewed(self, dispatch: Dispatch, *, now: datetime) -> str:
        """A short-lived token for a dispatch that has begun."""

    def dispatch_of(self, token: str, *, now: datetime) -> Dispatch:
        """What the token speaks for. Raises Forbidden where it has expired or is not one of ours."""

    def for_user(self, user: User, *, now: datetime, lifetime: timedelta, signed_in_at: datetime | None = None) -> str:
        """A token for the public API: Airflow's audience `apache-airflow`, `sub` the name, `role` the role. It
        says since when the person is signed in: since `now` unless given."""

    def user_of(self, token: str, *, now: datetime) -> User:
        """Whom the token names. Raises Unauthorized where it has expired, Forbidden where it is not one of ours."""

    def session_of(self, token: str, *, now: datetime) -> Session:
        """Whom the token names, and since when. Raises as `user_of`."""

    def seal(self, claims: Mapping[str, str], audience: str, *, now: datetime, lifetime: timedelta) -> str:
        """What we hand out and want back unchanged, for one purpose."""

    def unseal(self, token: str, audience: str, *, now: datetime) -> dict[str, str]:
        """What was sealed. Raises Unauthorized where it has expired, Forbidden where it is not of ours."""
