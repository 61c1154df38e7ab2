"""Tries that give their worker back and go on later, and sensors: their whole logs are compared with Airflow's."""

import logging
from datetime import timedelta

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, PokeReturnValue, get_current_context, task
from airflow.triggers.base import BaseTrigger, TriggerEvent


class Speaks(BaseTrigger):
    def serialize(self):
        return "waits.Speaks", {}

    async def run(self):
        import asyncio

        print("printed by the trigger")
        self.log.info("by the trigger's logger")
        await asyncio.sleep(8)
        logging.getLogger("shop.trigger").warning("by a logger of its own")
        yield TriggerEvent({"answer": 42})


class Breaks(BaseTrigger):
    def serialize(self):
        return "waits.Breaks", {}

    async def run(self):
        import asyncio

        await asyncio.sleep(8)
        raise RuntimeError("a trigger that breaks")
        yield


class Defers(BaseOperator):
    def __init__(self, *, trigger, **kwargs):
        super().__init__(**kwargs)
        self.trigger = trigger

    def execute(self, context):
        print("before it defers")
        self.defer(trigger=self.trigger, method_name="resume")

    def resume(self, context, event=None):
        print(f"resumed with {event}")
        return event


with DAG("log_of_deferring", schedule=None):
    Defers(task_id="speaks", trigger=Speaks())
    Defers(task_id="breaks", trigger=Breaks())


class DefersForATime(BaseOperator):
    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=8)), method_name="resume")

    def resume(self, context, event=None):
        print("resumed")


with DAG("log_of_a_wait_for_a_time", schedule=None):
    DefersForATime(task_id="waits")


with DAG("log_of_sensors", schedule=None):
    looks = []

    @task.sensor(poke_interval=1, timeout=60, mode="poke")
    def pokes():
        looks.append(1)
        print(f"look {len(looks)}")
        return PokeReturnValue(is_done=len(looks) == 2, xcom_value=len(looks))

    @task.sensor(poke_interval=8, timeout=60, mode="reschedule")
    def comes_again():
        from datetime import UTC, datetime

        ti = get_current_context()["ti"]
        began = ti.get_first_reschedule_date(get_current_context()) or datetime.now(tz=UTC)
        has_waited = datetime.now(tz=UTC) - began > timedelta(seconds=6)
        print("looks")
        return has_waited

    @task.sensor(poke_interval=1, timeout=2, mode="poke")
    def never_sees_it():
        return False

    @task.sensor(poke_interval=1, timeout=2, mode="poke", soft_fail=True)
    def gives_up_softly():
        return False

    pokes()
    comes_again()
    never_sees_it()
    gives_up_softly()
