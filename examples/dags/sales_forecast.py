"""A forecast from monthly sales: light tasks on ordinary workers, the fitting of the model in a container of its own.

`train` asks for four vCPUs and 16 GB, which only Fargate has. `backtest` may take two hours, so it goes there without
asking. Both are arguments that Airflow has anyway: with another executor the two tasks run as all others.
"""

from datetime import timedelta

import pendulum
from airflow.sdk import dag, task

SALES = [112.0, 118.0, 132.0, 129.0, 141.0, 135.0, 148.0, 154.0, 163.0, 158.0, 171.0, 177.0]


@task
def read_sales() -> list[float]:
    return SALES


@task(executor_config={"gust": {"cpu": "4 vCPU", "memory": "16 GB"}})
def train(sales: list[float]) -> dict[str, float]:
    """A line through the months, by least squares."""
    months = range(len(sales))
    mean_month, mean_sales = sum(months) / len(sales), sum(sales) / len(sales)
    slope = sum((month - mean_month) * (value - mean_sales) for month, value in zip(months, sales, strict=True))
    slope /= sum((month - mean_month) ** 2 for month in months)
    return {"slope": round(slope, 2), "start": round(mean_sales - slope * mean_month, 2)}


@task(execution_timeout=timedelta(hours=2))
def backtest(model: dict[str, float], sales: list[float]) -> float:
    """The mean error of the line, in units of sales."""
    errors = [abs(model["start"] + model["slope"] * month - value) for month, value in enumerate(sales)]
    return round(sum(errors) / len(errors), 2)


@task
def forecast(model: dict[str, float], sales: list[float]) -> list[float]:
    """The next three months."""
    return [round(model["start"] + model["slope"] * (len(sales) + ahead), 1) for ahead in range(3)]


@dag(
    schedule="@monthly",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["example", "workers"],
)
def sales_forecast():
    sales = read_sales()
    model = train(sales)
    backtest(model, sales)
    forecast(model, sales)


sales_forecast()
