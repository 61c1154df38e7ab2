"""Have the folder deployed. One deployment runs at a time; what comes meanwhile makes it look again before it ends.

A thousand files that are uploaded in a minute are a hundred events. Were each a deployment, they would parse the same
files many times over, and slow down the one that matters.
"""

from dataclasses import replace

from gust.errors import Stale
from gust.model.bundle import DeploymentTurn
from gust.services.ports import DagStore, Deployments


def request_deployment(store: DagStore, deployments: Deployments, name: str) -> str:
    """Start deployment `name`, or have the running one take another snapshot. Returns the name of the one that will.

    A holder of the turn that does not run any more has died: its turn is taken over. Called twice with one name, it
    starts one deployment.
    """
    while True:
        turn = store.deployment_turn()
        if turn is not None and turn.holder not in ("", name) and deployments.is_running(turn.holder):
            wanted = replace(turn, again=True)
        else:
            wanted = DeploymentTurn(holder=name, again=False)
        try:
            store.move_deployment_turn(turn, wanted)
        except Stale:
            continue
        if wanted.holder == name:
            deployments.start(name)
        return wanted.holder
