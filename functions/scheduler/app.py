"""The scheduler's door: records of the table's stream, wake-ups and uploads from SQS, the tick of every minute, and the word
of state machine fargate_task that a container is gone.

Every record becomes a `Wake`, and one function handles each kind: it advances one run or one backfill, makes one DAG's due
runs (and its asset-triggered ones), gives out the slots of one limit, and so on. On the queue of wake-ups are events of AWS,
too, for which parked triggers may wait. Records of a batch that ask for the same wake-up are handled together: of the
changes of one run, a quick look mostly tells that nothing follows.

A message that fails is reported alone; the others of its batch are done. A stream delivers a failed record again together
with every record behind it, and stops its shard until it gives the record up. So a wake-up of the stream that fails is
requeued by way of SQS, and a record that cannot be read is dropped: it could not be read the next time either.
"""

from gust import collector

collector.disable_gc()

import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import TypeAdapter

from gust import bootstrap
from gust.aws.uploads import is_upload
from gust.function_log import function_log
from gust.model.awaited import is_state_event, resource_of
from gust.model.workload import (
    TellListeners,
    Wake,
    WakeBackfill,
    WakeDag,
    WakeDeployment,
    WakeLimit,
    WakeReaders,
    WakeRun,
    WakeWaiting,
    WakeWatcher,
)
from gust.scheduling.quick_look import Change
from gust.services.assets.tell_listeners import have_worker_tell
from gust.services.backfills.advance_backfill import advance_backfill
from gust.services.deployments.deployment_turn import request_deployment
from gust.services.runs.create_dag_run import create_due_runs
from gust.services.scheduler.advance import advance
from gust.services.scheduler.follow import follow, ring
from gust.services.scheduler.give_up import back_off
from gust.services.scheduler.grant_slots import grant_slots
from gust.services.scheduler.tick import tick
from gust.services.scheduler.wake_waiting import wake_waiting
from gust.services.settings.settings_read import setting_changed
from gust.services.time_left import TimeLeft
from gust.services.worker.report_container import report_container
from gust.store import stream

log = function_log("scheduler")
services = bootstrap.from_environment()
collector.freeze_gc()
# A look at a run of 10,000 instances makes some hundred thousand objects and hardly a cycle. To go through them again and
# again takes a quarter of its time.
gc.set_threshold(50_000)
REQUEUED_FOR: Final = 5
"""Seconds. A service that failed for a moment answers again by then."""

wake_message: TypeAdapter[Wake] = TypeAdapter(Wake)


@dataclass(slots=True)
class RecordGroup:
    """What the records of a batch that ask for the same wake-up have in common."""

    names: list[str] = field(default_factory=list)
    """What Lambda calls them."""
    changes: list[Change | None] = field(default_factory=list)


@bootstrap.metrics().flushes
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if (container := event.get("container")) is not None:
        log.info("container", dispatch=container["dispatch"])
        report_container(services, container, at=services.clock.now())
        return {}
    records = event.get("Records")
    if records is None:
        log.info("tick", wakes=tick(services, asked_at=event.get("time")))
        return {}
    match records[0]["eventSource"]:
        case "aws:dynamodb":
            failed = handle_stream(records)
        case "aws:sqs":
            failed = handle_messages(records)
        case source:
            raise ValueError(f"The scheduler knows no events from {source}")
    tell = log.info if failed else log.debug
    tell("looked", records=len(records), failed=len(failed))
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def handle_stream(records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the names of the records that could be neither handled nor requeued."""
    wakes: dict[Wake, RecordGroup] = {}
    now = services.clock.now()
    for record in records:
        try:
            group = wakes.setdefault(stream.wake_of(record, now=now), RecordGroup())
        except (ValueError, LookupError, TypeError):
            log.exception("A record could not be read; it is dropped", record=record)
        else:
            group.names.append(record["dynamodb"]["SequenceNumber"])
            group.changes.append(stream.change_in(record))
    return each(wakes, handle_or_requeue)


def handle_messages(records: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the names of the messages that failed."""
    wakes: dict[Wake, RecordGroup] = {}
    unreadable: list[str] = []
    uploads: list[str] = []
    for record in records:
        try:
            wake = wake_in(record["body"])
        except (ValueError, RecursionError):
            if is_upload(record["body"]):
                uploads.append(record["messageId"])
                continue
            log.exception("A message could not be read", record=record)
            unreadable.append(record["messageId"])
        else:
            if wake is not None:
                wakes.setdefault(wake, RecordGroup()).names.append(record["messageId"])
    if uploads:
        # One deployment of the whole folder for all of them; the same one if the batch is delivered twice.
        wakes[WakeDeployment(name=f"upload-{uploads[0]}")] = RecordGroup(uploads)
    time_left = TimeLeft.of(services.clock)
    return unreadable + each(wakes, lambda wake, _: handle_or_back_off(wake, time_left))


def wake_in(body: str) -> Wake | None:
    """A message of Gust, or an event of AWS for which triggers may wait; None for one of a state that they do not wait for.
    Raises ValueError for any other text."""
    raw = json.loads(body)
    if not (isinstance(raw, dict) and is_state_event(raw)):
        return wake_message.validate_json(body)
    resource = resource_of(raw)
    return None if resource is None else WakeWaiting(resource=resource)


def each(wakes: dict[Wake, RecordGroup], do: Callable[[Wake, RecordGroup], None]) -> list[str]:
    """Returns the names of the records whose wake-up failed."""
    failed: list[str] = []
    for wake, group in wakes.items():
        try:
            do(wake, group)
        except Exception:
            log.exception("A wake-up could not be handled", wake=str(wake))
            failed.extend(group.names)
    return failed


def handle_or_requeue(wake: Wake, group: RecordGroup) -> None:
    """Raises where neither worked."""
    known = [change for change in group.changes if change is not None]
    try:
        handle(wake, changes=known if len(known) == len(group.changes) else None)
    except Exception:
        log.exception("A wake-up of the stream could not be handled; it is requeued", wake=str(wake))
        services.queues.wake(wake, delay=REQUEUED_FOR)


def handle_or_back_off(wake: Wake, time_left: TimeLeft) -> None:
    """`time_left`: to go on with people's edits, of which one may take all of it. Others are due again within the minute."""
    try:
        handle(wake, goes_on_with_edits=not time_left.is_over)
    except Exception as error:
        if not (isinstance(wake, WakeRun) and back_off(services, wake.key, error)):
            raise


def handle(wake: Wake, *, changes: list[Change] | None = None, goes_on_with_edits: bool = False) -> None:
    """`changes`: all that happened to the run, where the records tell of instances alone."""
    match wake:
        case WakeRun(is_timer=True):
            ring(services, wake.key, goes_on_with_edits=goes_on_with_edits)
        case WakeRun() if changes is not None:
            follow(services, wake.key, changes)
        case WakeRun():
            advance(services, wake.key, goes_on_with_edits=goes_on_with_edits)
        case WakeDag():
            create_due_runs(services, wake.dag_id)
        case WakeBackfill():
            advance_backfill(services, wake.backfill_id)
        case WakeLimit():
            grant_slots(services, wake.limit)
        case WakeDeployment():
            request_deployment(services.store, services.deployments, wake.name, services.clock.now())
        case WakeReaders():
            setting_changed(services, wake.namespace, wake.key)
        case WakeWatcher():
            # Imported here: few stacks have any.
            from gust.services.assets.watchers import look_after_watcher

            look_after_watcher(services, wake.watcher_id)
        case WakeWaiting():
            wake_waiting(services, wake.resource, after=wake.after)
        case TellListeners():
            have_worker_tell(services, wake)
        case _:
            assert_never(wake)
