"""Schedules with catchup: which runs there are, with what ids, intervals and moments. Their tasks do nothing."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    CronDataIntervalTimetable,
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)
from dateutil.relativedelta import relativedelta
from pendulum import timezone
from workdays import Workdays

BERLIN = timezone("Europe/Berlin")
NEW_YORK = timezone("America/New_York")
KOLKATA = timezone("Asia/Kolkata")


def scheduled(dag_id, schedule, start, end, *, catchup=True, **kwargs):
    with DAG(dag_id, schedule=schedule, start_date=start, end_date=end, catchup=catchup, **kwargs):
        EmptyOperator(task_id="nothing")


# --- cron, in UTC ---

JUNE = datetime(2025, 6, 1), datetime(2025, 6, 3)
TWO_DAYS = datetime(2025, 6, 1), datetime(2025, 6, 2)
scheduled("cron_preset_daily", "@daily", *JUNE)
scheduled("cron_preset_hourly", "@hourly", datetime(2025, 6, 1, 21, 30), datetime(2025, 6, 2, 1, 30))
scheduled("cron_preset_weekly", "@weekly", datetime(2025, 6, 1), datetime(2025, 6, 20))
scheduled("cron_preset_monthly", "@monthly", datetime(2025, 1, 15), datetime(2025, 5, 1))
scheduled("cron_preset_yearly", "@yearly", datetime(2022, 1, 1), datetime(2024, 6, 1))
scheduled("cron_preset_once", "@once", *JUNE)
scheduled("cron_ten_past_odd_hours", "10 1-23/8 * * *", *TWO_DAYS)
scheduled("cron_last_of_month", "0 0 L * *", datetime(2024, 1, 1), datetime(2024, 5, 1))
scheduled("cron_second_friday", "0 6 * * 5#2", datetime(2025, 1, 1), datetime(2025, 5, 1))
scheduled("cron_last_friday", "0 6 * * L5", datetime(2025, 1, 1), datetime(2025, 4, 1))
scheduled("cron_day_or_weekday", "0 0 13 * 5", datetime(2025, 6, 1), datetime(2025, 7, 1))
scheduled("cron_of_six_fields", "* * * * * */30", datetime(2025, 6, 1), datetime(2025, 6, 1, 0, 2))

# --- where clocks change ---


def in_zone(zone, *moments):
    return [moment.replace(tzinfo=zone) for moment in moments]


SPRING = in_zone(BERLIN, datetime(2025, 3, 29), datetime(2025, 3, 31))
AUTUMN = in_zone(BERLIN, datetime(2025, 10, 25), datetime(2025, 10, 27))
for season, days in {"spring": SPRING, "autumn": AUTUMN}.items():
    change = days[0] + timedelta(days=1)
    scheduled(f"berlin_{season}_daily", "30 2 * * *", *days)
    scheduled(f"berlin_{season}_hourly", "30 * * * *", change + timedelta(hours=1), change + timedelta(hours=4))
    scheduled(f"berlin_{season}_trigger", CronTriggerTimetable("30 2 * * *", timezone=BERLIN), *days)
    scheduled(f"berlin_{season}_delta", timedelta(days=1), *days)
    scheduled(f"berlin_{season}_calendar", DeltaDataIntervalTimetable(relativedelta(days=1)), *days)
scheduled("new_york_spring", "30 2 * * *", *in_zone(NEW_YORK, datetime(2025, 3, 8), datetime(2025, 3, 10)))
scheduled("new_york_autumn", "30 1 * * *", *in_zone(NEW_YORK, datetime(2025, 11, 1), datetime(2025, 11, 3)))
scheduled("kolkata_daily", "0 10 * * 1-5", *in_zone(KOLKATA, datetime(2025, 6, 5), datetime(2025, 6, 10)))
scheduled("zone_of_default_args", "@daily", *JUNE, default_args={"start_date": datetime(2025, 6, 2, tzinfo=BERLIN)})

# --- deltas ---

scheduled("delta_of_36_hours", timedelta(hours=36), datetime(2025, 6, 1), datetime(2025, 6, 6))
scheduled("delta_of_months", relativedelta(months=1), datetime(2025, 1, 31), datetime(2025, 6, 1))
scheduled("delta_trigger", DeltaTriggerTimetable(timedelta(hours=10), interval=timedelta(hours=3)), *TWO_DAYS)

# --- trigger and interval timetables by their own names ---

scheduled("cron_trigger", CronTriggerTimetable("0 18 * * *", timezone="UTC"), *JUNE)
scheduled(
    "cron_trigger_interval",
    CronTriggerTimetable("0 18 * * 3", timezone="UTC", interval=timedelta(days=4, hours=9)),
    datetime(2025, 6, 1),
    datetime(2025, 6, 20),
)
scheduled("cron_interval", CronDataIntervalTimetable("0 18 * * *", timezone="Europe/Berlin"), *JUNE)
scheduled(
    "several_crons",
    MultipleCronTriggerTimetable("0 6 * * *", "0 18 * * 1", "0 6 * * 2", timezone="UTC", interval=timedelta(hours=1)),
    datetime(2025, 6, 1),
    datetime(2025, 6, 4),
)
scheduled("partitions_by_cron", CronPartitionTimetable("0 0 * * *", timezone="UTC"), *JUNE)
scheduled(
    "partitions_before",
    CronPartitionTimetable("0 0 * * *", timezone="Europe/Berlin", run_offset=-1, key_format="%d.%m.%Y"),
    *JUNE,
)
scheduled("of_a_plugin", Workdays(10), datetime(2025, 6, 5), datetime(2025, 6, 11))

# --- without catchup, when all is over ---

scheduled("no_catchup_cron", "@daily", *JUNE, catchup=False)
scheduled("no_catchup_delta", timedelta(days=1), *JUNE, catchup=False)
scheduled("no_catchup_trigger", CronTriggerTimetable("@daily", timezone="UTC"), *JUNE, catchup=False)
scheduled("no_catchup_once", "@once", *JUNE, catchup=False)
scheduled("no_catchup_plugin", Workdays(10), *JUNE, catchup=False)
scheduled("nothing_between", "@monthly", datetime(2025, 6, 2), datetime(2025, 6, 20))
scheduled("ends_before_it_starts", "@daily", JUNE[1], JUNE[0])

# --- tasks with dates of their own; few runs at once ---

with DAG("tasks_come_and_go", schedule="@daily", start_date=JUNE[0], end_date=JUNE[1], catchup=True):
    early = EmptyOperator(task_id="early", end_date=datetime(2025, 6, 2))
    late = EmptyOperator(task_id="late", start_date=datetime(2025, 6, 3))
    [early, late] >> EmptyOperator(task_id="both")
    [early, late] >> EmptyOperator(task_id="whatever", trigger_rule="all_done")

scheduled("one_run_at_a_time", "@daily", *JUNE, max_active_runs=1)

# --- run by hand: the interval is what the timetable makes of the moment ---

for name, timetable in {
    "cron": "30 3 * * *",
    "weekly": "@weekly",
    "delta": timedelta(hours=7),
    "cron_trigger": CronTriggerTimetable("30 3 * * *", timezone="Europe/Berlin", interval=timedelta(hours=2)),
    "delta_trigger": DeltaTriggerTimetable(timedelta(hours=7), interval=timedelta(hours=1)),
    "several_crons": MultipleCronTriggerTimetable("0 6 * * *", "0 18 * * *", timezone="UTC"),
    "once": "@once",
    "plugin": Workdays(),
}.items():
    scheduled(f"by_hand_{name}", timetable, *JUNE, catchup=False, tags=["triggered"])
