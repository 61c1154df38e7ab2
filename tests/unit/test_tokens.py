"""Tokens of people, and what keeps them apart from those of workers (see `execution_api/test_fencing.py`)."""

from datetime import UTC, datetime, timedelta

import pytest

from gust.aws.tokens import JwtTokens
from gust.errors import Forbidden, Unauthorized
from gust.model.access import Role
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.services.ports import User

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
USER = User("ada", Role.OP, ("team-a",))
INSTANCE = TaskInstance(
    dag_id="d", run_id="r", task_id="t", map_index=3, state=S.QUEUED, try_number=2, dispatch_count=5
)


def tokens(key: str = "a signing key that is long enough for HS256") -> JwtTokens:
    return JwtTokens(lambda: key)


def test_a_persons_token_says_who_they_are_until_it_expires() -> None:
    token = tokens().for_user(USER, now=NOW, lifetime=HOUR)
    assert tokens().user_of(token, now=NOW + HOUR - timedelta(seconds=1)) == USER
    with pytest.raises(Unauthorized):
        tokens().user_of(token, now=NOW + HOUR)


def test_a_dispatchs_token_names_it() -> None:
    dispatch = tokens().dispatch_of(tokens().for_dispatch(INSTANCE, now=NOW), now=NOW)
    assert dispatch.is_current(INSTANCE)
    assert dispatch.key == INSTANCE.key
    assert dispatch.id == INSTANCE.key.uuid(2)


def test_neither_kind_is_taken_for_the_other() -> None:
    with pytest.raises(Forbidden):
        tokens().user_of(tokens().for_dispatch(INSTANCE, now=NOW), now=NOW)
    with pytest.raises(Forbidden):
        tokens().dispatch_of(tokens().for_user(USER, now=NOW, lifetime=HOUR), now=NOW)


def test_another_key_signs_nothing_for_us() -> None:
    other = tokens("a signing key that somebody else came up with")
    with pytest.raises(Forbidden):
        tokens().user_of(other.for_user(USER, now=NOW, lifetime=HOUR), now=NOW)
    with pytest.raises(Forbidden):
        tokens().dispatch_of(other.for_dispatch(INSTANCE, now=NOW), now=NOW)


def test_the_key_is_asked_for_once_and_late() -> None:
    asked: list[int] = []

    def key() -> str:
        asked.append(1)
        return "a signing key that is long enough for HS256"

    made = JwtTokens(key)
    assert asked == []
    for _ in range(3):
        made.dispatch_of(made.for_dispatch(INSTANCE, now=NOW), now=NOW)
    assert asked == [1]
