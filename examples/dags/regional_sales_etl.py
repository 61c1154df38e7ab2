"""Sales of every region, extracted and cleaned side by side and added up at the end.

How many regions there are is known only when the DAG runs, so extraction and cleaning are mapped over what `regions`
returns. A region's name labels its task instances.
"""

from typing import TypedDict

import pendulum
from airflow.sdk import dag, get_current_context, task


class Sale(TypedDict):
    region: str
    units: int
    cents: int


@dag(
    schedule="@daily",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params={"regions": ["north", "south", "east", "west"]},
    doc_md=__doc__,
    tags=["example", "etl"],
)
def regional_sales_etl():
    @task
    def regions(params: dict) -> list[str]:
        return params["regions"]

    @task(map_index_template="{{ region }}")
    def extract(region: str) -> list[Sale]:
        """Stands for a query: one sale per letter of the region's name, and one record that makes no sense."""
        get_current_context()["region"] = region
        sales = [Sale(region=region, units=units, cents=units * 250) for units, _ in enumerate(region, start=1)]
        return [*sales, Sale(region=region, units=-1, cents=0)]

    @task
    def clean(sales: list[Sale]) -> list[Sale]:
        return [sale for sale in sales if sale["units"] > 0]

    @task
    def add_up(cleaned: list[list[Sale]]) -> dict[str, int]:
        """Cents by region."""
        return {sales[0]["region"]: sum(sale["cents"] for sale in sales) for sales in cleaned}

    add_up(clean.expand(sales=extract.expand(region=regions())))


regional_sales_etl()
