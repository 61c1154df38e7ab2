"""One deployment of the folder at a time; what comes meanwhile makes it look again before it ends.

A thousand files that are uploaded in a minute are a hundred events. Were each a deployment, they would parse the same files
many times over, and slow down the one that matters. The turn saves work; it is not what keeps state whole: two deployments
at once (a holder that only seemed dead) are put right by `activate_bundle`'s own conditions.
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
"""Silent for so long, and for the time that parsing may take, the holder of the turn is dead."""

RESTS: Final = timedelta(seconds=60)
"""So long a deployment that failed waits before it begins anew (the state machine's `Rest`)."""

PARSING: Final = timedelta(seconds=5)
"""What parsing one of few files takes, generously."""

LONGEST_BUILD: Final = timedelta(minutes=11)
"""What building environments can take: as long as the builder's function may run, and a cold start."""

LONGEST_ROUND: Final = timedelta(seconds=75)
"""What a round of parsing can take: a cold start, 15 seconds in which files are begun, and the longest file."""


def request_deployment(store: DagStore, deployments: Deployments, name: str, now: datetime) -> str:
    """Start deployment `name`, or have the running one look again. Returns the name of the one that will look.

    Called twice with one name, it starts one deployment. The running one may be dead, however lately it was seen: another
    is started that waits for it to end or to be held for dead, one for all who ask.
    """
    while True:
        turn = store.deployment_turn()
        wanted = holding(turn, name, now)
        is_mine = wanted is not None
        if wanted is None:
            assert turn is not None  # noqa: S101 - somebody else holds it
            wanted = replace(turn, again=True)
        with suppress(Stale):
            store.move_deployment_turn(turn, wanted)
            break
    if is_mine:
        deployments.start(name)
    else:
        deployments.start(f"after-{sha256(wanted.holder.encode()).hexdigest()[:32]}")
    return wanted.holder


def take_turn(store: DagStore, name: str, now: datetime) -> DeploymentTurn | None:
    """Deployment `name` is about to look at the folder. None: another one that lives has the turn."""
    while True:
        turn = store.deployment_turn()
        wanted = holding(turn, name, now)
        if wanted is None:
            return None
        with suppress(Stale):
            store.move_deployment_turn(turn, wanted)
            return wanted


def keep_turn(store: DagStore, name: str, now: datetime) -> None:
    """A sign of life of deployment `name`."""
    _move(store, name, lambda turn: replace(turn, until=now + LEASE))


def begin_round(store: DagStore, name: str, now: datetime, *, files: int, looked_at: datetime | None = None) -> None:
    """Deployment `name` is about to have so many files parsed."""
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
    """Keeps the turn of deployment `name` for as long as it is called between two pieces of work, at every few seconds."""

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
    """Deployment `name` looked and found nothing. False: something came since it looked, and it must look again."""
    while (turn := store.deployment_turn()) is not None and turn.holder == name:
        if turn.again:
            return False
        with suppress(Stale):
            store.move_deployment_turn(turn, replace(turn, holder=""))
            return True
    return True


def holding(turn: DeploymentTurn | None, name: str, now: datetime) -> DeploymentTurn | None:
    """The turn in the hands of `name`; `None` where another deployment has it and is not held for dead."""
    if turn is not None and turn.holder not in ("", name) and now <= turn.until:
        return None
    until = now + LEASE
    if turn is not None and turn.holder == name:
        return replace(turn, again=False, until=until)
    return DeploymentTurn(holder=name, again=False, until=until, began=now)
