"""What `test_operators` proves about the amazon provider's operators, as declarations: docs/operators.md is made of them.

Each service has a file of DAGs in `operators/`: `aws_<service>` succeeds, `aws_<service>_fails` fails, and the tasks of
`aws_<service>_killed` run until a person marks them. A `Proof` says of one of their tasks what the run must show; the test
fails if the task's class, state, log, XCom, link or deferral is another, so the page holds nothing that no run has shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

DAGS: Final = Path(__file__).parent / "operators"


class Against(StrEnum):
    MINISTACK = "MiniStack"
    MOTO = "moto"
    SCRIPT = "scripted answers"


class Ending(StrEnum):
    SUCCESS = "success"
    FAILURE = "failed"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Of one task."""

    task: str
    operator: str
    against: Against = Against.MINISTACK
    ending: Ending = Ending.SUCCESS
    deferred: bool = False
    """It waited in the triggerer."""
    log: str = ""
    """A regular expression that its log has."""
    xcom: str = ""
    """A regular expression that its return value, as JSON, has."""
    link: str = ""
    """The name of an extra link."""
    leads_to: str = ""
    """What the link's URL has."""


@dataclass(frozen=True, kw_only=True)
class Case:
    service: str
    name: str
    """Of the DAG file and, after `aws_`, of its DAGs."""
    proofs: tuple[Proof, ...]
    not_proven: str

    @property
    def file(self) -> Path:
        return DAGS / f"{self.name}.py"

    def dag_id(self, ending: Ending) -> str:
        suffix = {Ending.SUCCESS: "", Ending.FAILURE: "_fails", Ending.KILLED: "_killed"}[ending]
        return f"aws_{self.name}{suffix}"

    def of(self, ending: Ending) -> tuple[Proof, ...]:
        return tuple(proof for proof in self.proofs if proof.ending is ending)

    def dags(self) -> Iterator[tuple[str, tuple[Proof, ...]]]:
        """The DAGs that need no person, and their proofs."""
        for ending in (Ending.SUCCESS, Ending.FAILURE):
            if found := self.of(ending):
                yield self.dag_id(ending), found


def fails(task: str, operator: str, **more: object) -> Proof:
    return Proof(task=task, operator=operator, ending=Ending.FAILURE, **more)  # type: ignore[arg-type]


def killed(task: str, operator: str, **more: object) -> Proof:
    return Proof(task=task, operator=operator, ending=Ending.KILLED, **more)  # type: ignore[arg-type]


MOTO, SCRIPT = Against.MOTO, Against.SCRIPT

GLUE_RUN = "AWS Glue Job Run Details"

CASES: Final = (
    Case(
        service="Glue jobs",
        name="glue",
        proofs=(
            Proof(
                task="runs",
                operator="GlueJobOperator",
                log="AWS Glue Job: report status: SUCCEEDED",
                xcom=r"^\"[-0-9a-f]{36}\"$",
                link=GLUE_RUN,
                leads_to="gluestudio/home?region=us-east-1#/job/report/run/",
            ),
            Proof(
                task="runs_deferred",
                operator="GlueJobOperator",
                deferred=True,
                xcom=r"^\"[-0-9a-f]{36}\"$",
                link=GLUE_RUN,
            ),
            Proof(task="sees", operator="GlueJobSensor", log="Run State: SUCCEEDED"),
            Proof(task="sees_deferred", operator="GlueJobSensor", deferred=True, log="AWS Glue Job completed"),
            fails("fails", "GlueJobOperator", log="Run State: FAILED"),
            fails("fails_deferred", "GlueJobOperator", deferred=True, log="Error in glue job"),
            killed("lasts", "GlueJobOperator", log="Stopping AWS Glue Job: long"),
        ),
        not_proven="Spark jobs (MiniStack runs Python shell scripts), verbose logs, data quality rules",
    ),
    Case(
        service="Batch",
        name="batch",
        proofs=(
            Proof(
                task="runs",
                operator="BatchOperator",
                against=SCRIPT,
                log=r"AWS Batch job \(job-\d+\) succeeded",
                xcom=r"job-\d+",
                link="Batch Job Details",
                leads_to="jobs/detail/job-",
            ),
            Proof(
                task="runs_deferred",
                operator="BatchOperator",
                against=SCRIPT,
                deferred=True,
                xcom=r"job-\d+",
                link="Batch Job Queue",
            ),
            Proof(task="sees", operator="BatchSensor", against=SCRIPT),
            Proof(task="sees_deferred", operator="BatchSensor", against=SCRIPT, deferred=True),
            fails("fails", "BatchOperator", against=SCRIPT, log=r"AWS Batch job \(job-\d+\) failed"),
            fails("fails_deferred", "BatchOperator", against=SCRIPT, deferred=True, log="Error while running job"),
            killed("lasts", "BatchOperator", against=SCRIPT, log=r"AWS Batch job \(job-\d+\) terminated"),
        ),
        not_proven="compute environments, array jobs",
    ),
    Case(
        service="SageMaker",
        name="sagemaker",
        proofs=(
            Proof(
                task="trains", operator="SageMakerTrainingOperator", against=MOTO, xcom="TrainingJobStatus.*Completed"
            ),
            Proof(task="sees", operator="SageMakerTrainingSensor", against=MOTO),
            Proof(task="makes_model", operator="SageMakerModelOperator", against=MOTO, xcom="ModelArn"),
            Proof(
                task="trains_deferred",
                operator="SageMakerTrainingOperator",
                against=SCRIPT,
                deferred=True,
                xcom="Completed",
            ),
            fails("fails", "SageMakerTrainingOperator", against=SCRIPT, log="AlgorithmError: no rows"),
            fails(
                "fails_deferred",
                "SageMakerTrainingOperator",
                against=SCRIPT,
                deferred=True,
                log="Error while running job",
            ),
        ),
        not_proven="processing, transform, tuning, endpoints, pipelines. The operators have no on_kill",
    ),
)
