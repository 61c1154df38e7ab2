"""Step Functions: the state machine deploy_bundle."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StepFunctionsDeployments:
    state_machine_arn: str
    client: Any

    def start(self, name: str) -> None:
        try:
            self.client.start_execution(stateMachineArn=self.state_machine_arn, name=name, input="{}")
        except self.client.exceptions.ExecutionAlreadyExists:
            return
