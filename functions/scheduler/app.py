"""The scheduler's door: changes from the table's stream, wake-ups from SQS, and the tick of every minute.

All three come down to four verbs: `advance` one run or one backfill, make one DAG's due runs (and those that events of its
assets have triggered), or give out the slots of one limit. Several records of one run in a batch are one look at it. A
message that fails is reported alone; the others of its batch are done.

A stream knows no "alone": what is reported failed comes again with everything behind it, and holds up its lane until it
is given up. So a run that cannot be brought forward is looked at again by way of SQS, and a record that is none is
dropped: it would be none the next time.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import bootstrap
from gust.model.keys import DagRunKey
from gust.model.workload import TellListeners, Wake, WakeBackfill, WakeDag, WakeLimit, WakeRun, WakeWatcher
from gust.services.advance import advance
from gust.services.advance_backfill import advance_backfill
from gust.services.create_dag_run import create_due_runs
from gust.services.give_up import put_off
from gust.services.grant_slots import grant_slots
from gust.services.tell_listeners import have_worker_tell
from gust.services.tick import tick
from gust.store import keyspace

log = Logger(service="scheduler")
services = bootstrap.from_environment()
K = TypeVar("K", bound=Hashable)
LOOK_AGAIN_AFTER: Final = 5
"""Seconds. What was unwell for a moment is well by then."""

wake_message: TypeAdapter[Wake] = TypeAdapter(Wake)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    records = event.get("Records")
    if records is None:
        log.info("tick", wakes=tick(services))
        return {}
    match records[0]["eventSource"]:
        case "aws:dynamodb":
            failed = each_key(
                [record for record in records if can_be_read(record)],
                by=what_changed,
                do=look_or_wake,
                name=lambda r: r["dynamodb"]["SequenceNumber"],
            )
        case "aws:sqs":
            failed = each_key(
                records, by=lambda r: wake_message.validate_json(r["body"]), do=look, name=lambda r: r["messageId"]
            )
        case source:
            raise ValueError(f"The scheduler knows no events from {source}")
    log.info("looked", records=len(records), failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def can_be_read(record: dict[str, Any]) -> bool:
    try:
        what_changed(record)
    except (ValueError, LookupError, TypeError):
        log.exception("A record could not be read; it is dropped", record=record)
        return False
    return True


def what_changed(record: dict[str, Any]) -> DagRunKey | WakeLimit | str:
    """A run, a limit whose slots were given back or which a person changed, or a DAG for which an event waits."""
    pk = record["dynamodb"]["Keys"]["pk"]["S"]
    if (limit := keyspace.limit_of(pk)) is not None:
        return WakeLimit(limit=limit)
    if (dag_id := keyspace.queue_owner(pk)) is not None:
        return dag_id
    if (key := keyspace.run_key(pk)) is None:
        raise ValueError(f"{pk} is the partition of neither a run, nor a limit, nor a DAG's assets")
    return key


def look_or_wake(changed: DagRunKey | WakeLimit | str) -> None:
    """Raises where neither worked."""
    again: Wake
    try:
        match changed:
            case WakeLimit(limit=limit):
                grant_slots(services, limit)
            case DagRunKey():
                advance(services, changed)
            case dag_id:
                create_due_runs(services, dag_id)
    except Exception:
        log.exception("What changed could not be brought forward; it is looked at again", changed=str(changed))
        again = changed if isinstance(changed, WakeLimit) else wake_of(changed)
        services.queues.wake(again, delay=LOOK_AGAIN_AFTER)


def wake_of(changed: DagRunKey | str) -> WakeRun | WakeDag:
    now = services.clock.now()
    if isinstance(changed, str):
        return WakeDag(dag_id=changed, at=now)
    return WakeRun(dag_id=changed.dag_id, run_id=changed.run_id, at=now)


def look(at: Wake) -> None:
    match at:
        case WakeDag(dag_id=dag_id):
            create_due_runs(services, dag_id)
        case WakeBackfill(backfill_id=backfill_id):
            advance_backfill(services, backfill_id)
        case WakeLimit(limit=limit):
            grant_slots(services, limit)
        case WakeWatcher(watcher_id=watcher_id):
            # Imported here: few stacks have any.
            from gust.services.watchers import look_after_watcher

            look_after_watcher(services, watcher_id)
        case TellListeners():
            have_worker_tell(services, at)
        case WakeRun(key=key):
            try:
                advance(services, key)
            except Exception as error:
                if not put_off(services, key, error):
                    raise


def each_key(
    records: list[dict[str, Any]],
    *,
    by: Callable[[dict[str, Any]], K],
    do: Callable[[K], None],
    name: Callable[[dict[str, Any]], str],
) -> list[str]:
    """Do once for every distinct key, in order of first appearance. Returns the names of the records that failed."""
    records_of: dict[K, list[dict[str, Any]]] = {}
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
