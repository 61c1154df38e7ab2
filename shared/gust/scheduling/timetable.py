"""When a DAG's next run is due, from Airflow's own encoding of its timetable, without Airflow.

Equal to Airflow's timetable classes to the microsecond (a property test runs both). Covered are the timetables that
come with Airflow; `can_be_computed` tells a custom one, whose moments have to be found where Airflow is.

Moments are aware and in UTC, coming and going. A cron expression is read on the wall clock of its zone: where the
clock is set forward a moment that does not exist moves on with it, where it is set back the second of two equal
moments counts, but an expression that fires every hour fires in both. Rules: `airflow/timetables/` of 3.3.2.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from gust.model.dag_spec import DagSpec, TimetableSpec
from gust.model.state import DagRunType

if TYPE_CHECKING:
    from croniter import croniter
    from dateutil.relativedelta import relativedelta

    Delta: TypeAlias = timedelta | relativedelta


@dataclass(frozen=True, slots=True)
class DataInterval:
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class NextRun:
    """Airflow's DagRunInfo."""

    run_after: datetime
    """When the run is made."""
    data_interval: DataInterval | None = None
    """What it covers; `None` for the run of a partition."""
    partition_date: datetime | None = None
    partition_key: str | None = None
    run_id: str | None = None
    """What a plugin's timetable calls the run; `None` where the name follows from the rest."""

    @property
    def logical_date(self) -> datetime | None:
        return self.data_interval.start if self.data_interval else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """No run before `earliest` or after `latest`, both inclusive."""

    earliest: datetime | None = None
    latest: datetime | None = None
    catchup: bool = False


def next_dagrun(
    spec: TimetableSpec,
    *,
    last: NextRun | None,
    earliest: datetime | None,
    latest: datetime | None,
    catchup: bool,
    now: datetime,
) -> NextRun | None:
    """The run after `last`, the latest that a timetable or a backfill made (`None`: there was none); `None` if none follows.

    Without `catchup` what was missed by `now` is left out. A schedule that has no moments at all (30 February) gives
    `None` too, as in Airflow.
    """
    restriction = Restriction(earliest=_in_utc(earliest), latest=_in_utc(latest), catchup=catchup)
    with suppress(NoMoment):
        return _timetable(spec.type, spec.data).next_run(last and _run_in_utc(last), restriction, now.astimezone(UTC))
    return None


def runs_between(spec: TimetableSpec, earliest: datetime, latest: datetime, *, now: datetime) -> Iterator[NextRun]:
    """All runs from `earliest` to `latest`, both included, whatever the DAG's own dates say. Of a partitioned timetable
    these are partitions, and both bounds are read on the clock of its zone: midnight is midnight there."""
    timetable = _timetable(spec.type, spec.data)
    if isinstance(timetable, _Partitions):
        yield from timetable.between(earliest, latest)
        return
    within = Restriction(earliest=earliest.astimezone(UTC), latest=latest.astimezone(UTC), catchup=True)
    last: NextRun | None = None
    with suppress(NoMoment):
        while (last := timetable.next_run(last, within, now.astimezone(UTC))) is not None:
            yield last


def fewest_between(spec: TimetableSpec, earliest: datetime, latest: datetime) -> int:
    """A number of runs from `earliest` to `latest` that there are at least, found without counting them; 0 where nothing
    but counting tells."""
    try:
        timetable = _timetable(spec.type, spec.data)
    except UnknownTimetable:
        return 0
    if not isinstance(timetable, _Trigger | _Intervals):
        return 0
    length, schedule = latest - earliest, timetable.schedule
    if isinstance(schedule, _Cron):
        # Clocks that are set may take a moment or an hour's moments away, and both ends may miss some.
        return int((length.days - 2) * schedule.fewest_a_day * 0.95)
    return length // schedule.delta - 1 if isinstance(schedule.delta, timedelta) and schedule.delta else 0


def cron_moments(spec: TimetableSpec, after: datetime) -> Iterator[datetime] | None:
    """The moments of the timetable's cron expression after one; `None` for a timetable without exactly one, or of a
    plugin."""
    try:
        timetable = _timetable(spec.type, spec.data)
    except UnknownTimetable:
        return None
    schedule = timetable.schedule if isinstance(timetable, _Trigger | _Intervals) else None
    return _moments_of(schedule, after.astimezone(UTC)) if isinstance(schedule, _Cron) else None


def _moments_of(schedule: _Cron, moment: datetime) -> Iterator[datetime]:
    with suppress(NoMoment):
        while True:
            moment = schedule.after(moment)
            yield moment


def partition_date_of(spec: TimetableSpec, partition_key: str) -> datetime | None:
    """The moment that the key stands for, where the timetable's keys stand for one. Raises ValueError where the key is
    not of the timetable's format."""
    timetable = _timetable(spec.type, spec.data)
    return timetable.date_of(partition_key) if isinstance(timetable, _Partitions) else None


def partition_moment(spec: TimetableSpec, given: datetime) -> datetime:
    """The moment that a bound of partition dates stands for: the wall clock of the timetable's zone, where it has one,
    whatever zone the bound came with; else the moment itself, in UTC where it has no zone."""
    timetable = _timetable(spec.type, spec.data) if can_be_computed(spec) else None
    if isinstance(timetable, _Partitions):
        return _on_wall_clock(given.replace(tzinfo=None), timetable.cron.zone).astimezone(UTC)
    return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)


def infer_manual_data_interval(spec: TimetableSpec, *, run_after: datetime) -> DataInterval:
    """The data interval of a run that a person asks for: for most timetables the last complete one."""
    return _timetable(spec.type, spec.data).manual_interval(run_after.astimezone(UTC))


def can_be_computed(spec: TimetableSpec) -> bool:
    """Whether this module knows the timetable; of any other the moments are not known here."""
    try:
        _timetable(spec.type, spec.data)
    except UnknownTimetable:
        return False
    return True


def restriction_of(spec: DagSpec) -> Restriction:
    """What the dates of the DAG and its tasks allow: its runs begin with the first task that begins, and end with the
    DAG, or with the last task where all tasks end."""
    starts = [task.start_date for task in spec.tasks.values() if task.start_date is not None]
    ends = [task.end_date for task in spec.tasks.values() if task.end_date is not None]
    if spec.start_date is not None:
        starts.append(spec.start_date)
    latest = spec.end_date
    if len(ends) == len(spec.tasks):
        latest = max([*ends, *([spec.end_date] if spec.end_date else [])], default=None)
    return Restriction(earliest=min(starts, default=None), latest=latest, catchup=spec.catchup)


def generate_run_id(
    run_type: DagRunType, *, run_after: datetime, partition_key: str | None = None, unique: str | None = None
) -> str:
    """Airflow's name for a run, e.g. `scheduled__2026-03-01T10:00:00+00:00`. `unique`: for the runs of partitioned
    timetables, of which there may be several for one moment and key."""
    parts = [run_type.value, run_after.astimezone(UTC).isoformat(), partition_key, unique]
    return "__".join(part for part in parts if part)


def names_are_unique(spec: TimetableSpec) -> bool:
    """Whether a run's name takes a random part."""
    return spec.type == CRON_PARTITIONS


class UnknownTimetable(LookupError):
    """A timetable that is not Airflow's own."""


class NoMoment(Exception):
    """The expression never fires (again)."""


# --- the timetables ---------------------------------------------------------------------------------------------------


class _Timetable(Protocol):
    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None: ...

    def manual_interval(self, run_after: datetime) -> DataInterval: ...


@dataclass(frozen=True, slots=True)
class _Never:
    """No schedule; also runs made by assets alone."""

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:  # noqa: ARG002
        return None

    def manual_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval(run_after, run_after)


@dataclass(frozen=True, slots=True)
class _Once(_Never):
    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        at = restriction.earliest or now
        if _covered(last) is not None or _is_after(at, restriction.latest):
            return None
        return NextRun(at, DataInterval(at, at))


@dataclass(frozen=True, slots=True)
class _Continuous(_Never):
    """The next run begins where the last one's interval ended, and ends now."""

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        begin = restriction.earliest or now
        covered = _covered(last)
        if covered is None:
            interval = DataInterval(begin, max(begin, now))
        elif covered.end > now:
            interval = DataInterval(begin, begin + (covered.end - covered.start))
        else:
            interval = DataInterval(covered.end, now)
        return None if _is_after(interval.end, restriction.latest) else NextRun(interval.end, interval)


@dataclass(frozen=True, slots=True)
class _Events:
    """Moments listed one by one, ascending."""

    moments: tuple[datetime, ...]
    only_at_events: bool

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        earliest = restriction.earliest
        if not restriction.catchup:
            earliest = max(earliest or now, now)
        covered = _covered(last)
        first = max(
            bisect_left(self.moments, earliest) if earliest is not None else 0,
            bisect_right(self.moments, covered.end) if covered is not None else 0,
        )
        if first == len(self.moments) or _is_after(self.moments[first], restriction.latest):
            return None
        return NextRun(self.moments[first], DataInterval(self.moments[first], self.moments[first]))

    def manual_interval(self, run_after: datetime) -> DataInterval:
        at = run_after
        if self.only_at_events and self.moments:
            at = max((moment for moment in self.moments if moment <= run_after), default=self.moments[0])
        return DataInterval(at, at)


@dataclass(frozen=True, slots=True)
class _Cron:
    """The moments of a cron expression on the wall clock of a zone."""

    expression: str
    zone: tzinfo

    def after(self, moment: datetime) -> datetime:
        return self._step(moment, 1)

    def before(self, moment: datetime) -> datetime:
        return self._step(moment, -1)

    def at_or_after(self, moment: datetime) -> datetime:
        after = self.after(moment)
        return moment if self.before(after) == moment else after

    def at_or_before(self, moment: datetime) -> datetime:
        before = self.before(moment)
        return moment if self.after(before) == moment else before

    @property
    def fewest_a_day(self) -> int:
        """0 for an expression that does not fire every day."""
        from croniter import CroniterError  # noqa: PLC0415

        try:
            minutes, hours, *days = _cron_of(self.expression, get_ident()).expanded
        except CroniterError:
            return 0
        if any(field != ["*"] for field in days[:3]) or len(days) > 3:
            return 0
        return (60 if minutes == ["*"] else len(minutes)) * (24 if hours == ["*"] else len(hours))

    def _step(self, moment: datetime, direction: int) -> datetime:
        return _step(self.expression, self.zone, moment, direction)


@lru_cache(maxsize=1024)
def _step(expression: str, zone: tzinfo, moment: datetime, direction: int) -> datetime:
    """Kept, because a timetable asks for the same moments again from run to run: a backfill has 100,000."""
    from croniter import CroniterError  # noqa: PLC0415

    wall = moment.astimezone(zone).replace(tzinfo=None, fold=0)
    try:
        cron = _cron_of(expression, get_ident())
        there: datetime = (cron.get_next if direction > 0 else cron.get_prev)(datetime, start_time=wall)
    except CroniterError as problem:
        raise NoMoment(expression) from problem
    return moment + (there - wall) if _fires_every_hour(cron) else _on_wall_clock(there, zone)


@lru_cache(maxsize=64)
def _cron_of(expression: str, thread: int) -> croniter:  # noqa: ARG001 - it holds where it is, so each thread has its own
    """Reading an expression takes four times as long as a step."""
    # Imported here: 60 ms that only DAGs with a cron schedule pay.
    from croniter import croniter  # noqa: PLC0415

    return croniter(expression)


def _fires_every_hour(cron: croniter) -> bool:
    return bool(cron.expanded[1] == ["*"])


def _on_wall_clock(wall: datetime, zone: tzinfo) -> datetime:
    """The moment at which clocks in `zone` show `wall`: the second of two, and moved on by the gap where there is
    none.
    """
    first, second = wall.replace(tzinfo=zone, fold=0), wall.replace(tzinfo=zone, fold=1)
    gap = _offset(second) - _offset(first)
    shown = second + gap if gap > timedelta() else second
    return shown.astimezone(UTC)


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


@dataclass(frozen=True, slots=True)
class _Delta:
    """Every so often, counted from wherever one is."""

    delta: Delta

    def after(self, moment: datetime) -> datetime:
        return _shifted(moment, self.delta)

    def before(self, moment: datetime) -> datetime:
        return _shifted(moment, -self.delta)

    def at_or_after(self, moment: datetime) -> datetime:
        return moment

    def at_or_before(self, moment: datetime) -> datetime:
        return moment


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A run at each moment; its data interval, of the length `interval`, ends there."""

    schedule: _Cron | _Delta
    interval: Delta
    run_immediately: bool | timedelta = False

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        covered = _covered(last)
        at = self.next_moment(covered.end if covered else None, restriction, now)
        return None if at is None else NextRun(at, DataInterval(_shifted(at, -self.interval), at))

    def next_moment(self, last: datetime | None, restriction: Restriction, now: datetime) -> datetime | None:
        at = max(self._candidates(last, restriction, now))
        return None if _is_after(at, restriction.latest) else at

    def manual_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval(_shifted(run_after, -self.interval), run_after)

    def _candidates(self, last: datetime | None, restriction: Restriction, now: datetime) -> Iterator[datetime]:
        if not restriction.catchup:
            yield self.schedule.at_or_before(now)
        if last is not None:
            yield self.schedule.after(last)
        elif restriction.earliest is None:
            yield self._first(now)
        if restriction.earliest is not None and (last is None or not restriction.catchup):
            yield self.schedule.at_or_after(restriction.earliest)

    def _first(self, now: datetime) -> datetime:
        """The first run of a DAG without start date: the moment just past, if it is not long past, else the next
        one.
        """
        past, following = self.schedule.at_or_before(now), self.schedule.at_or_after(now)
        if isinstance(self.schedule, _Delta) or self.run_immediately is True:
            return past
        patience = max((following - past) / 10, timedelta(minutes=5))
        if isinstance(self.run_immediately, timedelta):
            patience = self.run_immediately
        return past if now - past <= patience else following


@dataclass(frozen=True, slots=True)
class _Partitions:
    """A run at each moment of a cron expression, for the partition of a moment so many steps before or after it."""

    trigger: _Trigger
    cron: _Cron
    steps: int
    key_format: str

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        at = self.trigger.next_moment(last.run_after if last else None, restriction, now)
        if at is None:
            return None
        date = at
        for _ in range(abs(self.steps)):
            date = self.cron.after(date) if self.steps > 0 else self.cron.before(date)
        return NextRun(at, partition_date=date, partition_key=self.key_of(date))

    def manual_interval(self, run_after: datetime) -> DataInterval:
        return self.trigger.manual_interval(run_after)

    def between(self, earliest: datetime, latest: datetime) -> Iterator[NextRun]:
        """The partitions from one to the other, each as if run at its own moment, as Airflow's backfills have it."""
        first, last = (_on_wall_clock(bound.replace(tzinfo=None), self.cron.zone) for bound in (earliest, latest))
        date = self.cron.at_or_after(first)
        while date <= last:
            yield NextRun(date, partition_date=date, partition_key=self.key_of(date))
            date = self.cron.after(date)

    def key_of(self, date: datetime) -> str:
        return date.astimezone(self.cron.zone).strftime(self.key_format)

    def date_of(self, key: str) -> datetime:
        """Raises ValueError."""
        read = datetime.strptime(key, self.key_format)  # noqa: DTZ007 - a key is on the timetable's wall clock
        return _on_wall_clock(read.replace(tzinfo=None), self.cron.zone)


@dataclass(frozen=True, slots=True)
class _Several:
    """A run whenever one of several expressions fires."""

    timetables: tuple[_Trigger, ...]

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        runs = [timetable.next_run(last, restriction, now) for timetable in self.timetables]
        return min(runs, key=lambda run: self._rank(run, None if restriction.catchup else now))

    def manual_interval(self, run_after: datetime) -> DataInterval:
        return min((t.manual_interval(run_after) for t in self.timetables), key=lambda interval: interval.start)

    @staticmethod
    def _rank(run: NextRun | None, now: datetime | None) -> float:
        """With catchup the earliest first.

        Without it the latest that is not in the future, else the earliest that is.
        """
        if run is None or run.logical_date is None:
            return math.inf
        at = run.logical_date.timestamp()
        return -at if now is not None and at <= now.timestamp() else at


@dataclass(frozen=True, slots=True)
class _Intervals:
    """Data intervals that follow each other; each one's run is made when it is over."""

    schedule: _Cron | _Delta

    def next_run(self, last: NextRun | None, restriction: Restriction, now: datetime) -> NextRun | None:
        start = self._start(_covered(last), restriction, now)
        if start is None or _is_after(start, restriction.latest):
            return None
        end = self.schedule.after(start)
        return NextRun(end, DataInterval(start, end))

    def manual_interval(self, run_after: datetime) -> DataInterval:
        end = self.schedule.at_or_before(run_after)
        return DataInterval(self.schedule.before(end), end)

    def _start(self, last: DataInterval | None, restriction: Restriction, now: datetime) -> datetime | None:
        earliest = restriction.earliest
        if not restriction.catchup:
            earliest = self._latest_start(earliest, now)
        elif earliest is not None:
            earliest = self.schedule.at_or_after(earliest)
        if last is None:
            return earliest
        start = self.schedule.at_or_before(last.end)
        if earliest is not None:
            start = max(start, earliest)
        if start <= last.start:
            # The schedule has changed, and what it makes of the last interval's end lies before it.
            start = self.schedule.after(start)
            if start <= last.start:
                raise NoMoment(f"The timetable did not advance past {last.start}")
        return start

    def _latest_start(self, earliest: datetime | None, now: datetime) -> datetime:
        """Where the last interval that is over by now begins."""
        if isinstance(self.schedule, _Delta):
            start = self.schedule.before(_rounded(now, self.schedule.delta, earliest or now))
            return max(start, earliest) if earliest is not None else start
        last_start = self.schedule.before(now)
        start = last_start if self.schedule.after(last_start) == now else self.schedule.before(last_start)
        return max(start, self.schedule.at_or_after(earliest)) if earliest is not None else start


def _shifted(moment: datetime, delta: Delta) -> datetime:
    """Raises NoMoment where the calendar ends before."""
    try:
        return moment + delta
    except (OverflowError, ValueError) as problem:
        raise NoMoment(f"{delta} from {moment}") from problem


def _rounded(moment: datetime, delta: Delta, anchor: datetime) -> datetime:
    """Down to a multiple of `delta` since 1970; months and years are counted from `anchor`, one by one."""
    if isinstance(delta, timedelta):
        seconds = delta.total_seconds()
    elif delta.months or delta.years:
        boundary = anchor
        while boundary + delta <= moment:
            boundary += delta
        return boundary
    else:
        seconds = delta.days * 86400 + delta.hours * 3600 + delta.minutes * 60 + delta.seconds
    since_epoch = moment.timestamp()
    return datetime.fromtimestamp(since_epoch - since_epoch % seconds, tz=UTC)


# --- Airflow's encoding -----------------------------------------------------------------------------------------------

PRESETS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}

PARTITIONED_AT_RUNTIME: Final = "airflow.timetables.simple.PartitionedAtRuntime"
CRON_PARTITIONS: Final = "airflow.timetables.trigger.CronPartitionTimetable"

_DECODERS: Final[dict[str, Callable[[dict[str, Any]], _Timetable]]] = {
    "airflow.timetables.simple.NullTimetable": lambda _: _Never(),
    "airflow.timetables.simple.OnceTimetable": lambda _: _Once(),
    "airflow.timetables.simple.ContinuousTimetable": lambda _: _Continuous(),
    "airflow.timetables.simple.AssetTriggeredTimetable": lambda _: _Never(),
    "airflow.timetables.simple.PartitionedAssetTimetable": lambda _: _Never(),
    PARTITIONED_AT_RUNTIME: lambda _: _Never(),
    "airflow.timetables.assets.AssetOrTimeSchedule": lambda data: _timetable(
        data["timetable"]["__type"], data["timetable"]["__var"]
    ),
    "airflow.timetables.events.EventsTimetable": lambda data: _Events(
        tuple(sorted(datetime.fromisoformat(text).astimezone(UTC) for text in data["event_dates"])),
        bool(data["restrict_to_events"]),
    ),
    "airflow.timetables.interval.CronDataIntervalTimetable": lambda data: _Intervals(
        _cron(data["expression"], data["timezone"])
    ),
    "airflow.timetables.interval.DeltaDataIntervalTimetable": lambda data: _Intervals(_Delta(_decoded(data["delta"]))),
    "airflow.timetables.trigger.CronTriggerTimetable": lambda data: _cron_trigger(data["expression"], data),
    CRON_PARTITIONS: lambda data: _Partitions(
        _cron_trigger(data["expression"], {**data, "interval": 0.0}),
        _cron(data["expression"], data["timezone"]),
        data["run_offset"] if isinstance(data["run_offset"], int) else 0,
        data["key_format"],
    ),
    "airflow.timetables.trigger.DeltaTriggerTimetable": lambda data: _Trigger(
        _Delta(_decoded(data["delta"])), _decoded(data["interval"])
    ),
    "airflow.timetables.trigger.MultipleCronTriggerTimetable": lambda data: _Several(
        tuple(_cron_trigger(expression, data) for expression in data["expressions"])
    ),
}


def _timetable(type_: str, data: dict[str, Any]) -> _Timetable:
    decode = _DECODERS.get(type_)
    if decode is None:
        raise UnknownTimetable(type_)
    return decode(data)


def _cron_trigger(expression: str, data: dict[str, Any]) -> _Trigger:
    immediately = data.get("run_immediately", False)
    if isinstance(immediately, float):
        immediately = timedelta(seconds=immediately)
    return _Trigger(_cron(expression, data["timezone"]), _decoded(data["interval"]), immediately)


def _cron(expression: str, zone: str | int) -> _Cron:
    return _Cron(PRESETS.get(expression, expression), _zone(zone))


def _zone(zone: str | int) -> tzinfo:
    """A name, or seconds east of UTC."""
    if isinstance(zone, int):
        return timezone(timedelta(seconds=zone))
    return UTC if zone.lower() == "utc" else ZoneInfo(zone)


def _decoded(delta: float | dict[str, Any]) -> Delta:
    """Seconds, or the arguments of a relativedelta."""
    if not isinstance(delta, dict):
        return timedelta(seconds=delta)
    # Imported here, since hardly a DAG has one.
    from dateutil.relativedelta import relativedelta, weekday  # noqa: PLC0415

    arguments = dict(delta)
    if "weekday" in arguments:
        arguments["weekday"] = weekday(*arguments["weekday"])
    return relativedelta(**arguments)


def _in_utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _run_in_utc(run: NextRun) -> NextRun:
    covered = run.data_interval
    return NextRun(
        run.run_after.astimezone(UTC),
        covered and DataInterval(covered.start.astimezone(UTC), covered.end.astimezone(UTC)),
        _in_utc(run.partition_date),
        run.partition_key,
    )


def _covered(last: NextRun | None) -> DataInterval | None:
    return last.data_interval if last else None


def _is_after(moment: datetime, latest: datetime | None) -> bool:
    return latest is not None and moment > latest
