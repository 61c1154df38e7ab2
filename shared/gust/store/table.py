"""The store's view of the table: conditional writes with named clauses, whole result sets, errors of our own.

Reads of the table are strongly consistent. This module completes everything that DynamoDB may do in part: pages, unprocessed
keys, colliding transactions.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as ConnectionFailed

from gust.errors import Invalid, ServiceUnavailable
from gust.store.items import Attribute, Item
from gust.store.keyspace import INDEX_KEYS, Key

_BUSY: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
    }
)
"""Error codes after which botocore has already retried without success."""

_COLLIDED: Final = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Another transaction held one of the items, or the partition was busy for a moment: botocore retries neither."""

_REFUSED: Final = frozenset({"ValidationException", "ValidationError"})
_TOO_LARGE: Final = "exceeded the maximum allowed size"

_ATTEMPTS: Final = 10
_BATCH_GET: Final = 100
_BATCH_WRITE: Final = 25


class Meter(Protocol):
    """Called for every request, so that a bench can count and price them."""

    def __call__(self, operation: str, consumed: Any) -> None:
        """`consumed` is DynamoDB's ConsumedCapacity: a dict, a list of them, or None if the call failed."""


class ConditionFailed(Exception):  # never leaves the store
    """A conditional write's condition failed. `found` has one entry per write of the call: the stored item (`None`: none) if
    its condition failed, `HELD` if it held."""

    HELD: Final[Item] = {}

    def __init__(self, found: Sequence[Item | None]) -> None:
        super().__init__("condition failed")
        self.found = found

    @property
    def item(self) -> Item | None:
        return self.found[0]

    def failed(self, index: int) -> bool:
        return self.found[index] is not self.HELD


@dataclass(slots=True)
class Expression:
    """The condition and the changes of one write. Placeholders have the attributes' names, so that a trace is readable."""

    conditions: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    removes: list[str] = field(default_factory=list)
    adds: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    values: dict[str, Attribute] = field(default_factory=dict)

    # conditions

    def exists(self) -> Expression:
        return self._require(f"attribute_exists({self._name('pk')})")

    def is_new(self) -> Expression:
        return self._require(f"attribute_not_exists({self._name('pk')})")

    def still(self, seen: Mapping[str, Attribute | None]) -> Expression:
        """Each attribute is as the writer saw it; `None`: absent."""
        for name, value in seen.items():
            if value is None:
                self._require(f"attribute_not_exists({self._name(name)})")
            else:
                self._require(f"{self._name(name)} = {self._value('seen', name, value)}")
        return self

    def at_most(self, name: str, limit: int) -> Expression:
        """The number is no larger than `most`; an absent one is 0."""
        return self.below(name, limit + 1)

    def below(self, name: str, limit: int) -> Expression:
        """The number is smaller than `limit`; an absent one is 0."""
        is_below = f"{self._name(name)} < {self._value('limit', name, {'N': str(limit)})}"
        is_zero = f"attribute_not_exists({self._name(name)})"
        return self._require(f"({is_below} OR {is_zero})" if limit > 0 else is_below)

    def before(self, name: str, moment: Attribute) -> Expression:
        """The moment is an earlier one, or there is none."""
        is_before = f"{self._name(name)} < {self._value('limit', name, moment)}"
        return self._require(f"({is_before} OR attribute_not_exists({self._name(name)}))")

    # changes

    def change(self, changes: Mapping[str, Attribute | None]) -> Expression:
        """Set each attribute; `None`: remove it."""
        for name, value in changes.items():
            if value is None:
                self.removes.append(self._name(name))
            else:
                self.sets.append(f"{self._name(name)} = {self._value('new', name, value)}")
        return self

    def keep(self, defaults: Mapping[str, Attribute]) -> Expression:
        """Set each attribute unless there is one."""
        for name, value in defaults.items():
            its_name, its_value = self._name(name), self._value("new", name, value)
            self.sets.append(f"{its_name} = if_not_exists({its_name}, {its_value})")
        return self

    def add(self, name: str, value: Attribute) -> Expression:
        """Add to a number, or to a set."""
        self.adds.append(f"{self._name(name)} {self._value('added', name, value)}")
        return self

    def take_out(self, name: str, value: Attribute) -> Expression:
        """Remove from a set; the last one takes the attribute with it."""
        self.deletes.append(f"{self._name(name)} {self._value('deleted', name, value)}")
        return self

    def arguments(self) -> dict[str, Any]:
        updates = {"SET": self.sets, "REMOVE": self.removes, "ADD": self.adds, "DELETE": self.deletes}
        arguments: dict[str, Any] = {}
        if update := " ".join(f"{verb} {', '.join(clauses)}" for verb, clauses in updates.items() if clauses):
            arguments["UpdateExpression"] = update
        if self.conditions:
            arguments["ConditionExpression"] = " AND ".join(self.conditions)
            arguments["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if self.names:
            arguments["ExpressionAttributeNames"] = self.names
        if self.values:
            arguments["ExpressionAttributeValues"] = self.values
        return arguments

    def _require(self, clause: str) -> Expression:
        self.conditions.append(clause)
        return self

    def _name(self, name: str) -> str:
        placeholder = f"#{name}" if name.replace("_", "a").isalnum() and name.isascii() else f"#n{len(self.names)}"
        self.names[placeholder] = name
        return placeholder

    def _value(self, role: str, name: str, value: Attribute) -> str:
        readable = name.replace("_", "a").isalnum() and name.isascii()
        placeholder = f":{role}_{name}" if readable else f":{role}{len(self.values)}"
        self.values[placeholder] = value
        return placeholder


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole item."""

    key: Key
    item: Item
    expression: Expression = field(default_factory=Expression)


@dataclass(frozen=True, slots=True)
class _ToItem:
    key: Key
    expression: Expression


@dataclass(frozen=True, slots=True)
class Update(_ToItem):
    """Write some attributes of an item, which need not exist."""


@dataclass(frozen=True, slots=True)
class Delete(_ToItem):
    """Remove an item, which need not exist."""

    expression: Expression = field(default_factory=Expression)


@dataclass(frozen=True, slots=True)
class Check(_ToItem):
    """Change nothing of an item, but have it checked with the other writes of a transaction."""


class Table:
    """One DynamoDB table. Thread-safe as the client is."""

    def __init__(
        self, name: str, client: Any, *, meter: Meter | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._name = name
        self._client = client
        self._meter = meter
        self._sleep = sleep
        for operation, member in (("Query", "Items"), ("BatchGetItem", "Responses")):
            client.meta.events.register(
                f"before-parse.dynamodb.{operation}",
                partial(_take_items_as_they_are, member),
                unique_id=f"plain-items-{operation}",
            )

    # --- reads --------------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Item | None:
        answer = self._call("get_item", TableName=self._name, Key=_key(key), ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def get_all(self, keys: Sequence[Key], *, only: Sequence[str] = ()) -> dict[Key, Item]:
        """The existing items, by key; `only` some of their attributes, at the same price."""
        found: dict[Key, Item] = {}
        names = {f"#{name}": name for name in ("pk", "sk", *only)} if only else {}
        part = {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names} if only else {}
        for start in range(0, len(keys), _BATCH_GET):
            batch = [_key(k) for k in keys[start : start + _BATCH_GET]]
            wanted: dict[str, Any] = {self._name: {"Keys": batch, "ConsistentRead": True, **part}}
            for attempt in self._attempts("batch_get_item"):
                answer = self._call("batch_get_item", RequestItems=wanted)
                found |= {key_of(item): item for item in answer["Responses"].get(self._name, ())}
                wanted = answer.get("UnprocessedKeys") or {}
                if not wanted:
                    break
                self._back_off(attempt)
        return found

    def query(self, pk: str, *, begins_with: str = "", ascending: bool = True) -> Iterator[Item]:
        """The partition's items whose sort key begins so, in order of the sort key."""
        if not begins_with:
            return self._query("#pk = :pk", {"#pk": "pk"}, {":pk": pk}, ascending=ascending)
        return self._query(
            "#pk = :pk AND begins_with(#sk, :begin)",
            {"#pk": "pk", "#sk": "sk"},
            {":pk": pk, ":begin": begins_with},
            ascending=ascending,
        )

    def query_between(self, pk: str, first: str, last: str, *, ascending: bool = True,
                      pages: Iterator[int] | None = None) -> Iterator[Item]:  # fmt: skip
        """The partition's items from sort key `first` to `last`, both included. `pages`: how many are read at a time."""
        if first > last:
            return iter(())
        return self._query(
            "#pk = :pk AND #sk BETWEEN :first AND :last",
            {"#pk": "pk", "#sk": "sk"},
            {":pk": pk, ":first": first, ":last": last},
            ascending=ascending,
            pages=pages,
        )

    def query_index(self, index: str, pk: str, *, until: str | None = None, ascending: bool = True,
                    limit: int | None = None, pages: Iterator[int] | None = None) -> Iterator[Item]:  # fmt: skip
        """Keys of the index's partition, up to and including `until`; at most `limit`. `pages` as above."""
        pk_name, sk_name = INDEX_KEYS[index]
        names, values = {"#pk": pk_name}, {":pk": pk}
        condition = "#pk = :pk"
        if until is not None:
            names["#sk"], values[":until"] = sk_name, until
            condition += " AND #sk <= :until"
        return self._query(condition, names, values, index=index, ascending=ascending, limit=limit, pages=pages)

    def query_index_between(self, index: str, pk: str, first: str | None, last: str | None, *,
                            ascending: bool = True, pages: Iterator[int] | None = None) -> Iterator[Item]:  # fmt: skip
        """Keys of the index's partition from `first` to `last`, both included. `pages` as above."""
        if first is None or last is None:
            return self.query_index(index, pk, ascending=ascending, pages=pages)
        if first > last:
            return iter(())
        pk_name, sk_name = INDEX_KEYS[index]
        return self._query(
            "#pk = :pk AND #sk BETWEEN :first AND :last",
            {"#pk": pk_name, "#sk": sk_name},
            {":pk": pk, ":first": first, ":last": last},
            index=index,
            ascending=ascending,
            pages=pages,
        )

    def count_between(self, pk: str, first: str, last: str, *, limit: int) -> int:
        """How many items `query_between` would return, counted up to `most`. May lag by a moment, at half the price."""
        arguments: dict[str, Any] = {
            "TableName": self._name,
            "Select": "COUNT",
            "KeyConditionExpression": "#pk = :pk AND #sk BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#pk": "pk", "#sk": "sk"},
            "ExpressionAttributeValues": {":pk": {"S": pk}, ":first": {"S": first}, ":last": {"S": last}},
        }
        count = 0
        while first <= last:
            answer = self._call("query", **arguments, Limit=limit - count)
            count += int(answer["Count"])
            if count >= limit or not (position := answer.get("LastEvaluatedKey")):
                return min(count, limit)
            arguments["ExclusiveStartKey"] = position
        return 0

    def _query(self, condition: str, names: Mapping[str, str], values: Mapping[str, str], *, ascending: bool,
               index: str | None = None, limit: int | None = None,
               pages: Iterator[int] | None = None) -> Iterator[Item]:  # fmt: skip
        arguments: dict[str, Any] = {
            "TableName": self._name,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": dict(names),
            "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items()},
            "ScanIndexForward": ascending,
            **({"ConsistentRead": True} if index is None else {"IndexName": index}),
        }
        left = limit
        while left is None or left > 0:
            if left is not None:
                arguments["Limit"] = left
            elif pages is not None:
                arguments["Limit"] = next(pages)
            answer = self._call("query", **arguments)
            yield from answer["Items"]
            if left is not None:
                left -= len(answer["Items"])
            if not (last := answer.get("LastEvaluatedKey")):
                return
            arguments["ExclusiveStartKey"] = last

    # --- writes -------------------------------------------------------------------------------------------------------

    def put(self, key: Key, item: Item, expression: Expression | None = None) -> None:
        """Raises ConditionFailed."""
        self._write("put_item", _put(self._name, Put(key, item, expression or Expression())))

    def update(self, key: Key, expression: Expression) -> None:
        """Raises ConditionFailed."""
        self._write("update_item", _update(self._name, Update(key, expression)))

    def updated(self, key: Key, expression: Expression) -> Item:
        """Update the item; returns the new one. Raises ConditionFailed."""
        answer = self._write("update_item", {**_update(self._name, Update(key, expression)), "ReturnValues": "ALL_NEW"})
        item: Item = answer["Attributes"]
        return item

    def count_up(self, key: Key) -> int:
        """The next number, from 1. A call that fails may have used one up."""
        counting = _update(self._name, Update(key, Expression().add("last", {"N": "1"})))
        answer = self._write("update_item", {**counting, "ReturnValues": "UPDATED_NEW"})
        return int(answer["Attributes"]["last"]["N"])

    def delete(self, key: Key, expression: Expression | None = None) -> Item | None:
        """Delete the item; returns the old one. Raises ConditionFailed."""
        which = {"TableName": self._name, "Key": _key(key), "ReturnValues": "ALL_OLD"}
        answer = self._write("delete_item", which | (expression or Expression()).arguments())
        item: Item | None = answer.get("Attributes") or None
        return item

    def delete_all(self, keys: Iterable[Key]) -> None:
        self._write_all([{"DeleteRequest": {"Key": _key(key)}} for key in keys])

    def put_all(self, puts: Iterable[tuple[Key, Item]]) -> None:
        """Write whole items unconditionally, each by itself."""
        self._write_all([{"PutRequest": {"Item": {**_key(key), **item}}} for key, item in puts])

    def _write_all(self, requests: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(requests), _BATCH_WRITE):
            wanted: dict[str, Any] = {self._name: requests[start : start + _BATCH_WRITE]}
            for attempt in self._attempts("batch_write_item"):
                answer = self._call("batch_write_item", RequestItems=wanted)
                wanted = answer.get("UnprocessedItems") or {}
                if not wanted:
                    break
                self._back_off(attempt)

    def transact(self, *writes: Put | Update | Delete | Check) -> None:
        """All or nothing. Raises ConditionFailed, with one entry of `found` per write."""
        self._write("transact_write_items", {"TransactItems": [_transacted(self._name, write) for write in writes]})

    def _write(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        for attempt in self._attempts(operation):
            try:
                return self._call(operation, **arguments)
            except ClientError as error:
                if (found := _found(error)) is not None:
                    raise ConditionFailed(found) from error
                if not _codes(error) & _COLLIDED:
                    raise
            self._back_off(attempt)
        raise AssertionError("unreachable: _attempts raises when it ends")

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if self._meter:
            arguments["ReturnConsumedCapacity"] = "TOTAL"
        answer: dict[str, Any] = {}
        try:
            answer = getattr(self._client, operation)(**arguments)
        except ClientError as error:
            if _codes(error) & _BUSY:
                raise ServiceUnavailable(f"DynamoDB {operation}: {error}") from error
            if _is_too_large(error):
                raise Invalid(
                    "It is too large to be stored: DynamoDB takes 400 KB with all that belongs to it"
                ) from error
            raise
        except (HTTPClientError, ConnectionFailed) as error:
            raise ServiceUnavailable(f"DynamoDB {operation}: {error}") from error
        finally:
            if self._meter:
                self._meter(operation, answer.get("ConsumedCapacity"))
        return answer

    def _attempts(self, operation: str) -> Iterator[int]:
        yield from range(_ATTEMPTS)
        raise ServiceUnavailable(f"DynamoDB {operation}: not done after {_ATTEMPTS} attempts")

    def _back_off(self, attempt: int) -> None:
        self._sleep(random.uniform(0, min(0.005 * 2**attempt, 1.0)))  # noqa: S311  # jitter


def key_of(item: Item) -> Key:
    return Key(item["pk"]["S"], item["sk"]["S"])


def _key(key: Key) -> Item:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _put(table: str, put: Put) -> dict[str, Any]:
    return {"TableName": table, "Item": {**_key(put.key), **put.item}, **put.expression.arguments()}


def _transacted(table: str, write: Put | Update | Delete | Check) -> dict[str, Any]:
    match write:
        case Put():
            return {"Put": _put(table, write)}
        case Update():
            return {"Update": _update(table, write)}
        case Delete():
            return {"Delete": {"TableName": table, "Key": _key(write.key), **write.expression.arguments()}}
        case Check():
            return {"ConditionCheck": {"TableName": table, "Key": _key(write.key), **write.expression.arguments()}}


def _update(table: str, update: Update) -> dict[str, Any]:
    return {"TableName": table, "Key": _key(update.key), **update.expression.arguments()}


def _take_items_as_they_are(
    member: str, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Keep items as parsed JSON: no item holds binary data. Botocore would walk through every attribute of every item,
    which takes ten times as long as reading the JSON (3.0 against 0.3 ms for a run of a hundred instances)."""
    if response_dict["status_code"] == HTTPStatus.OK:
        answer = json.loads(response_dict["body"])
        if member in answer:
            customized_response_dict[member] = answer.pop(member)
        elif member == "Items":
            customized_response_dict[member] = []
        response_dict["body"] = json.dumps(answer).encode()


def _codes(error: ClientError) -> set[str]:
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", ())
    return {error.response["Error"]["Code"], *(reason.get("Code", "None") for reason in reasons)}


def _is_too_large(error: ClientError) -> bool:
    """Whether the request is too large, the caller's error. DynamoDB has one code for all invalid requests; only the text
    tells them apart."""
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", ())
    refusals: list[Mapping[str, Any]] = [error.response["Error"], *reasons]
    return any(
        refusal.get("Code") in _REFUSED and _TOO_LARGE in str(refusal.get("Message")).lower() for refusal in refusals
    )


def _found(error: ClientError) -> list[Item | None] | None:
    """The stored items of the failed conditions; `None` if the error is not about conditions."""
    if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
        return [error.response.get("Item")]  # type: ignore[list-item]  # botocore's types do not know it
    reasons: Sequence[Mapping[str, Any]] = error.response.get("CancellationReasons", ())
    if not any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons):
        return None
    return [
        reason.get("Item") if reason.get("Code") == "ConditionalCheckFailed" else ConditionFailed.HELD
        for reason in reasons
    ]
