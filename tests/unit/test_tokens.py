"""Tokens of API users, and their separation from workers' tokens (see `execution_api/test_fencing.py`)."""

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from gust.aws.signing_keys import ASK_AGAIN_AFTER, SIGNS_AFTER, parse, rotated
from gust.aws.tokens import JwtTokens
from gust.errors import Forbidden, Unauthorized
from gust.model.access import Role
from gust.model.state import TaskInstanceState as S
from gust.model.task_instance import TaskInstance
from gust.model.user import User

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


# --- changing the key -------------------------------------------------------------------------------------------------

OLD = "the~key that CloudFormation made up - long enough"
WEEK = timedelta(days=8)


def test_a_new_key_logs_nobody_out() -> None:
    before = tokens(OLD).for_user(USER, now=NOW, lifetime=HOUR)
    both = rotated(OLD, now=NOW, longest_lifetime=WEEK)
    assert tokens(both).user_of(before, now=NOW) == USER


def test_a_new_key_signs_when_every_process_knows_it() -> None:
    """A process that asked for the keys a moment before would refuse what the new one signs, and ask again too late."""
    both = rotated(OLD, now=NOW, longest_lifetime=WEEK)
    early = tokens(both).for_user(USER, now=NOW + SIGNS_AFTER - timedelta(seconds=1), lifetime=HOUR)
    assert tokens(OLD).user_of(early, now=NOW) == USER
    assert timedelta(seconds=ASK_AGAIN_AFTER) < SIGNS_AFTER
    late = tokens(both).for_user(USER, now=NOW + SIGNS_AFTER, lifetime=HOUR)
    with pytest.raises(Forbidden):
        tokens(OLD).user_of(late, now=NOW)
    alone = both.partition(",")[0]
    assert tokens(alone).user_of(tokens(alone).for_user(USER, now=NOW, lifetime=HOUR), now=NOW) == USER


def test_two_rotations_in_a_row_do_not_let_a_key_sign_early() -> None:
    third = rotated(rotated(OLD, now=NOW, longest_lifetime=WEEK), now=NOW + HOUR / 60, longest_lifetime=WEEK)
    signed = tokens(third).for_user(USER, now=NOW + HOUR / 30, lifetime=HOUR)
    assert tokens(OLD).user_of(signed, now=NOW) == USER


def test_a_process_learns_of_a_new_key_from_a_token_that_names_it() -> None:
    secret, time, asked = [OLD], [0.0], [0]

    def ask() -> str:
        asked[0] += 1
        return secret[0]

    old_process = JwtTokens(ask, monotonic=lambda: time[0])
    old_process.for_user(USER, now=NOW, lifetime=HOUR)
    secret[0] = rotated(OLD, now=NOW, longest_lifetime=WEEK)
    token = tokens(secret[0]).for_user(USER, now=NOW + SIGNS_AFTER, lifetime=HOUR)
    time[0] = 11.0
    assert old_process.user_of(token, now=NOW) == USER
    # Tokens that name no key of ours must not have us ask each time.
    before = asked[0]
    forged = jwt.encode({"sub": "x"}, "k" * 32, algorithm="HS256", headers={"kid": "nothing"})
    for _ in range(5):
        with pytest.raises(Forbidden):
            old_process.user_of(forged, now=NOW)
    assert asked[0] == before


def test_a_key_is_dropped_when_nothing_it_signed_can_hold_any_more() -> None:
    second = rotated(OLD, now=NOW, longest_lifetime=WEEK)
    third = rotated(second, now=NOW + timedelta(days=7), longest_lifetime=WEEK)
    assert [key for _, key in parse(third)][1:] == [key for _, key in parse(second)]
    fourth = rotated(third, now=NOW + timedelta(days=9), longest_lifetime=WEEK)
    assert OLD not in fourth
    assert second.partition(",")[0] in fourth


def test_what_is_sealed_for_one_purpose_serves_no_other() -> None:
    sealed = tokens().seal({"state": "s"}, "oidc", now=NOW, lifetime=HOUR)
    assert tokens().unseal(sealed, "oidc", now=NOW)["state"] == "s"
    with pytest.raises(Forbidden):
        tokens().unseal(sealed, "other", now=NOW)
    with pytest.raises(Forbidden):
        tokens().user_of(sealed, now=NOW)
    with pytest.raises(Unauthorized):
        tokens().unseal(sealed, "oidc", now=NOW + HOUR)
