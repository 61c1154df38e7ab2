"""The queues: SQS and its twin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gust.aws.memory import MemoryQueues
from gust.aws.queues import COMES_BACK_AFTER, HIDDEN_FOR, Receipt, SqsQueues
from gust.errors import ServiceUnavailable
from gust.model.worker_group import WorkerGroup
from gust.model.workload import ConnectionTestWorkload, TaskWorkload, TriggerWorkload, WakeDag, WakeRun
from tests.contract.given import NOW
from tests.contract.stores import Aws


def a_task(number: int, *, weight: int = 1) -> TaskWorkload:
    return TaskWorkload(
        dag_id="etl",
        run_id="r",
        task_id="ü",
        map_index=number,
        try_number=1,
        dispatch_count=1,
        max_tries=0,
        version_number=1,
        bundle_name="dags-folder",
        bundle_version=None,
        relative_fileloc="etl.py",
        queue="default",
        token="t" * weight,
    )


def a_trigger(number: int) -> TriggerWorkload:
    return TriggerWorkload(
        dag_id="etl", run_id="r", task_id="t", map_index=number, try_number=1, dispatch_count=1, token="t"
    )


A_TEST = ConnectionTestWorkload(test_id=str(uuid4()), connection_id="pg", timeout=60, token="t")


@dataclass
class Wire:
    """An SQS client that keeps what it is sent and answers what it is told to."""

    answers: list[Any] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def send_message_batch(self, **arguments: Any) -> Any:
        return self._answer(arguments)

    def send_message(self, **arguments: Any) -> Any:
        return self._answer(arguments)

    def get_queue_attributes(self, **arguments: Any) -> Any:
        return self._answer(arguments)

    def change_message_visibility(self, **arguments: Any) -> Any:
        return self._answer(arguments)

    def _answer(self, arguments: dict[str, Any]) -> Any:
        self.sent.append(arguments)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def sqs(client: Any, *, tasks: str = "tasks", triggers: str = "triggers", wakes: str = "wakes") -> SqsQueues:
    return SqsQueues(client, task_queue_url=tasks, trigger_queue_url=triggers, wake_queue_url=wakes)


def refusal(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "SendMessageBatch")


# --- on the emulator --------------------------------------------------------------------------------------------------


@pytest.fixture
def queue_url(aws: Aws) -> Iterator[str]:
    url = aws.sqs.create_queue(QueueName=f"gust-{uuid4().hex}")["QueueUrl"]
    yield url
    aws.sqs.delete_queue(QueueUrl=url)


def test_what_is_sent_arrives(aws: Aws, queue_url: str) -> None:
    queues = sqs(aws.sqs, tasks=queue_url, triggers=queue_url, wakes=queue_url)
    tasks = [a_task(n) for n in range(12)]
    assert queues.send_tasks(tasks) == []
    assert queues.send_connection_test(A_TEST)
    queues.send_triggers([a_trigger(1)])
    queues.wake(WakeRun(dag_id="etl", run_id="r", at=NOW))
    queues.wake(WakeDag(dag_id="etl", at=NOW), delay=0)
    bodies: list[dict[str, Any]] = []
    while messages := aws.sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
        bodies += [json.loads(message["Body"]) for message in messages]
        for message in messages:
            aws.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    arrived = [TaskWorkload.model_validate(body) for body in bodies if body["kind"] == "task"]
    assert sorted(arrived, key=lambda task: task.map_index) == tasks
    assert [ConnectionTestWorkload.model_validate(b) for b in bodies if b["kind"] == "connection_test"] == [A_TEST]
    others = {"task", "connection_test"}
    assert sorted(body["kind"] for body in bodies if body["kind"] not in others) == ["trigger", "wake_dag", "wake_run"]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_tasks_go_in_tens(aws: Aws) -> None:
    wire = Wire()
    assert sqs(wire).send_tasks([a_task(n) for n in range(23)]) == []
    assert [len(sent["Entries"]) for sent in wire.sent] == [10, 10, 3]
    assert {sent["QueueUrl"] for sent in wire.sent} == {"tasks"}
    sqs(wire).send_tasks([])
    assert len(wire.sent) == 3


def test_wakes_go_in_tens_each_with_its_delay() -> None:
    """A tick may find thousands due, and has a minute."""
    wire = Wire()
    wakes = [(WakeRun(dag_id="etl", run_id=f"r{n}", at=NOW), n / 2) for n in range(23)]
    sqs(wire).wake_all(wakes)
    assert [len(sent["Entries"]) for sent in wire.sent] == [10, 10, 3]
    assert [entry["DelaySeconds"] for entry in wire.sent[1]["Entries"]] == [5, 6, 6, 7, 7, 8, 8, 9, 9, 10]
    sqs(wire).wake_all([])
    assert len(wire.sent) == 3


def test_wakes_that_sqs_refuses_do_not_keep_the_others_back() -> None:
    wire = Wire([refusal("ServiceUnavailable", 503), {"Failed": [{"Id": "0"}]}])
    with pytest.raises(ServiceUnavailable, match="11 of 25"):
        sqs(wire).wake_all([(WakeDag(dag_id=f"d{n}", at=NOW), 0) for n in range(25)])
    assert len(wire.sent) == 3


def test_a_batch_takes_one_mebibyte_at_most() -> None:
    wire = Wire()
    sqs(wire).send_tasks([a_task(n, weight=300_000) for n in range(7)])
    assert [len(sent["Entries"]) for sent in wire.sent] == [3, 3, 1]
    assert all(sum(len(entry["MessageBody"].encode()) for entry in sent["Entries"]) <= 2**20 for sent in wire.sent)


def test_what_sqs_refuses_is_told() -> None:
    tasks = [a_task(n) for n in range(25)]
    wire = Wire([{"Failed": [{"Id": "3"}]}, refusal("ServiceUnavailable", 503), {"Failed": [{"Id": "0"}]}])
    assert sqs(wire).send_tasks(tasks) == [tasks[3], *tasks[10:20], tasks[20]]


@pytest.mark.parametrize(
    "error", [refusal("RequestThrottled", 403), EndpointConnectionError(endpoint_url="x")], ids=["throttled", "away"]
)
def test_a_queue_that_does_not_answer_refuses_all(error: Exception) -> None:
    tasks = [a_task(n) for n in range(2)]
    assert sqs(Wire([error])).send_tasks(tasks) == tasks
    with pytest.raises(ServiceUnavailable):
        sqs(Wire([error])).send_triggers([a_trigger(1)])
    with pytest.raises(ServiceUnavailable):
        sqs(Wire([error])).wake(WakeDag(dag_id="etl", at=NOW))


def test_a_connections_test_that_sqs_refuses_is_told() -> None:
    answer = {"Failed": [{"Id": "0", "SenderFault": False, "Code": "InternalError"}]}
    assert not sqs(Wire([answer])).send_connection_test(A_TEST)


def test_a_queue_that_does_not_exist_is_our_bug() -> None:
    missing = refusal("AWS.SimpleQueueService.NonExistentQueue", 400)
    with pytest.raises(ClientError):
        sqs(Wire([missing])).send_tasks([a_task(1)])
    with pytest.raises(ClientError):
        sqs(Wire([missing])).wake(WakeDag(dag_id="etl", at=NOW))


def test_the_queue_of_a_worker_group_gets_its_own_tasks(aws: Aws, queue_url: str) -> None:
    group = WorkerGroup(name="large", queue_url=queue_url, memory=4096)
    assert sqs(aws.sqs).send_to_group(group, [a_task(1)]) == []
    (message,) = aws.sqs.receive_message(QueueUrl=queue_url)["Messages"]
    assert TaskWorkload.model_validate_json(message["Body"]) == a_task(1)


def test_the_queue_of_a_group_that_was_removed_is_gone_for_good(aws: Aws, queue_url: str) -> None:
    group = WorkerGroup(name="large", queue_url=f"{queue_url}-removed", memory=4096)
    queues = sqs(aws.sqs, tasks=queue_url)
    (unsent,) = queues.send_to_group(group, [a_task(1)])
    assert unsent.why == "The workers 'large' have been removed: their queue is gone."
    assert not queues.has_backlog([group])


def test_a_group_refuses_a_task_for_now_or_for_good() -> None:
    group = WorkerGroup(name="large", queue_url="large", memory=4096)
    (for_now,) = sqs(Wire([refusal("RequestThrottled", 403)])).send_to_group(group, [a_task(1)])
    assert for_now.why == ""
    (for_good,) = sqs(Wire([refusal("AccessDenied", 403)])).send_to_group(group, [a_task(1)])
    assert for_good.why.startswith("The queue of the workers 'large' takes no task: An error occurred (AccessDenied)")


def test_messages_that_wait_for_the_workers_of_a_group_are_a_backlog_of_its_tasks() -> None:
    group = WorkerGroup(name="large", queue_url="large", memory=4096)
    counts = [{"Attributes": {"ApproximateNumberOfMessages": number}} for number in ("0", "3")]
    wire = Wire(counts)
    assert sqs(wire).has_backlog([group])
    assert [sent["QueueUrl"] for sent in wire.sent] == ["tasks", "large"]


@pytest.mark.parametrize(("waiting", "is_busy"), [("0", False), ("3", True)])
def test_messages_that_wait_for_a_worker_are_a_backlog(waiting: str, is_busy: bool) -> None:
    assert sqs(Wire([{"Attributes": {"ApproximateNumberOfMessages": waiting}}])).has_backlog() is is_busy


def test_where_sqs_does_not_say_there_may_be_a_backlog() -> None:
    assert sqs(Wire([refusal("RequestThrottled", 403)])).has_backlog()


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (-5, 0), (0.01, 1), (59.0, 59), (900, 900), (100_000, 900)])
def test_delays_are_whole_seconds_and_never_too_long(delay: float, seconds: int) -> None:
    wire = Wire()
    sqs(wire).wake(WakeRun(dag_id="etl", run_id="r", at=NOW), delay=delay)
    sqs(wire).send_triggers([a_trigger(1)], delay=delay)
    assert wire.sent[0]["DelaySeconds"] == seconds
    assert wire.sent[1]["Entries"][0]["DelaySeconds"] == seconds


# --- receipts ---------------------------------------------------------------------------------------------------------


def a_receipt(client: Any, *, queue_url: str = "tasks", handle: str = "AQEB", received: int = 1) -> Receipt:
    record = {"receiptHandle": handle, "attributes": {"ApproximateReceiveCount": str(received)}}
    return Receipt.of(record, client, queue_url)


def test_a_message_comes_again_when_its_receiver_no_longer_hides_it(aws: Aws, queue_url: str) -> None:
    """As Lambda's poller receives it: hidden for longer than a function may run."""
    aws.sqs.send_message(QueueUrl=queue_url, MessageBody="{}")
    received = partial(aws.sqs.receive_message, QueueUrl=queue_url, VisibilityTimeout=960)
    (first,) = received()["Messages"]
    receipt = a_receipt(aws.sqs, queue_url=queue_url, handle=first["ReceiptHandle"])
    assert receipt.hide()
    assert "Messages" not in received()
    assert receipt.hide(0)
    (again,) = received()["Messages"]
    assert again["MessageId"] == first["MessageId"]


def test_a_message_is_hidden_for_a_minute_unless_told_otherwise() -> None:
    wire = Wire()
    for seconds in (HIDDEN_FOR, 0.2, -1, 10**9):
        assert a_receipt(wire).hide(seconds)
    assert a_receipt(wire).hide()
    assert [sent["VisibilityTimeout"] for sent in wire.sent] == [60, 1, 0, 43_200, 60]
    assert {(sent["QueueUrl"], sent["ReceiptHandle"]) for sent in wire.sent} == {("tasks", "AQEB")}


def test_a_message_that_fails_again_and_again_comes_back_ever_later() -> None:
    wire = Wire()
    for received in range(1, 8):
        a_receipt(wire, received=received).give_back()
    assert COMES_BACK_AFTER == (5, 10, 20, 40, 60)
    assert [sent["VisibilityTimeout"] for sent in wire.sent] == [*COMES_BACK_AFTER, 60, 60]


@pytest.mark.parametrize(
    "error", [refusal("ReceiptHandleIsInvalid", 400), EndpointConnectionError(endpoint_url="x")], ids=["gone", "away"]
)
def test_a_message_that_sqs_does_not_hide_harms_nobody(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    assert not a_receipt(Wire([error])).hide(60)
    assert "does not hide a message for 60 seconds" in caplog.text


# --- the twin ---------------------------------------------------------------------------------------------------------


def test_the_twin_keeps_what_it_is_sent_and_can_refuse() -> None:
    queues = MemoryQueues(refuses=lambda task: task.map_index == 1)
    tasks = [a_task(n) for n in range(3)]
    assert queues.send_tasks(tasks) == [tasks[1]]
    assert queues.tasks == [tasks[0], tasks[2]]
    assert queues.send_connection_test(A_TEST)
    assert queues.connection_tests == [A_TEST]
    queues.send_triggers([a_trigger(1)], delay=5)
    queues.wake(WakeDag(dag_id="etl", at=NOW), delay=7)
    assert queues.triggers == [(a_trigger(1), 5)]
    queues.wake_all([(WakeDag(dag_id="dw", at=NOW), 8)])
    assert queues.wakes == [(WakeDag(dag_id="etl", at=NOW), 7), (WakeDag(dag_id="dw", at=NOW), 8)]
