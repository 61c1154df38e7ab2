"""The store's calls of DynamoDB: how many, how consistent, at what price, and partial results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from gust.aws.memory import MemoryObjects
from gust.errors import Invalid, NotFound, ServiceUnavailable, StaleTaskInstance
from gust.model.state import DagRunState
from gust.model.state import TaskInstanceState as S
from gust.model.xcom import XCom
from gust.store import keyspace
from gust.store.dynamodb import DynamoDBStore
from gust.store.keyspace import Key
from gust.store.table import Expression, Table
from tests.contract.given import (
    NOW,
    a_run,
    an_instance,
    at,
    given_dag,
    given_instance,
    given_run,
    given_running_instance,
    given_running_run,
    transition,
)
from tests.contract.stores import OnDynamoDB


class Wire:
    """A DynamoDB client that notes what it is asked and may answer in the real one's place."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.meta = client.meta
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Iterator[Any]] = {}

    def __getattr__(self, operation: str) -> Any:
        def ask(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            answer = next(self.answers.get(operation, iter(())), None)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                return answer(arguments) if callable(answer) else answer
            return getattr(self._client, operation)(**arguments)

        return ask


@pytest.fixture
def wire(dynamodb: OnDynamoDB) -> Wire:
    return Wire(dynamodb.client)


@pytest.fixture
def watched(dynamodb: OnDynamoDB, wire: Wire) -> DynamoDBStore:
    return DynamoDBStore(dynamodb.table, wire, dynamodb.objects)


def refusal(operation: str, code: str, message: str = "", **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message or code}, **more}
    return ClientError(response, operation)


# --- consistency ------------------------------------------------------------------------------------------------------


def test_every_read_of_the_table_is_strongly_consistent(watched: DynamoDBStore, wire: Wire) -> None:
    given_dag(watched)
    run = given_running_run(watched)
    given_running_instance(watched)
    watched.load_run(run.key)
    watched.get_run(run.key)
    watched.get_instance(an_instance().key)
    watched.get_dag("etl")
    watched.list_dags()
    watched.list_xcoms(run.key)
    watched.list_runs("etl")
    reads = [(operation, a) for operation, a in wire.asked if operation in ("get_item", "query", "batch_get_item")]
    of_the_table = [
        next(iter(a["RequestItems"].values())) if operation == "batch_get_item" else a
        for operation, a in reads
        if "IndexName" not in a
    ]
    assert len(of_the_table) == 7
    assert all(read["ConsistentRead"] for read in of_the_table)
    assert [a["IndexName"] for _, a in reads if "IndexName" in a] == [keyspace.INDEX_LISTED]


# --- the bill ---------------------------------------------------------------------------------------------------------


def test_calls_per_operation(dynamodb: OnDynamoDB) -> None:
    store, calls = dynamodb.store, dynamodb.calls
    given_dag(store)
    given_run(store, a_run("manual__0"))  # the first of its day, which is noted with it

    def asks(*operations: str) -> None:
        assert calls.operations == list(operations)
        calls.clear()

    calls.clear()
    queued = given_run(store)
    asks("put_item")
    given_run(store, a_run("dated", logical_date=NOW))
    asks("transact_write_items")
    running = replace(queued, state=DagRunState.RUNNING)
    store.start_run(queued, running, max_active_runs=1)
    asks("transact_write_items")
    store.update_run(running, replace(running, due_at=NOW))
    asks("update_item")
    scheduled = transition(an_instance(), state=S.SCHEDULED)
    store.move(scheduled)
    asks("update_item")
    store.move_all([transition(an_instance("t", n), state=S.SCHEDULED) for n in range(5)])
    asks(*["update_item"] * 5)
    store.load_run(running.key)
    asks("query")
    store.put_xcom(XCom(key=an_instance().key, name="x", value=1, timestamp=NOW))
    asks("put_item")
    store.finish_run(running, replace(running, state=DagRunState.SUCCESS))
    asks("transact_write_items")


def test_a_failed_write_is_counted_too(dynamodb: OnDynamoDB) -> None:
    dynamodb.calls.clear()
    with pytest.raises(StaleTaskInstance):
        dynamodb.store.move(transition(an_instance(state=S.RUNNING), state=S.SUCCESS))
    assert dynamodb.calls.operations == ["update_item"]
    assert dynamodb.calls.consumed == [None]


def test_a_transition_of_a_usual_instance_costs_one_write_unit(dynamodb: OnDynamoDB) -> None:
    """Long but usual names, every field that a plain try sets: below 1 KB."""
    run = a_run("scheduled__2026-03-01T00:00:00+00:00", "daily_sales_aggregation_eu_west")
    seen = an_instance(
        "transform.join_orders_with_customers",
        12,
        run,
        state=S.RUNNING,
        try_number=2,
        max_tries=3,
        dispatch_count=2,
        scheduled_at=at(1),
        queued_at=at(2),
        start_date=at(3),
        heartbeat_at=at(9),
        hostname="2026/03/01/[$LATEST]0123456789abcdef0123456789abcdef",
        pid=4711,
        operator="_PythonDecoratedOperator",
        xcom_lengths={"return_value": 120},
        pushed_keys=("return_value",),
        rendered_map_index="customer 4711",
        first_start_date=at(3),
        reason="all upstream tasks succeeded (12 of 12)",
    )
    given_instance(dynamodb.store, seen)
    dynamodb.calls.clear()
    dynamodb.store.move(transition(seen, state=S.SUCCESS, end_date=at(12)))
    assert [consumed["CapacityUnits"] for consumed in dynamodb.calls.consumed] == [1.0]
    item = dynamodb.client.get_item(
        TableName=dynamodb.table, Key={k: {"S": v} for k, v in keyspace.instance(seen.key)._asdict().items()}
    )["Item"]
    assert size_of(item) < 1024


def test_loading_a_run_of_twenty_tasks_costs_at_most_four_read_units(dynamodb: OnDynamoDB) -> None:
    """Beside them, XComs and rendered fields as large as one likes."""
    given_dag(dynamodb.store)
    run = given_running_run(dynamodb.store)
    for n in range(20):
        given_instance(
            dynamodb.store,
            an_instance(
                f"task_{n}",
                state=S.SUCCESS,
                try_number=1,
                dispatch_count=1,
                scheduled_at=NOW,
                queued_at=NOW,
                start_date=NOW,
                end_date=NOW,
                heartbeat_at=NOW,
                hostname="2026/03/01/[$LATEST]0123456789abcdef0123456789abcdef",
                operator="PythonOperator",
            ),
        )
        dynamodb.store.put_rendered_fields(an_instance(f"task_{n}").key, {"sql": "x" * 20_000}, dispatch_count=1)
    dynamodb.calls.clear()
    dynamodb.store.load_run(run.key)
    assert sum(consumed["CapacityUnits"] for consumed in dynamodb.calls.consumed) <= 4


def test_without_a_meter_nobody_asks_for_the_bill(watched: DynamoDBStore, wire: Wire) -> None:
    watched.get_dag("etl")
    assert "ReturnConsumedCapacity" not in wire.asked[0][1]


def size_of(item: dict[str, dict[str, Any]]) -> int:
    """Roughly as DynamoDB counts: names and values; numbers are smaller than their text."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())


# --- documents in the bucket ------------------------------------------------------------------------------------------


def test_large_xcoms_go_to_the_bucket(dynamodb: OnDynamoDB) -> None:
    large = XCom(key=an_instance().key, name="x", value="x" * (256 * 1024), timestamp=NOW)
    dynamodb.store.put_xcom(replace(large, value="x" * (256 * 1024 - 2)))
    assert dynamodb.objects.list("xcom/") == {}
    dynamodb.store.put_xcom(large)
    dynamodb.store.put_xcom(large)
    (key,) = dynamodb.objects.list("xcom/etl/manual__1/") or dynamodb.objects.list("xcom/")
    assert key.startswith("xcom/")
    assert len(dynamodb.objects.get(key)) == 256 * 1024 + 2


def test_an_xcom_larger_than_50_mb_is_refused(dynamodb: OnDynamoDB) -> None:
    with pytest.raises(Invalid, match="50 MB") as refused:
        dynamodb.store.put_xcom(XCom(key=an_instance().key, name="x", value="x" * (50 * 2**20), timestamp=NOW))
    assert refused.value.field == ("value",)
    assert dynamodb.store.get_xcom(an_instance().key, "x") is None


def test_the_object_is_there_before_the_item_names_it(dynamodb: OnDynamoDB) -> None:
    """A writer that dies in between leaves the old value readable."""

    class DyingObjects(MemoryObjects):
        def put_once(self, key: str, body: bytes, *, content_type: str = "") -> None:
            raise ServiceUnavailable("S3 is away")

    xcom = XCom(key=an_instance().key, name="x", value="old", timestamp=NOW)
    dynamodb.store.put_xcom(xcom)
    dying = DynamoDBStore(dynamodb.table, dynamodb.client, DyingObjects())
    with pytest.raises(ServiceUnavailable):
        dying.put_xcom(replace(xcom, value="x" * 300_000))
    assert dynamodb.store.get_xcom(xcom.key, "x") == xcom


def test_a_conf_that_no_item_holds_is_refused(dynamodb: OnDynamoDB) -> None:
    with pytest.raises(Invalid) as refused:
        dynamodb.store.create_run(a_run(conf={"x": "y" * 300_000}))
    assert refused.value.field == ("conf",)


def test_names_that_no_key_holds_are_refused(dynamodb: OnDynamoDB) -> None:
    with pytest.raises(Invalid) as refused:
        dynamodb.store.put_setting("variables", "x" * 1025, 1)
    assert refused.value.field == ("name",)


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_what_expires_tells_dynamodb_when(dynamodb: OnDynamoDB) -> None:
    dynamodb.store.put_setting("state", "a", 1, expires_at=at(10.5))
    key = keyspace.setting("state", "a")
    item = dynamodb.client.get_item(TableName=dynamodb.table, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}})["Item"]
    assert item[keyspace.TTL_ATTRIBUTE] == {"N": str(int(at(11).timestamp()))}


# --- what DynamoDB does half ------------------------------------------------------------------------------------------


def test_every_page_of_a_query_is_read(watched: DynamoDBStore, wire: Wire) -> None:
    """MiniStack ends a page at 1 MB, as DynamoDB does."""
    for n in range(8):
        watched.put_xcom(XCom(key=an_instance("t", n).key, name="x", value="x" * 200_000, timestamp=NOW))
    wire.asked.clear()
    assert len(watched.list_xcoms(a_run().key)) == 8
    assert len(wire.asked) > 1
    assert "ExclusiveStartKey" in wire.asked[-1][1]


def test_a_limit_holds_over_pages(watched: DynamoDBStore, wire: Wire) -> None:
    for n in range(6):
        watched.create_run(a_run(f"r{n}", run_after=at(n)))
    real = watched._table._client._client.query

    def one_each(arguments: dict[str, Any]) -> Any:
        return real(**{**arguments, "Limit": 1})

    wire.answers["query"] = iter([one_each] * 20)
    assert [key.run_id for key in watched.queued_runs("etl", limit=3)] == ["r0", "r1", "r2"]
    assert [run.run_id for run in watched.list_runs("etl")] == [f"r{n}" for n in reversed(range(6))]


def test_the_run_before_costs_the_same_in_a_long_history(watched: DynamoDBStore, wire: Wire) -> None:
    for n in range(40):
        watched.create_run(a_run(f"r{n}", logical_date=at(n)))
    wire.asked.clear()
    assert next(watched.runs_before("etl", at(30))).run_id == "r29"
    asked = [(operation, arguments.get("Limit")) for operation, arguments in wire.asked]
    assert asked == [("query", 2), ("query", 10), ("batch_get_item", None)]
    assert len(wire.asked[-1][1]["RequestItems"][watched._table._name]["Keys"]) == 2


def test_unprocessed_keys_are_asked_for_again(dynamodb: OnDynamoDB) -> None:
    for n in range(3):
        dynamodb.store.create_run(a_run(f"r{n}", run_after=at(n)))
    wire = Wire(dynamodb.client)
    naps: list[float] = []
    table = Table(dynamodb.table, wire, sleep=naps.append)
    keys = [keyspace.run(a_run(f"r{n}").key) for n in range(3)]

    def only_the_first(arguments: dict[str, Any]) -> Any:
        ((name, wanted),) = arguments["RequestItems"].items()
        first = {name: {**wanted, "Keys": wanted["Keys"][:1]}}
        answer = dynamodb.client.batch_get_item(RequestItems=first)
        return {**answer, "UnprocessedKeys": {name: {**wanted, "Keys": wanted["Keys"][1:]}}}

    wire.answers["batch_get_item"] = iter([only_the_first])
    assert set(table.get_all(keys)) == set(keys)
    assert len(wire.asked) == 2
    assert len(naps) == 1


def test_unprocessed_deletes_are_asked_for_again(dynamodb: OnDynamoDB) -> None:
    key = an_instance().key
    for n in range(3):
        dynamodb.store.put_xcom(XCom(key=key, name=f"k{n}", value=n, timestamp=NOW))
    wire = Wire(dynamodb.client)
    table = Table(dynamodb.table, wire, sleep=lambda _: None)

    def nothing_yet(arguments: dict[str, Any]) -> Any:
        return {"UnprocessedItems": arguments["RequestItems"]}

    wire.answers["batch_write_item"] = iter([nothing_yet])
    table.delete_all([keyspace.xcom(key, f"k{n}") for n in range(3)])
    assert dynamodb.store.list_xcoms(key.run) == []


def test_more_runs_than_one_batch_holds_are_listed(dynamodb: OnDynamoDB) -> None:
    for n in range(103):
        dynamodb.store.create_run(a_run(f"r{n:03}", run_after=at(n)))
    dynamodb.calls.clear()
    assert len(dynamodb.store.list_runs("etl")) == 103
    assert dynamodb.calls.operations.count("batch_get_item") == 2


@pytest.mark.parametrize(
    "collision",
    [
        refusal(
            "TransactWriteItems", "TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}]
        ),
        refusal("Update", "TransactionConflictException"),
    ],
    ids=["reason", "error"],
)
def test_a_collision_of_transactions_is_tried_again(dynamodb: OnDynamoDB, collision: ClientError) -> None:
    wire = Wire(dynamodb.client)
    naps: list[float] = []
    table = Table(dynamodb.table, wire, sleep=naps.append)
    wire.answers["update_item"] = iter([collision, collision])
    table.update(Key("a", "b"), Expression().change({"x": {"S": "y"}}))
    assert table.get(Key("a", "b")) == {"pk": {"S": "a"}, "sk": {"S": "b"}, "x": {"S": "y"}}
    assert len(naps) == 2
    wire.answers["update_item"] = iter([collision] * 100)
    with pytest.raises(ServiceUnavailable, match="update_item"):
        table.update(Key("a", "b"), Expression().change({"x": {"S": "z"}}))


@pytest.mark.parametrize(
    "error",
    [refusal("GetItem", "ThrottlingException"), EndpointConnectionError(endpoint_url="http://127.0.0.1:1")],
    ids=["throttled", "unreachable"],
)
def test_a_table_that_does_not_answer_is_unwell(watched: DynamoDBStore, wire: Wire, error: Exception) -> None:
    wire.answers["get_item"] = iter([error])
    with pytest.raises(ServiceUnavailable):
        watched.get_dag("etl")


def test_our_own_mistakes_are_not_hidden(watched: DynamoDBStore, wire: Wire) -> None:
    wire.answers["get_item"] = iter([refusal("GetItem", "ValidationException")])
    with pytest.raises(ClientError):
        watched.get_dag("etl")


def test_one_failing_move_does_not_stop_the_others(dynamodb: OnDynamoDB) -> None:
    wire = Wire(dynamodb.client)
    store = DynamoDBStore(dynamodb.table, wire, dynamodb.objects)
    wire.answers["update_item"] = iter([refusal("UpdateItem", "ThrottlingException")])
    moves = [transition(an_instance("t", n), state=S.SCHEDULED) for n in range(20)]
    with pytest.raises(ServiceUnavailable):
        store.move_all(moves)
    moved = [n for n in range(20) if dynamodb.store.get_instance(an_instance("t", n).key)]
    assert len(moved) == 19
    assert store.move_all(moves) == []


def test_an_object_that_vanished_is_not_found(dynamodb: OnDynamoDB) -> None:
    dynamodb.store.put_xcom(XCom(key=an_instance().key, name="x", value="x" * 300_000, timestamp=NOW))
    dynamodb.objects.delete(dynamodb.objects.list("xcom/"))
    with pytest.raises(NotFound):
        dynamodb.store.get_xcom(an_instance().key, "x")


@pytest.mark.parametrize(
    "refused",
    [
        refusal("PutItem", "ValidationException", "Item size has exceeded the maximum allowed size"),
        refusal("UpdateItem", "ValidationException", "Item size to update has exceeded the maximum allowed size"),
        refusal(
            "TransactWriteItems",
            "TransactionCanceledException",
            CancellationReasons=[
                {"Code": "None"},
                {"Code": "ValidationError", "Message": "Item size has exceeded the maximum allowed size"},
            ],
        ),
    ],
)
def test_what_is_too_large_for_an_item_is_the_callers_mistake(
    watched: DynamoDBStore, wire: Wire, refused: ClientError
) -> None:
    """A run's conf, what a task defers with, an event's payload: whoever sent it must not send it again and again."""
    operation = {"TransactWriteItems": "transact_write_items"}.get(refused.operation_name, "put_item")
    wire.answers[operation] = iter([refused])
    with pytest.raises(Invalid, match="400 KB"):
        watched.create_run(a_run(logical_date=NOW if operation.startswith("transact") else None))
