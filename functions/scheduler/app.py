"""The scheduler's door: changes from the table's stream, wake-ups from SQS, and the tick of every minute.

All three come down to two verbs: `advance` one run, or make one DAG's due runs. Several records of one run in a batch are
one look at it. A record that fails is reported alone; the others of its batch are done.
"""

from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import bootstrap
from gust.model.keys import DagRunKey
from gust.model.workload import Wake, WakeDag, WakeRun
from gust.services.advance import advance
from gust.services.create_dag_run import create_due_runs
from gust.services.tick import tick
from gust.store import keyspace

log = Logger(service="scheduler")
services = bootstrap.from_environment()
Look = DagRunKey | WakeRun | WakeDag
wake_message: TypeAdapter[Wake] = TypeAdapter(Wake)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    records = event.get("Records")
    if records is None:
        log.info("tick", wakes=tick(services))
        return {}
    match records[0]["eventSource"]:
        case "aws:dynamodb":
            failed = each_key(records, by=changed_run, do=look, name=lambda r: r["dynamodb"]["SequenceNumber"])
        case "aws:sqs":
            failed = each_key(
                records, by=lambda r: wake_message.validate_json(r["body"]), do=look, name=lambda r: r["messageId"]
            )
        case source:
            raise ValueError(f"The scheduler knows no events from {source}")
    log.info("looked", records=len(records), failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def changed_run(record: dict[str, Any]) -> DagRunKey:
    pk = record["dynamodb"]["Keys"]["pk"]["S"]
    if (key := keyspace.run_key(pk)) is None:
        raise ValueError(f"{pk} is not the partition of a run")
    return key


def look(at: Look) -> None:
    match at:
        case WakeDag(dag_id=dag_id):
            create_due_runs(services, dag_id)
        case WakeRun(key=key):
            advance(services, key)
        case DagRunKey() as key:
            advance(services, key)


def each_key(
    records: list[dict[str, Any]],
    *,
    by: Callable[[dict[str, Any]], Look],
    do: Callable[[Look], None],
    name: Callable[[dict[str, Any]], str],
) -> list[str]:
    """Do once for every distinct key, in order of first appearance. Returns the names of the records that failed."""
    records_of: dict[Look, list[dict[str, Any]]] = {}
    failed: list[str] = []
    for record in records:
        try:
            records_of.setdefault(by(record), []).append(record)
        except ValueError:
            log.exception("A record could not be read", record=record)
            failed.append(name(record))
    for key, its in records_of.items():
        try:
            do(key)
        except Exception:
            log.exception("A run could not be brought forward", key=str(key))
            failed.extend(name(record) for record in its)
    return failed
