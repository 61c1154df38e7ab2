"""Own classes on top of operators that can defer, none of which was asked to: what they override must run."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.external_task import ExternalTaskSensor
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG
from outcomes import SUCCESS, ending

QUICK = {"poke_interval": 1, "timeout": 110}

with DAG("looked_at_by_subclasses", schedule=None):
    ending("slow", SUCCESS, after=4)

with DAG("looks_like_its_base", schedule=None):

    class Counting(FileSensor):
        """Is content with the third look, whatever there is; it keeps the count in itself."""

        looks = 0

        def poke(self, context):
            self.looks += 1
            return self.looks >= 3

    class NotingFile(Counting):
        def execute(self, context):
            super().execute(context)
            return self.looks

    class Naming(ExternalTaskSensor):
        def execute(self, context):
            super().execute(context)
            return f"{self.external_dag_id} is done"

    class Patient(ExternalTaskSensor):
        def poke(self, context):
            return True

    class NotingDelta(TimeDeltaSensor):
        def execute(self, context):
            super().execute(context)
            return "waited"

    Counting(task_id="overrides_poke", filepath="never", **QUICK) >> EmptyOperator(task_id="after")
    NotingFile(task_id="overrides_both", filepath="never", **QUICK)
    Naming(task_id="external_execute", external_dag_id="looked_at_by_subclasses", **QUICK)
    Patient(task_id="external_poke", external_dag_id="no_such_dag", **QUICK)
    NotingDelta(task_id="delta_execute", delta=timedelta(seconds=2))


with DAG("triggers_like_its_base", schedule=None):

    class Reporting(TriggerDagRunOperator):
        def execute(self, context):
            super().execute(context)
            return "it has run"

    Reporting(
        task_id="triggers",
        trigger_dag_id="slow_target",
        trigger_run_id="by_a_subclass",
        wait_for_completion=True,
        poke_interval=1,
    )
