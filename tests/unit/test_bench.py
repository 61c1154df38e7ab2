"""The bench's arithmetic: gaps, consumed capacity and prices, worked out by hand here."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from benches import unpack
from benches.cost import LAMBDAS_LINES, bill_for, load_prices
from benches.measure import Figures, Sample, Span, sample_of
from benches.meter import OUTSIDE, OWN_LINES, REPORT, FunctionUse, Meter, consumed, item_size
from benches.processor import Used, by_name
from benches.report import Results, as_json, table, targets
from benches.shapes import CHAIN, FAN_OUT, MESH, Shape
from gust.aws import clients
from gust.aws.memory import MemoryObjects

START = datetime(2026, 1, 1, tzinfo=UTC)


def span(start: float, end: float) -> Span:
    return Span(START + timedelta(seconds=start), START + timedelta(seconds=end))


def test_a_gap_runs_from_the_last_upstream():
    shape = Shape("join", "join", {"a": (), "b": (), "c": ("a", "b")})
    sample = sample_of(shape, {"a": span(0, 1), "b": span(0, 3), "c": span(3.5, 4)})

    assert sample.gaps == (0.5,)
    assert sample.duration == 4
    assert sample.tasks_per_second == 0.75


def test_a_run_with_other_tasks_is_no_sample():
    with pytest.raises(RuntimeError, match="other tasks"):
        sample_of(CHAIN, {"task_00": span(0, 1)})


def test_the_shapes_are_as_large_as_they_are_called():
    assert [shape.size for shape in (CHAIN, FAN_OUT, MESH)] == [30, 101, 40]
    assert sum(len(upstream) for upstream in MESH.upstream.values()) == 4 * 8 * 8


def test_an_item_weighs_its_names_and_values():
    assert item_size({"pk": {"S": "abc"}, "flag": {"BOOL": True}}) == 2 + 3 + 4 + 1
    assert item_size({"m": {"M": {"a": {"S": "xy"}}}}) == 1 + 3 + 1 + 1 + 2


ITEM = {"v": {"S": "x" * 999}}  # 1,000 bytes


@pytest.mark.parametrize(
    ("operation", "request_", "answer", "expected"),
    [
        ("GetItem", {"ConsistentRead": True}, {}, (1, 0)),
        ("GetItem", {"ConsistentRead": True}, {"Item": {"v": {"S": "x" * 5000}}}, (2, 0)),
        ("GetItem", {}, {"Item": ITEM}, (0.5, 0)),
        ("Query", {"ConsistentRead": True}, {"Items": [ITEM] * 20}, (5, 0)),
        ("Query", {"IndexName": "due"}, {"Items": [ITEM] * 20}, (2.5, 0)),
        ("Query", {"ConsistentRead": True}, {"Items": []}, (1, 0)),
        (
            "BatchGetItem",
            {"RequestItems": {"t": {"ConsistentRead": True, "Keys": [{}] * 2}}},
            {"Responses": {"t": [ITEM, ITEM]}},
            (2, 0),
        ),
        (
            "BatchGetItem",
            {"RequestItems": {"t": {"ConsistentRead": True, "Keys": [{}] * 4}}},
            {"Responses": {"t": [ITEM]}, "UnprocessedKeys": {"t": {"Keys": [{}]}}},
            (3, 0),
        ),
        (
            "BatchWriteItem",
            {"RequestItems": {"t": [{"PutRequest": {"Item": ITEM}}, {"DeleteRequest": {"Key": {}}}]}},
            {},
            (0, 2),
        ),
        ("UpdateItem", {}, {"ConsumedCapacity": {"CapacityUnits": 2.0}}, (0, 2)),
        ("TransactWriteItems", {}, {"ConsumedCapacity": [{"CapacityUnits": 4.0}]}, (0, 4)),
    ],
)
def test_consumed_capacity_follows_awss_rules(operation, request_, answer, expected):
    assert consumed(operation, request_, 200, answer) == expected


def test_a_failed_condition_is_charged():
    error = {"__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}
    assert consumed("UpdateItem", {}, 400, error) == (0, 1)
    canceled = {"__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"}
    assert consumed("TransactWriteItems", {"TransactItems": [{}, {}]}, 400, canceled) == (0, 4)


def test_a_query_that_filters_cannot_be_told():
    with pytest.raises(ValueError, match="filters"):
        consumed("Query", {"FilterExpression": "a = :a"}, 200, {"Items": []})


def test_the_meter_counts_and_passes_on():
    seen = []

    async def emulator(scope, receive, send):
        seen.append(json.loads((await receive())["body"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"ConsumedCapacity": {"CapacityUnits": 1.0}}'})

    meter = Meter(emulator)
    headers = [
        (b"authorization", b"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request"),
        (b"x-amz-target", b"DynamoDB_20120810.UpdateItem"),
        (b"user-agent", clients.user_agent("gust-scheduler").encode()),
    ]
    assert ask(meter, "/", headers, b'{"TableName": "t"}')["ConsumedCapacity"]
    assert seen == [{"TableName": "t", "ReturnConsumedCapacity": "TOTAL"}]

    meter.invoked("gust-worker", 0.5, memory_mb=2048, architecture="arm64")
    meter.invoked("gust-worker", 0.25, memory_mb=2048, architecture="arm64")
    report = ask(meter, REPORT, [], b"")
    counted = {tuple(row[:4]): row[4] for row in report["calls"]}
    assert counted["gust-scheduler", "dynamodb", "UpdateItem", "calls"] == 1
    assert counted["gust-scheduler", "dynamodb", "UpdateItem", "writes"] == 1
    assert FunctionUse(**report["functions"]["gust-worker"]) == FunctionUse(2, 0.75, 2048, "arm64")


def ask(application, path, headers, body):
    sent = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": path, "method": "POST", "headers": headers, "client": ("127.0.0.1", 1)}
    asyncio.run(application(scope, receive, send))
    return json.loads(sent[-1]["body"])


def test_the_bill_leaves_out_what_no_task_needs():
    counts = {
        ("gust-scheduler", "dynamodb", "UpdateItem", "writes"): 8.0,
        ("gust-scheduler", "sqs", "SendMessageBatch", "calls"): 1,
        ("gust-scheduler", "sqs", "SendMessageBatch", "messages"): 4,
        ("gust-worker", OWN_LINES, "", "bytes"): 1_000,
        ("gust-worker", "logs", "PutLogEvents", "bytes"): 4_000_000,
        ("gust-api", "dynamodb", "Query", "reads"): 1_000.0,
        (OUTSIDE, "s3", "PUT", "calls"): 1_000,
    }
    functions = {
        "scheduler": FunctionUse(4, 0.4, 1024, "arm64"),
        "worker": FunctionUse(4, 2.0, 2048, "arm64"),
        "api": FunctionUse(100, 9.0, 1024, "arm64"),
    }
    bill = bill_for(4, counts, functions, load_prices())
    with_lambdas = bill_for(4, counts, functions, load_prices(), lambda_log_level="INFO")

    control = 8 * 0.625e-6 + (1 + 2 * 4) * 0.40e-6 + 4 * 0.20e-6 + 0.4 * 0.0000133334
    control += 1_000 * 0.50e-9
    assert bill.control_plane_per_million == pytest.approx(control / 4 * 1e6)
    assert with_lambdas.control_plane_per_million == pytest.approx((control + 8 * LAMBDAS_LINES * 0.50e-9) / 4 * 1e6)
    assert bill.work_per_million == pytest.approx((4 * 0.20e-6 + 4.0 * 0.0000133334 + 0.002) / 4 * 1e6)


def test_targets_are_missed_by_a_hair_and_met_by_another():
    def figures(gap: float, rate: float) -> dict[str, Figures]:
        return {s.dag_id: Figures((Sample((gap, gap), 100 / rate, 100),)) for s in (CHAIN, FAN_OUT, MESH)}

    met = targets(Results(gust=figures(0.1, 15), airflow=figures(0.8, 5), bills={}))
    assert [target.met for target in met] == [True, True, True]
    missed = targets(Results(gust=figures(0.11, 14), airflow=figures(0.8, 5), bills={}))
    assert [target.met for target in missed] == [False, False, False]


def test_the_report_has_the_starts_and_the_cost_of_packages():
    objects = MemoryObjects()
    unpacking = unpack.measure(objects, unpack.made_up(objects, 2), repeat=1)
    results = Results(gust={}, airflow={}, bills={}, starts={"on_lambda": [0.1, 0.3, 0.2]}, unpacking=unpacking)

    assert (unpacking.files, round(unpacking.size / 1e6)) == (52 + 4, 2)  # and four commands
    assert 0.2 < unpacking.packed / unpacking.size < 0.5
    assert unpacking.warm < unpacking.cold
    lines = table(results).splitlines()
    assert "  on_lambda: 0.20 s from message to start (median of 0.10, 0.20, 0.30)" in lines
    assert any(line.startswith("  2 MB in 56 files") for line in lines)
    assert json.loads(json.dumps(as_json(results)))["unpacking"]["files"] == 56


def test_the_processor_of_a_nurserys_children_is_its_workers():
    """The nursery lives on: its parent has not heard of it yet. A child that runs has not told its parent either."""
    worker, nursery, child = ("worker", 1, 0), ("worker", 2, 1), ("worker", 3, 2)
    before = {worker: Used(1.0, 0.5), nursery: Used(0.25, 0.25, 2.0, 1.0), child: Used(0.5, 0.25)}
    after = {worker: Used(3.0, 1.0), nursery: Used(0.5, 0.25, 6.0, 3.0)}
    assert by_name(before, after) == {"worker": Used(2.0, 0.5, 3.75, 1.75)}
