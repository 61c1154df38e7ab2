"""A Kinesis stream whose records Lambda brings to the stack, so that no watcher polls it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

KINESIS_TRIGGER: Final = "airflow.providers.amazon.aws.triggers.kinesis.KinesisTrigger"
"""The class of `MessageQueueTrigger`'s triggers for Kinesis, too."""

DEFAULT_CONNECTION: Final = "aws_default"

MOST_RECORDS: Final = 100
"""Records of one event, as `KinesisTrigger` has it unless told otherwise."""

MOST_BYTES: Final = 280_000
"""What an event holds of records, as JSON; of a single record, its data alone."""


@dataclass(frozen=True, slots=True)
class StreamReader:
    """What Lambda must know to read a stream in a trigger's place."""

    stream: str
    """`region:name`, without a region where the trigger names none."""
    checkpoint: str
    """Key in the asset's state store at which the trigger keeps, for each shard, the sequence number that it has come to."""
    from_start: bool = False
    """A shard without a checkpoint is read from its oldest record on (`TRIM_HORIZON`); else from the watcher's beginning."""

    def checkpoint_of(self, shard_id: str) -> str:
        """Key at which the receiver keeps a shard's sequence number: a shard has one writer, the whole checkpoint many."""
        return f"{self.checkpoint}:{shard_id}"


def reader_of(classpath: str, kwargs: Mapping[str, Any]) -> StreamReader | None:
    """`None`: Lambda cannot read for the trigger, because it is no Kinesis trigger of Airflow's own, or has a connection of
    its own, which may lead to another account."""
    connection, region, name = (kwargs.get(key) for key in ("aws_conn_id", "region_name", "stream_name"))
    if classpath != KINESIS_TRIGGER or not isinstance(name, str) or not name:
        return None
    if kwargs.get("aws_conn_id", DEFAULT_CONNECTION) not in {DEFAULT_CONNECTION, None}:
        return None
    about = {
        "stream_name": name,
        "aws_conn_id": connection if "aws_conn_id" in kwargs else DEFAULT_CONNECTION,
        "region_name": region,
    }
    identity = json.dumps(about, sort_keys=True, separators=(",", ":"))
    return StreamReader(
        stream=f"{region or ''}:{name}",
        checkpoint=f"kinesis_shard_sequence_numbers:{sha256(identity.encode()).hexdigest()}",
        from_start=kwargs.get("shard_iterator_type") == "TRIM_HORIZON",
    )


def names_of_stream(arn: str) -> frozenset[str]:
    """What `StreamReader.stream` is for triggers that read the stream with this ARN. None, if it is no stream's."""
    service, region, _, resource = arn.split(":", 5)[2:]
    kind, _, name = resource.partition("/")
    return frozenset({f"{region}:{name}", f":{name}"}) if (service, kind) == ("kinesis", "stream") else frozenset()


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record as Lambda brings it."""

    shard_id: str
    sequence_number: str
    """Decimal; grows within a shard."""
    partition_key: str
    data: str
    """In base64."""
    arrived_at: datetime

    @property
    def message(self) -> dict[str, Any]:
        """What Airflow's trigger says of it."""
        return {
            "ShardId": self.shard_id,
            "SequenceNumber": self.sequence_number,
            "PartitionKey": self.partition_key,
            "ApproximateArrivalTimestamp": self.arrived_at.isoformat(),
            "Data": self.data,
        }

    @property
    def size(self) -> int:
        """Bytes that it takes in an event; not less, whatever characters its key has."""
        return len(json.dumps(self.message))


def in_batches(records: Sequence[StreamRecord]) -> Iterator[list[StreamRecord]]:
    """The records of each event, in order. A record that is larger than an event holds is alone."""
    batch: list[StreamRecord] = []
    size = 0
    for record in records:
        bytes_ = record.size
        if batch and (len(batch) == MOST_RECORDS or size + bytes_ > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += bytes_
    if batch:
        yield batch
