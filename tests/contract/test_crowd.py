"""One of many runs, and one of many DAGs that are due, costs what one of few costs: in units, counted."""

from __future__ import annotations

from benches.crowd import dags_due, runs_at_once
from tests.contract.stores import Aws

SLACK = 1.05


def test_a_run_among_many_costs_no_more(aws: Aws) -> None:
    """A run that looked at every other one before it started made the start of n runs n² reads."""
    few, many = (runs_at_once(aws.dynamodb, aws.streams, number) for number in (2, 10))
    assert many.reads <= SLACK * few.reads
    assert many.writes <= SLACK * few.writes
    assert many.invocations <= SLACK * few.invocations
    assert many.messages <= SLACK * few.messages


def test_a_dag_due_among_many_costs_no_more(aws: Aws) -> None:
    few, many = (dags_due(aws.dynamodb, aws.streams, number) for number in (2, 10))
    assert many.reads <= SLACK * few.reads
    assert many.writes <= SLACK * few.writes
    assert many.invocations <= SLACK * few.invocations
