"""Which partitions of a DAG an event of a partitioned asset counts for, and when a partition has what it needs.

Airflow's mappers, windows and wait policies from Airflow's own encoding of them, without Airflow; a test runs both. A mapper
that a plugin brings, or that holds anything of a plugin's, is asked where its code may run. Rules:
`airflow/partition_mappers/` of 3.3.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Any, Final, Protocol, assert_never

from gust.errors import ServiceUnavailable
from gust.model.asset import AssetKey, PendingPartition
from gust.model.dag_spec import TimetableSpec
from gust.scheduling.asset_condition import named_in
from gust.scheduling.timetable import _on_wall_clock as on_wall_clock
from gust.scheduling.timetable import _zone as zone_of

MAX_DOWNSTREAM_KEYS: Final = 1000
"""Airflow's `[scheduler] partition_mapper_max_downstream_keys`, at its default."""

Decoded = str | datetime
"""What a window counts in: the key itself, or the moment that it stands for."""


Ask = Callable[[dict[str, Any], dict[str, Any]], Any]
"""Asks a mapper (its encoding) of a plugin a question. Raises ServiceUnavailable where it cannot be asked now."""


class UnknownMapper(LookupError):
    """A partition mapper, window or wait policy that is not Airflow's own."""


class Mapper(Protocol):
    def map(self, key: str) -> str | list[str]:
        """The keys that a source key counts for. Raises ValueError where it is none of the mapper's."""

    def decoded(self, downstream_key: str) -> Decoded: ...

    def encoded(self, member: Decoded) -> str:
        """As a source key."""

    def formatted(self, member: Decoded) -> str:
        """As a downstream key."""

    def date_of(self, downstream_key: str) -> datetime | None:
        """The moment a downstream key stands for."""


# --- a timetable's mappers --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AssetMapper:
    """The mapper that a timetable has for one asset."""

    encoding: dict[str, Any]
    ask: Ask | None = None
    """Runs a plugin's mapper; without it, such a mapper maps nothing."""

    @property
    def mapper(self) -> Mapper:
        """Raises UnknownMapper."""
        return _mapper(self.encoding)

    @property
    def max_downstream_keys(self) -> int:
        return self.encoding["__var"].get("max_downstream_keys") or MAX_DOWNSTREAM_KEYS

    def downstream_keys(self, key: str) -> list[str]:
        """The keys of the DAG's partitions for a source key. Raises the error of the key or the mapper."""
        mapped = self._told(lambda mapper: mapper.map(key), {"downstream_keys": {"key": key}})
        return [mapped] if isinstance(mapped, str) else mapped

    def carried_date(self, date: datetime | None) -> datetime | None:
        """Of the run that the event comes from: only an identical key stands for the same moment."""
        if date is None:
            return None
        try:
            carried = self._told(
                lambda mapper: date.isoformat() if isinstance(mapper, _Identity) else None,
                {"carried_date": {"date": date.isoformat()}},
            )
        except ServiceUnavailable:
            raise
        except Exception:  # the partition is queued without a date, as in Airflow
            return None
        return datetime.fromisoformat(carried) if carried else None

    @property
    def is_rollup(self) -> bool:
        """Whether several source keys make one."""
        return self.encoding.get("__type") == _ROLLUP

    def required_keys(self, downstream_key: str) -> frozenset[str]:
        """The source keys that a partition waits for. Raises the error of the key or the mapper."""
        mapper = self.mapper
        return mapper.expected(downstream_key) if isinstance(mapper, _Rollup) else frozenset({downstream_key})

    def is_satisfied(self, downstream_key: str, received: set[str]) -> bool:
        """Whether the source keys that came suffice. False for a mapper that cannot tell."""
        try:
            return bool(
                self._told(
                    lambda mapper: not isinstance(mapper, _Rollup) or mapper.is_satisfied(downstream_key, received),
                    {"is_satisfied": {"key": downstream_key, "received": sorted(received)}},
                )
            )
        except ServiceUnavailable:
            raise
        except Exception:  # whatever is wrong with a mapper, the partition waits
            return False

    def date_of(self, downstream_key: str) -> datetime | None:
        """The moment a downstream key stands for. Raises the error of the key or the mapper."""
        date = self._told(lambda mapper: mapper.date_of(downstream_key), {"date_of": {"key": downstream_key}})
        return datetime.fromisoformat(date) if isinstance(date, str) else date

    def _told(self, here: Callable[[Mapper], Any], question: dict[str, Any]) -> Any:
        """What the mapper says, worked out here or asked of the plugin's."""
        try:
            mapper = self.mapper
        except UnknownMapper:
            if self.ask is None:
                raise
            return self.ask(self.encoding, question)
        return here(mapper)


@dataclass(frozen=True, slots=True)
class Mappers:
    default: AssetMapper
    by_name: dict[str, AssetMapper]
    by_uri: dict[str, AssetMapper]
    fingerprint: str
    """Another one once a mapper of the schedule's assets has changed."""

    def of_asset(self, asset: AssetKey) -> AssetMapper:
        """By name alone, as Airflow looks it up."""
        return self.by_name.get(asset.name, self.default)

    def satisfied_assets(self, partition: PendingPartition) -> set[AssetKey]:
        keys = self._received(partition)
        key = partition.partition_key
        return {asset for asset, received in keys.items() if self.of_asset(asset).is_satisfied(key, received)}

    def date_of(self, partition: PendingPartition) -> datetime | None:
        """The moment that all mappers agree on, of assets that came; else the one that the events carried. None where they
        differ, or one of them cannot tell."""
        try:
            dates = {
                date
                for asset in self._received(partition)
                if (date := self.of_asset(asset).date_of(partition.partition_key)) is not None
            }
        except ServiceUnavailable:
            raise
        except Exception:  # a broken mapper leaves the date open, it does not keep the run
            return None
        if not dates:
            return partition.partition_date
        return dates.pop() if len(dates) == 1 else None

    @staticmethod
    def _received(partition: PendingPartition) -> dict[AssetKey, set[str]]:
        keys: dict[AssetKey, set[str]] = {}
        for event in partition.received:
            keys.setdefault(event.asset, set()).add(event.source_key)
        return keys


def mappers_of(spec: TimetableSpec, ask: Ask | None = None) -> Mappers:
    by_name: dict[str, AssetMapper] = {}
    by_uri: dict[str, AssetMapper] = {}
    for condition, encoding in spec.data.get("partition_mapper_config") or ():
        for name, uri in _named(condition):
            if name is not None:
                by_name[name] = AssetMapper(encoding, ask)
            if uri is not None:
                by_uri[uri] = AssetMapper(encoding, ask)
    default = AssetMapper(spec.data.get("default_partition_mapper") or {"__type": _IDENTITY, "__var": {}}, ask)
    entries = {}
    for ref in named_in(spec.asset_expression):
        match ref.kind:
            case "asset" | "name_ref":
                entries[f"{ref.name}|{ref.uri or ''}"] = by_name.get(ref.name or "", default).encoding
            case "uri_ref":
                entries[f"|{ref.uri}"] = by_uri.get(ref.uri or "", default).encoding
            case "alias":
                pass  # its assets are known only once an event has come through it
            case _:
                assert_never(ref.kind)
    written = json.dumps(entries, sort_keys=True)
    return Mappers(default, by_name, by_uri, sha256(written.encode()).hexdigest()[:16])


def _named(condition: dict[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    """(name, uri) of what an encoded asset, reference or condition names."""
    for part in condition.get("objects", ()):
        yield from _named(part)
    match condition:
        case {"__type": "asset", "name": str(name), "uri": str(uri)}:
            yield name, uri
        case {"__type": "asset_ref"}:
            yield condition.get("name"), condition.get("uri")
        case _:
            pass  # a condition, whose parts are named above


# --- mappers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plain:
    """What mappers have in common whose keys stand for no moment."""

    def map(self, key: str) -> str | list[str]:
        return key

    def decoded(self, downstream_key: str) -> Decoded:
        return downstream_key

    def encoded(self, member: Decoded) -> str:
        return str(member)

    def formatted(self, member: Decoded) -> str:
        return member.isoformat() if isinstance(member, datetime) else str(member)

    def date_of(self, downstream_key: str) -> datetime | None:  # noqa: ARG002 - others can tell
        return None


@dataclass(frozen=True, slots=True)
class _Identity(_Plain):
    pass


@dataclass(frozen=True, slots=True)
class _AllowedKeys(_Plain):
    allowed: tuple[str, ...]

    def map(self, key: str) -> str:
        if key not in self.allowed:
            raise ValueError(f"Key {key!r} not in allowed keys {list(self.allowed)}")
        return key


@dataclass(frozen=True, slots=True)
class _FixedKey(_Plain):
    downstream_key: str

    def map(self, key: str) -> str:  # noqa: ARG002 - all keys are one
        return self.downstream_key


@dataclass(frozen=True, slots=True)
class _Chain(_Plain):
    """One mapper after the other; one that makes several keys hands on each of them."""

    mappers: tuple[Mapper, ...]

    def map(self, key: str) -> str | list[str]:
        keys = [key]
        for mapper in self.mappers:
            keys = [mapped for one in keys for mapped in _as_list(mapper.map(one))]
        return keys[0] if len(keys) == 1 else keys

    def date_of(self, downstream_key: str) -> datetime | None:
        return self.mappers[-1].date_of(downstream_key)


@dataclass(frozen=True, slots=True)
class _Product(_Plain):
    """A mapper for each segment of the key."""

    mappers: tuple[Mapper, ...]
    delimiter: str

    def map(self, key: str) -> str:
        segments = key.split(self.delimiter)
        if len(segments) != len(self.mappers):
            raise ValueError(f"Expected {len(self.mappers)} segments in key, got {len(segments)}")
        mapped = [mapper.map(segment) for mapper, segment in zip(self.mappers, segments, strict=True)]
        if not all(isinstance(one, str) for one in mapped):
            raise TypeError("A mapper within a product must make one key of one")
        return self.delimiter.join(str(one) for one in mapped)

    def date_of(self, downstream_key: str) -> datetime | None:
        segments = downstream_key.split(self.delimiter)
        if len(segments) != len(self.mappers):
            return None
        dates = [mapper.date_of(segment) for mapper, segment in zip(self.mappers, segments, strict=True)]
        known = [date for date in dates if date is not None]
        return known[0] if len(known) == 1 else None


@dataclass(frozen=True, slots=True)
class _Period:
    """The start of the hour, day, … that a key lies in, on the wall clock of a zone."""

    zone: tzinfo
    input_format: str
    output_format: str
    start_of: Callable[[datetime], datetime]
    parts: tuple[str, ...] = ()
    """What a downstream key must name if it is read by a pattern instead of `strptime`."""

    def map(self, key: str) -> str:
        moment = datetime.strptime(key, self.input_format)  # noqa: DTZ007 - made aware below, in the mapper's own zone
        return self.formatted(self._start(moment.astimezone(self.zone) if moment.tzinfo else self._aware(moment)))

    def decoded(self, downstream_key: str) -> datetime:
        if not self.parts:
            return datetime.strptime(downstream_key, self.output_format)  # noqa: DTZ007 - windows count in naive moments
        found = _pattern(self.output_format).fullmatch(downstream_key)
        if found is None or not set(self.parts) <= found.groupdict().keys():
            raise ValueError(f"{downstream_key!r} could not be parsed with output_format {self.output_format!r}")
        year = int(found["Y"])
        if "quarter" in self.parts:
            return datetime(year, (int(found["quarter"]) - 1) * 3 + 1, 1)  # noqa: DTZ001 - as above
        return datetime(year, int(found["m"]), int(found["d"]))  # noqa: DTZ001 - as above

    def encoded(self, member: Decoded) -> str:
        moment = _moment(member)
        wall = moment.astimezone(self.zone).replace(tzinfo=None) if moment.tzinfo else moment
        return self._aware(wall).strftime(self.input_format)

    def formatted(self, member: Decoded) -> str:
        moment = _moment(member)
        written = moment.strftime(self.output_format)
        return written.format(quarter=(moment.month - 1) // 3 + 1) if self.start_of is _start_of_quarter else written

    def date_of(self, downstream_key: str) -> datetime | None:
        start = self.start_of(self.decoded(downstream_key))
        return (start if start.tzinfo else self._aware(start)).astimezone(UTC)

    def _start(self, moment: datetime) -> datetime:
        return self._aware(self.start_of(moment.replace(tzinfo=None)))

    def _aware(self, wall: datetime) -> datetime:
        return on_wall_clock(wall, self.zone).astimezone(self.zone)


@dataclass(frozen=True, slots=True)
class _FanOut(_Plain):
    """One key that stands for a period makes a key for each member of the window that begins there."""

    upstream: Mapper
    window: _Window
    downstream: Mapper

    def map(self, key: str) -> list[str]:
        mapped = self.upstream.map(key)
        if not isinstance(mapped, str):
            raise TypeError("The upstream mapper of a fan-out must make one key of one")
        return [self.downstream.formatted(member) for member in self.window.members(self.upstream.decoded(mapped))]

    def date_of(self, downstream_key: str) -> datetime | None:
        return self.downstream.date_of(downstream_key)


@dataclass(frozen=True, slots=True)
class _Rollup(_Plain):
    """Many keys make one, which waits for those of a window."""

    upstream: Mapper
    window: _Window
    enough: Callable[[set[str], frozenset[str]], bool]

    def map(self, key: str) -> str | list[str]:
        return self.upstream.map(key)

    def date_of(self, downstream_key: str) -> datetime | None:
        return self.upstream.date_of(downstream_key)

    def expected(self, downstream_key: str) -> frozenset[str]:
        members = self.window.members(self.upstream.decoded(downstream_key))
        return frozenset(self.upstream.encoded(member) for member in members)

    def is_satisfied(self, downstream_key: str, received: set[str]) -> bool:
        return self.enough(received, self.expected(downstream_key))


def _as_list(keys: str | list[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else keys


def _moment(member: Decoded) -> datetime:
    if not isinstance(member, datetime):
        raise TypeError(f"{member!r} is no moment")
    return member


# --- starts of periods ------------------------------------------------------------------------------------------------


def _start_of_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _start_of_day(moment: datetime) -> datetime:
    return _start_of_hour(moment).replace(hour=0)


def _start_of_week(moment: datetime) -> datetime:
    return _start_of_day(moment - timedelta(days=moment.weekday()))


def _start_of_month(moment: datetime) -> datetime:
    return _start_of_day(moment).replace(day=1)


def _start_of_quarter(moment: datetime) -> datetime:
    return _start_of_month(moment).replace(month=(moment.month - 1) // 3 * 3 + 1)


def _start_of_year(moment: datetime) -> datetime:
    return _start_of_month(moment).replace(month=1)


_DIRECTIVES: Final = {"Y": r"\d{4}"} | dict.fromkeys("mdHMSVUW", r"\d{2}")


def _pattern(output_format: str) -> re.Pattern[str]:
    """Matches what the format writes, a group for each directive that reads back and for `{quarter}`."""

    def part(found: re.Match[str]) -> str:
        if found["directive"] and found["directive"] in _DIRECTIVES:
            return f"(?P<{found['directive']}>{_DIRECTIVES[found['directive']]})"
        if found["name"]:
            values = "[1-4]" if found["name"] == "quarter" else r"\w+"
            return f"(?P<{found['name']}>{values})"
        return re.escape(found[0])

    return re.compile(re.sub(r"%(?P<directive>\w)|\{(?P<name>\w+)\}|.", part, output_format, flags=re.DOTALL))


# --- windows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Window:
    """The members of a period: so many steps from its start on, or, backward, up to it."""

    count: int
    step: Callable[[datetime, int], datetime]
    backward: bool = False
    from_day_one: bool = False
    days_of_month: bool = False
    segments: frozenset[str] = field(default=frozenset())

    def members(self, period: Decoded) -> Iterable[Decoded]:
        if self.segments:
            return self.segments
        start = _moment(period)
        if self.from_day_one and start.day != 1:
            raise ValueError(f"{start.isoformat()} is not the first day of a month")
        if self.days_of_month:
            return _days_of_month(start, backward=self.backward)
        base = self.step(start, 1 - self.count) if self.backward else start
        return [self.step(base, number) for number in range(self.count)]


def _days_of_month(start: datetime, *, backward: bool) -> Sequence[datetime]:
    if backward:
        previous = _months(start, -1)
        return [previous + timedelta(days=number + 1) for number in range((start - previous).days)]
    return [start + timedelta(days=number) for number in range((_months(start, 1) - start).days)]


def _months(moment: datetime, number: int) -> datetime:
    total = moment.month - 1 + number
    return moment.replace(year=moment.year + total // 12, month=total % 12 + 1)


def _minutes(moment: datetime, number: int) -> datetime:
    return moment + timedelta(minutes=number)


def _hours(moment: datetime, number: int) -> datetime:
    return moment + timedelta(hours=number)


def _days(moment: datetime, number: int) -> datetime:
    return moment + timedelta(days=number)


# --- Airflow's encoding -----------------------------------------------------------------------------------------------

_HOME: Final = "airflow.partition_mappers."
_IDENTITY: Final = f"{_HOME}identity.IdentityMapper"
_ROLLUP: Final = f"{_HOME}base.RollupMapper"

_PERIODS: Final[dict[str, tuple[Callable[[datetime], datetime], tuple[str, ...]]]] = {
    "temporal.StartOfHourMapper": (_start_of_hour, ()),
    "temporal.StartOfDayMapper": (_start_of_day, ()),
    "temporal.StartOfWeekMapper": (_start_of_week, ("Y", "m", "d")),
    "temporal.StartOfMonthMapper": (_start_of_month, ()),
    "temporal.StartOfQuarterMapper": (_start_of_quarter, ("Y", "quarter")),
    "temporal.StartOfYearMapper": (_start_of_year, ()),
}

_WINDOWS: Final = {
    "window.HourWindow": _Window(60, _minutes),
    "window.DayWindow": _Window(24, _hours),
    "window.WeekWindow": _Window(7, _days),
    "window.MonthWindow": _Window(0, _days, from_day_one=True, days_of_month=True),
    "window.QuarterWindow": _Window(3, _months, from_day_one=True),
    "window.YearWindow": _Window(12, _months, from_day_one=True),
}


def _mapper(encoding: dict[str, Any]) -> Mapper:
    """Raises UnknownMapper."""
    kind, data = encoding["__type"].removeprefix(_HOME), encoding["__var"]
    if kind in _PERIODS:
        start_of, parts = _PERIODS[kind]
        zone = zone_of(data.get("timezone", "UTC"))
        return _Period(zone, data["input_format"], data["output_format"], start_of, parts)
    match kind:
        case "identity.IdentityMapper":
            return _Identity()
        case "allowed_key.AllowedKeyMapper":
            return _AllowedKeys(tuple(data["allowed_keys"]))
        case "fixed_key.FixedKeyMapper":
            return _FixedKey(data["downstream_key"])
        case "chain.ChainMapper":
            return _Chain(tuple(map(_mapper, data["mappers"])))
        case "product.ProductMapper":
            return _Product(tuple(map(_mapper, data["mappers"])), data.get("delimiter", "|"))
        case "temporal.FanOutMapper":
            return _FanOut(
                _mapper(data["upstream_mapper"]), _window(data["window"]), _mapper(data["downstream_mapper"])
            )
        case "base.RollupMapper":
            return _Rollup(_mapper(data["upstream_mapper"]), _window(data["window"]), _wait_policy(data["wait_policy"]))
        case _:
            raise UnknownMapper(f"The partition mapper {encoding['__type']} is not one of Airflow's own")


def _window(encoding: dict[str, Any]) -> _Window:
    kind, data = encoding["__type"].removeprefix(_HOME), encoding["__var"]
    if kind == "window.SegmentWindow":
        return _Window(0, _days, segments=frozenset(data["segments"]))
    if (window := _WINDOWS.get(kind)) is None:
        raise UnknownMapper(f"The window {encoding['__type']} is not one of Airflow's own")
    if data.get("direction", "forward") == "forward":
        return window
    return replace(window, backward=True)


def _wait_policy(encoding: dict[str, Any]) -> Callable[[set[str], frozenset[str]], bool]:
    kind, data = encoding["__type"].removeprefix(_HOME), encoding["__var"]
    match kind:
        case "wait_policy.WaitForAll":
            return lambda received, expected: expected <= received
        case "wait_policy.MinimumCount":
            return lambda received, expected: _has_count(data["n"], len(received & expected), len(expected))
        case _:
            raise UnknownMapper(f"The wait policy {encoding['__type']} is not one of Airflow's own")


def _has_count(wanted: int, received: int, expected: int) -> bool:
    """A negative number: all but so many. A count that the window cannot reach is never reached."""
    if wanted > 0:
        return wanted <= expected and received >= wanted
    return received >= max(0, expected + wanted)
