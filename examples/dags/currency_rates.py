"""Exchange rates from two unreliable sources, retried with growing delays, then compared and published.

Each source is a task group made by one function. `outages` says how many tries of every fetch fail, which shows
retries at work without an unreliable network.
"""

from datetime import timedelta

import pendulum
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Param, dag, task, task_group

RATES = {"central_bank": {"EUR": 1.08, "INR": 0.012}, "market": {"EUR": 1.09, "INR": 0.012}}


@task(
    retries=3,
    retry_delay=timedelta(seconds=1),
    retry_exponential_backoff=True,
    max_retry_delay=timedelta(seconds=10),
)
def fetch(source: str, params: dict, ti=None) -> dict[str, float]:
    if ti.try_number <= params["outages"]:
        raise ConnectionError(f"{source} does not answer (try {ti.try_number})")
    return RATES[source]


@task
def validate(rates: dict[str, float]) -> dict[str, float]:
    if any(rate <= 0 for rate in rates.values()):
        raise ValueError(f"A rate is not positive: {rates}")
    return rates


@task_group
def from_source(source: str):
    return validate(fetch(source))


@dag(
    schedule=timedelta(hours=4),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    params={
        "base": Param("USD", enum=["USD", "CHF"], title="Base currency"),
        "outages": Param(1, type="integer", minimum=0, maximum=3, title="Tries that fail"),
    },
    max_active_runs=1,
    doc_md=__doc__,
    tags=["example", "retries"],
)
def currency_rates():
    @task
    def spread(central_bank: dict[str, float], market: dict[str, float]) -> dict[str, float]:
        """How far the sources are apart, by currency."""
        return {currency: round(abs(market[currency] - rate), 6) for currency, rate in central_bank.items()}

    publish = BashOperator(
        task_id="publish",
        bash_command="echo {{ ti.xcom_pull(task_ids='spread') | length }} rates against {{ params.base }}"
        " for {{ logical_date | default(dag_run.run_after) | ds }}",  # a run by hand may have no logical date
    )

    spread(*(from_source.override(group_id=source)(source) for source in RATES)) >> publish


currency_rates()
