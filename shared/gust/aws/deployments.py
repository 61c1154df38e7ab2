"""Step Functions: the state machine deploy_bundle."""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class StepFunctionsDeployments:
    state_machine_arn: str
    client: Any
    _last: str = field(default="", init=False)
    """The name that Step Functions took last. A second call with it changes nothing for 90 days, and all batches of a burst
    of uploads ask for the same: Step Functions starts some hundred a second for the whole account."""

    def start(self, name: str) -> None:
        if name == self._last:
            return
        with suppress(self.client.exceptions.ExecutionAlreadyExists):
            self.client.start_execution(stateMachineArn=self.state_machine_arn, name=name, input="{}")
        self._last = name
