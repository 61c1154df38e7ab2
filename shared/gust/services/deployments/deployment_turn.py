"""One deployment of the folder at a time; an upload meanwhile makes it look again before it ends.

A thousand files uploaded in a minute are a hundred events. If each were a deployment, they would parse the same files many
times, and slow down the last one. The turn only saves work; the conditions of `activate_bundle` keep the state consistent
when two deployments run at once (because a holder only seemed dead).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from gust.errors import Stale
from gust.model.bundle import DeploymentTurn
from gust.ports.clock import Clock
from gust.ports.dags import DagStore
from gust.ports.deployments import Deployments

LEASE: Final = timedelta(seconds=30)
"""A holder counts as dead after this time without a sign of life, plus the time that parsing may take."""

RESTS: Final = timedelta(seconds=60)
"""How long a failed deployment waits before it begins anew (the state machine's `Rest`)."""

PARSING: Final = timedelta(seconds=5)
"""A generous time for parsing one file of a small plan."""

LONGEST_BUILD: Final = timedelta(minutes=11)
"""The longest time for a build: the timeout of the builder's function, and a cold start."""

LONGEST_ROUND: Final = timedelta(seconds=75)
"""The longest round of parsing: a cold start, 15 seconds in which files are begun, and the longest file."""


def request_deployment(store: DagStore, deployments: Deployments, name: str, now: datetime) -> str:
    """Start deployment `name`, or have the running one look again. Returns the name of the deployment that will look.

    Called twice with one name, it starts one deployment. The running one may be dead, however recent its last sign of life:
    so one more is started, which waits for it to end or to count as dead. All requests meanwhile share that one.
    """
    while True:
        turn = store.deployment_turn()
        wanted = holding(turn, name, now)
        is_mine = wanted is not None
        if wanted is None:
            assert turn is not None  # noqa: S101 - another deployment holds it
            wanted = replace(turn, again=True)
            if wanted == turn:
                break  # it looks at the folder after it has noted that it does, and this upload came before
        with suppress(Stale):
            store.move_deployment_turn(turn, wanted)
            break
    if is_mine:
        deployments.start(name)
    else:
        deployments.start(f"after-{sha256(wanted.holder.encode()).hexdigest()[:32]}")
    return wanted.holder


def take_turn(store: DagStore, name: str, now: datetime) -> DeploymentTurn | None:
    """Take the turn for deployment `name`, which is about to look at the folder. `None`: a living one has the turn."""
    while True:
        turn = store.deployment_turn()
        wanted = holding(turn, name, now)
        if wanted is None:
            return None
        with suppress(Stale):
            store.move_deployment_turn(turn, wanted)
            return wanted


def keep_turn(store: DagStore, name: str, now: datetime) -> None:
    """Store a sign of life of deployment `name`."""
    _move(store, name, lambda turn: replace(turn, until=now + LEASE))


def begin_round(store: DagStore, name: str, now: datetime, *, files: int, looked_at: datetime | None = None) -> None:
    """Note that deployment `name` begins a round in which that many files are parsed."""
    until = now + LEASE + min(files * PARSING, LONGEST_ROUND)
    _move(store, name, lambda turn: replace(turn, until=until, rounds=turn.rounds + 1, looked_at=looked_at))


def begin_builds(store: DagStore, name: str, now: datetime) -> None:
    """Deployment `name` is about to have environments built."""
    _move(store, name, lambda turn: replace(turn, until=now + LEASE + LONGEST_BUILD, looked_at=None))


def _move(store: DagStore, name: str, to: Callable[[DeploymentTurn], DeploymentTurn]) -> None:
    while (turn := store.deployment_turn()) is not None and turn.holder == name:
        with suppress(Stale):
            store.move_deployment_turn(turn, to(turn))
            return


class SignsOfLife:
    """Keeps the turn of deployment `name`, as long as it is called at least every few seconds, between two pieces of
    work."""

    def __init__(self, store: DagStore, name: str, clock: Clock) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        self._next = clock.now() + LEASE / 3

    def __call__(self) -> None:
        """May be called by several threads."""
        if (now := self._clock.now()) >= self._next:
            self._next = now + LEASE / 3
            keep_turn(self._store, self._name, now)


def give_up_turn(store: DagStore, name: str) -> bool:
    """Give up the turn after a look that found nothing. False: files came since the look, and it must look again."""
    while (turn := store.deployment_turn()) is not None and turn.holder == name:
        if turn.again:
            return False
        with suppress(Stale):
            store.move_deployment_turn(turn, replace(turn, holder=""))
            return True
    return True


def holding(turn: DeploymentTurn | None, name: str, now: datetime) -> DeploymentTurn | None:
    """The turn with `name` as its holder; `None` if another deployment has it and does not count as dead."""
    if turn is not None and turn.holder not in ("", name) and now <= turn.until:
        return None
    until = now + LEASE
    if turn is not None and turn.holder == name:
        return replace(turn, again=False, until=until)
    return DeploymentTurn(holder=name, again=False, until=until, began=now)
