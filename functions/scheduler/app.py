"""The scheduler's door: changes from the table's stream, wake-ups from SQS, and the tick of every minute.

The stream's records of one run in a batch are followed together: mostly a quick look tells that nothing comes of them.

All three come down to four verbs: `advance` one run or one backfill, make one DAG's due runs (and those that events of its
assets have triggered), or give out the slots of one limit. Several records of one run in a batch are one look at it. A
message that fails is reported alone; the others of its batch are done.

A stream knows no "alone": what is reported failed comes again with everything behind it, and holds up its lane until it
is given up. So a run that cannot be brought forward is looked at again by way of SQS, and a record that is none is
dropped: it would be none the next time.
"""

import gc
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import bootstrap
from gust.model.keys import DagRunKey
from gust.model.workload import (
    TellListeners,
    Wake,
    WakeBackfill,
    WakeDag,
    WakeDeployment,
    WakeLimit,
    WakeRun,
    WakeWatcher,
)
from gust.scheduling.quick_look import Change
from gust.services.assets.tell_listeners import have_worker_tell
from gust.services.backfills.advance_backfill import advance_backfill
from gust.services.deployments.deployment_turn import request_deployment
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import follow, ring
from gust.services.scheduler.give_up import put_off
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.scheduler.tick import tick
from gust.services.settings.settings_read import setting_changed
from gust.services.time_left import TimeLeft
from gust.store import keyspace

log = Logger(service="scheduler")
services = bootstrap.from_environment()
# A look at a run of 10,000 instances makes some hundred thousand objects and hardly a cycle. To go through them again and
# again takes a quarter of its time.
gc.freeze()
gc.set_threshold(50_000)
K = TypeVar("K", bound=Hashable)
LOOK_AGAIN_AFTER: Final = 5
"""Seconds. A service that failed for a moment answers again by then."""


class ChangedSetting(NamedTuple):
    namespace: str
    key: str


Changed = DagRunKey | WakeLimit | ChangedSetting | str

wake_message: TypeAdapter[Wake] = TypeAdapter(Wake)


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    records = event.get("Records")
    if records is None:
        log.info("tick", wakes=tick(services))
        return {}
    match records[0]["eventSource"]:
        case "aws:dynamodb":
            readable = [record for record in records if can_be_read(record)]
            failed = each_key(
                readable,
                by=what_changed,
                do=lambda changed: look_or_wake(changed, changes_of(changed, readable)),
                name=lambda r: r["dynamodb"]["SequenceNumber"],
            )
        case "aws:sqs":
            failed = each_key(
                records,
                by=lambda r: wake_message.validate_json(r["body"]),
                do=partial(look, time_left=TimeLeft.of(services.clock)),
                name=lambda r: r["messageId"],
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


def what_changed(record: dict[str, Any]) -> Changed:
    """A run, a limit whose slots were given back or which a person changed, a DAG for which an event waits, or a variable or
    connection."""
    pk = record["dynamodb"]["Keys"]["pk"]["S"]
    if (namespace := keyspace.namespace_of(pk)) is not None:
        return ChangedSetting(namespace, keyspace.unescape(record["dynamodb"]["Keys"]["sk"]["S"]))
    if (limit := keyspace.limit_of(pk)) is not None:
        return WakeLimit(limit=limit)
    if (dag_id := keyspace.queue_owner(pk)) is not None:
        return dag_id
    if (key := keyspace.run_key(pk)) is None:
        raise ValueError(f"{pk} is the partition of neither a run, nor a limit, nor a DAG's assets, nor settings")
    return key


def changes_of(changed: Changed, records: list[dict[str, Any]]) -> list[Change] | None:
    """What the records tell of a run's instances; `None` where one of them tells of something else, or not enough."""
    if not isinstance(changed, DagRunKey):
        return None
    changes = [change_in(record) for record in records if what_changed(record) == changed]
    return None if None in changes else [change for change in changes if change is not None]


def change_in(record: dict[str, Any]) -> Change | None:
    """`None` for a record of the run itself, and of an instance that is gone."""
    keys, image = record["dynamodb"]["Keys"], record["dynamodb"].get("NewImage")
    try:
        key = keyspace.instance_key(keyspace.Key(keys["pk"]["S"], keys["sk"]["S"]))
        if key is None or image is None:
            return None
        return Change(key.task_id, key.map_index, image["edge"]["S"], int(image["dispatch_count"]["N"]))
    except (ValueError, LookupError, TypeError):
        return None


def look_or_wake(changed: Changed, changes: list[Change] | None) -> None:
    """Raises where neither worked."""
    try:
        match changed:
            case ChangedSetting(namespace, key):
                setting_changed(services, namespace, key)
            case WakeLimit(limit=limit):
                grant_slots(services, limit)
            case DagRunKey():
                follow(services, changed, changes)
            case dag_id:
                create_due_runs(services, dag_id)
    except Exception:
        log.exception("What changed could not be brought forward; it is looked at again", changed=str(changed))
        services.queues.wake(wake_of(changed), delay=LOOK_AGAIN_AFTER)


def wake_of(changed: Changed) -> Wake:
    now = services.clock.now()
    match changed:
        case WakeLimit():
            return changed
        case DagRunKey():
            return WakeRun(dag_id=changed.dag_id, run_id=changed.run_id, at=now)
        case ChangedSetting():
            # A look that may be for nothing: whether anything has read it could not be found out.
            return WakeDeployment(name=f"settings-{uuid4()}")
        case dag_id:
            return WakeDag(dag_id=dag_id, at=now)


def look(at: Wake, time_left: TimeLeft) -> None:
    """`time_left`: to go on with people's edits, of which one may take all of it. Others are due again within the minute."""
    match at:
        case WakeDag(dag_id=dag_id):
            create_due_runs(services, dag_id)
        case WakeBackfill(backfill_id=backfill_id):
            advance_backfill(services, backfill_id)
        case WakeLimit(limit=limit):
            grant_slots(services, limit)
        case WakeDeployment(name=name):
            request_deployment(services.store, services.deployments, name, services.clock.now())
        case WakeWatcher(watcher_id=watcher_id):
            # Imported here: few stacks have any.
            from gust.services.assets.watchers import look_after_watcher

            look_after_watcher(services, watcher_id)
        case TellListeners():
            have_worker_tell(services, at)
        case WakeRun(key=key):
            try:
                bring_forward = ring if at.is_timer else advance
                bring_forward(services, key, goes_on_with_edits=not time_left.is_over)
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
