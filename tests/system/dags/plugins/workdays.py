"""A timetable of the folder's own: every weekday at nine, for the weekday before."""

from datetime import timedelta

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.base import DagRunInfo, DataInterval, Timetable
from pendulum import UTC, DateTime, Time

MONDAY, SATURDAY = 0, 5


class Workdays(Timetable):
    """Named in DAG files; the scheduler gets it from the plugin."""

    description = "Weekdays at a given hour"

    def __init__(self, hour: int = 9) -> None:
        self.hour = hour

    @property
    def summary(self) -> str:
        return f"weekdays at {self.hour}"

    def serialize(self):
        return {"hour": self.hour}

    @classmethod
    def deserialize(cls, data):
        return cls(data["hour"])

    def infer_manual_data_interval(self, run_after):
        end = self._at(run_after)
        while end > run_after or end.weekday() >= SATURDAY:
            end -= timedelta(days=1)
        return DataInterval(start=self._before(end), end=end)

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if last_automated_data_interval is not None:
            end = last_automated_data_interval.end + timedelta(days=1)
        elif restriction.earliest is None:
            return None
        else:
            end = self._at(restriction.earliest)
            if not restriction.catchup:
                end = max(end, self._at(DateTime.now(UTC)))
            if end < restriction.earliest:
                end += timedelta(days=1)
        while end.weekday() >= SATURDAY:
            end += timedelta(days=1)
        start = self._before(end)
        if restriction.latest is not None and start > restriction.latest:
            return None
        return DagRunInfo.interval(start=start, end=end)

    def _at(self, moment):
        return DateTime.combine(moment.in_timezone(UTC).date(), Time(self.hour)).replace(tzinfo=UTC)

    def _before(self, end):
        return end - timedelta(days=3 if end.weekday() == MONDAY else 1)


class WorkdaysPlugin(AirflowPlugin):
    name = "workdays"
    timetables = [Workdays]
