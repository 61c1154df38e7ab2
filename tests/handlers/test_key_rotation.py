"""The key rotator's door, on SSM as moto plays it: once a month, twice at a time, and beside an operator's own write."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from gust.aws import clients
from gust.aws.key_parameter import KeyParameter
from gust.aws.key_rotation import rotate
from gust.aws.signing_keys import ASK_AGAIN_AFTER, SIGNS_AFTER, parse
from gust.aws.tokens import JwtTokens
from gust.errors import Conflict, Forbidden
from gust.model.access import Role
from gust.model.user import User

DOOR = Path(__file__).parents[2] / "functions/key_rotation/app.py"
NAME = "/gust/gust/keys/signing"
FIRST = "what the key maker made up of sixty-four characters or so"
BY_HAND = "a new one that an operator put by hand"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
MONTH = timedelta(days=30)
USER = User("ada", Role.OP)


class Stack:
    """The parameter, and the door that EventBridge knocks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.client = boto3.client("ssm")
        self.parameter = KeyParameter(NAME, self.client)
        assert self.parameter.create(FIRST)
        monkeypatch.setenv("GUST_SIGNING_KEYS", NAME)
        self.door = _door()

    def keys(self) -> str:
        return self.parameter.read().text


def _door() -> ModuleType:
    spec = importlib.util.spec_from_file_location("key_rotation_door", DOOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    clients.client.cache_clear()
    with mock_aws():
        yield Stack(monkeypatch)
    clients.client.cache_clear()


def test_a_rotation_puts_a_new_key_before_the_others_and_signs_no_user_out(stack: Stack) -> None:
    before = JwtTokens(stack.keys).for_user(USER, now=NOW, lifetime=HOUR)

    assert stack.door.lambda_handler({"source": "aws.events"}, None) == {"is_new": True}

    (made, _), old = parse(stack.keys())
    assert made is not None
    assert old == (None, FIRST)
    assert JwtTokens(stack.keys).user_of(before, now=NOW) == USER
    later = datetime.fromtimestamp(made, UTC) + SIGNS_AFTER
    after = JwtTokens(stack.keys).for_user(USER, now=later, lifetime=HOUR)
    assert JwtTokens(stack.keys).user_of(after, now=later) == USER
    with pytest.raises(Forbidden):  # the new key signs by now
        JwtTokens(lambda: FIRST).user_of(after, now=later)


def test_a_process_that_read_just_before_and_one_that_read_just_after_verify_each_others_tokens(stack: Stack) -> None:
    """Requests in flight: each process asks for the keys again after five minutes, and the new key signs after ten."""
    clock = [0.0]
    early, late = (JwtTokens(stack.keys, monotonic=lambda: clock[0]) for _ in range(2))
    early.for_user(USER, now=NOW, lifetime=HOUR)

    assert rotate(stack.parameter, NOW)

    for seconds in (0.0, 9.0, ASK_AGAIN_AFTER - 1, ASK_AGAIN_AFTER, 2 * ASK_AGAIN_AFTER, 2 * ASK_AGAIN_AFTER + 60):
        clock[0] = seconds
        now = NOW + timedelta(seconds=seconds)
        of_early, of_late = (each.for_user(USER, now=now, lifetime=HOUR) for each in (early, late))
        assert early.user_of(of_late, now=now) == USER
        assert late.user_of(of_early, now=now) == USER


def test_an_event_that_is_delivered_twice_makes_one_key(stack: Stack) -> None:
    stack.door.lambda_handler({}, None)
    keys = stack.keys()

    assert stack.door.lambda_handler({}, None) == {"is_new": False}

    assert stack.keys() == keys


def test_a_year_of_rotations_fits_into_a_parameter(stack: Stack) -> None:
    for month in range(12):
        assert rotate(stack.parameter, NOW + month * MONTH)

    assert len(parse(stack.keys())) == 2
    assert len(stack.keys()) < 4096


def test_a_parameter_that_is_full_says_so_until_a_key_may_go(stack: Stack) -> None:
    """Fifty rotations by hand in some hours. Each key has signed tokens that are valid for eight days."""
    *moments, last = [NOW + (number + 1) * SIGNS_AFTER for number in range(54)]
    assert all(rotate(stack.parameter, moment) for moment in moments)
    full = stack.keys()

    with pytest.raises(Conflict, match="the parameter is full: tokens of each of its 54 keys may still") as told:
        rotate(stack.parameter, last)

    again = datetime.fromisoformat(str(told.value).split(" after ")[1][:19] + "Z")
    assert again - last < timedelta(days=8)
    with pytest.raises(Conflict):
        rotate(stack.parameter, again - timedelta(seconds=1))
    assert stack.keys() == full
    assert rotate(stack.parameter, again)


@pytest.mark.parametrize("writers", [1, 2])
def test_keys_that_are_replaced_by_hand_at_this_moment_stay(stack: Stack, writers: int) -> None:
    """An operator signs all users out between the rotator's read and its write; the second one, between its write and its
    look at what the first one has written."""
    by_hand = [f"{BY_HAND} {number}" for number in range(writers)]
    overtaken = Overtaken(stack.client, [lambda text=text: stack.parameter.replace(text) for text in by_hand])

    assert not rotate(KeyParameter(NAME, overtaken), NOW)

    assert stack.keys() == by_hand[-1]
    assert rotate(stack.parameter, NOW)
    assert [key for _, key in parse(stack.keys())][1:] == [by_hand[-1]]


def test_two_rotations_at_a_time_leave_one_key_that_both_know(stack: Stack) -> None:
    other: list[str] = []

    def rotates() -> None:
        assert rotate(stack.parameter, NOW)
        other.append(stack.keys())

    assert not rotate(KeyParameter(NAME, Overtaken(stack.client, [rotates])), NOW)

    assert [stack.keys()] == other


def test_no_key_is_replaced_where_ssm_refuses(stack: Stack) -> None:
    stack.client.delete_parameter(Name=NAME)

    with pytest.raises(ClientError):
        stack.door.lambda_handler({}, None)


class Overtaken:
    """SSM's client, with another writer before each of its first writes."""

    def __init__(self, client: Any, by: list[Callable[[], Any]]) -> None:
        self._client, self._by = client, by

    def put_parameter(self, **arguments: Any) -> Any:
        if self._by:
            self._by.pop(0)()
        return self._client.put_parameter(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
