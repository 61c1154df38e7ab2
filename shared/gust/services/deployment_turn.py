"""One deployment of the folder at a time; what comes meanwhile makes it look again before it ends.

A thousand files that are uploaded in a minute are a hundred events. Were each a deployment, they would parse the same files
many times over, and slow down the one that matters. The turn saves work; it is not what keeps state whole: two deployments
at once (a holder that only seemed dead) are put right by `activate_bundle`'s own conditions.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gust.errors import Stale, Unwell
from gust.model.bundle import DeploymentTurn
from gust.services.ports import DagStore, Deployments

LEASE: Final = timedelta(seconds=60)
"""Without a sign of life for so long, and for the time that parsing may take, the holder of the turn is dead."""

PARSING: Final = timedelta(seconds=1)
"""What parsing one file takes at most, as a rule."""

TRUSTED: Final = timedelta(seconds=10)
"""So long after its last sign of life the holder is believed to be alive."""


def request_deployment(store: DagStore, deployments: Deployments, name: str, now: datetime) -> str:
    """Start deployment `name`, or have the running one look again. Returns the name of the one that will look.

    Called twice with one name, it starts one deployment. Raises Unwell where the one that shall look again has been silent
    for a while: the request must be repeated later, and will then find it done or take its turn.
    """
    while True:
        turn = store.deployment_turn()
        if turn is None or turn.holder in ("", name) or turn.until < now:
            wanted = DeploymentTurn(holder=name, again=False, seen_at=now, until=now + LEASE)
        else:
            wanted = replace(turn, again=True)
        with suppress(Stale):
            store.move_deployment_turn(turn, wanted)
            break
    if wanted.holder == name:
        deployments.start(name)
    elif wanted.seen_at + TRUSTED < now:
        raise Unwell(f"Deployment {wanted.holder} has the turn and has not been heard of since {wanted.seen_at}")
    return wanted.holder


def keep_turn(store: DagStore, name: str, now: datetime, *, files: int = 0) -> None:
    """A sign of life of deployment `name`, which is about to look, or to have so many files parsed.

    About to look (`files=0`), it need not be told to look again.
    """
    while (turn := store.deployment_turn()) is not None and turn.holder == name:
        again = turn.again if files else False
        with suppress(Stale):
            wanted = replace(turn, again=again, seen_at=now, until=now + LEASE + files * PARSING)
            store.move_deployment_turn(turn, wanted)
            return


def give_up_turn(store: DagStore, name: str) -> bool:
    """Deployment `name` looked and found nothing. False: something came since it looked, and it must look again."""
    while (turn := store.deployment_turn()) is not None and turn.holder == name:
        if turn.again:
            return False
        with suppress(Stale):
            store.move_deployment_turn(turn, replace(turn, holder=""))
            return True
    return True
