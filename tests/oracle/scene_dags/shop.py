"""DAGs of the scene for comparing lists: the runs that come to rest."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, Param, dag, task, task_group

orders = Asset("scene_orders", uri="s3://scene/orders", group="shop")
users = Asset("scene_users", uri="s3://scene/users")


@dag(
    schedule=None,
    tags=["shop", "nightly"],
    dag_display_name="Orders, taken in",
    description="Takes orders in.",
    params={"rows": Param(3, type="integer")},
)
def shop_make():
    @task(outlets=[orders])
    def make():
        return {"rows": 3}

    @task
    def sizes():
        return ["S", "M", "XL"]

    @task_group
    def parcels():
        @task(map_index_template="{{ size }}", pool="scene_narrow", priority_weight=5)
        def pack(size):
            from airflow.sdk import get_current_context

            get_current_context()["size"] = size
            return len(size)

        done = EmptyOperator(task_id="done", task_display_name="All packed")
        pack.expand(size=sizes()) >> done

    make() >> parcels()


@dag(schedule=[orders], tags=["shop"])
def shop_read():
    @task(inlets=[orders], outlets=[users])
    def read():
        return "read"

    read()


@dag(schedule=[orders, users])
def shop_both():
    EmptyOperator(task_id="both")


@dag(schedule=None, tags=["shop", "50%_off"], default_args={"owner": "ann"})
def shop_fails():
    BashOperator(task_id="breaks", bash_command="exit 1", retries=1, retry_delay=timedelta(seconds=1)) >> EmptyOperator(
        task_id="after"
    )
    BashOperator(task_id="works", bash_command="echo {{ run_id }}", queue="default")


@dag(schedule=None, default_args={"owner": "ben"})
def Shop_Branches():  # noqa: N802 - an id that sorts by its case
    @task.branch
    def choose():
        return "left"

    choose() >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),  # noqa: DTZ001 - as people write it
    end_date=datetime(2026, 1, 20),  # noqa: DTZ001
    catchup=False,
    is_paused_upon_creation=True,
    tags=["nightly"],
    max_active_runs=2,
)
def shop_daily():
    @task
    def day(ds=None):
        return ds

    day()


shop_make(), shop_read(), shop_both(), shop_fails(), Shop_Branches(), shop_daily()
