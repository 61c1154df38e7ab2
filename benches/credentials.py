"""What a task's AWS credentials cost: requests, reads, calls of STS and milliseconds for a try that asks and for one that
does not.

    python -m benches.credentials [--tries 20] [--sts-ms 60]

The worker is the real one with its nursery, the execution API the real one over a store in memory, in this process. STS is
a function that answers after `--sts-ms`; AWS bills nothing for it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benches.cost import load_prices
from gust.airflow_bridge import warm
from gust.model.execution_paths import CREDENTIALS
from gust.model.task_role import AwsCredentials, RoleSession

DOCUMENT: Final = '{"tasks": [{"path": "*", "role": "arn:aws:iam::123456789012:role/team"}]}'

DAGS: Final = """
from airflow.sdk import dag, task

@dag(schedule=None)
def quiet():
    @task
    def t():
        return 0
    t()

@dag(schedule=None)
def asks():
    @task
    def t():
        import time
        import boto3

        session = boto3.Session()
        began = time.perf_counter()
        session.get_credentials().get_frozen_credentials()
        return (time.perf_counter() - began) * 1000
    t()

quiet()
asks()
"""

READS: Final = {"get_instance": 1, "get_instance_and_run": 2, "get_run": 1}
"""Read units of the store's operations, for items of up to 4 KB."""


class Roles:
    default = "arn:aws:iam::123456789012:role/tasks"

    def __init__(self, seconds: float, document: str) -> None:
        self._seconds = seconds
        self._document = document
        self.calls = 0

    def document(self) -> str:
        return self._document

    def assume(self, role: str, session: RoleSession) -> AwsCredentials:  # noqa: ARG002
        time.sleep(self._seconds)
        self.calls += 1
        return AwsCredentials(role, "ASIA", "secret", "token", datetime.now(tz=UTC) + timedelta(hours=1))


class Counted:
    """A store that counts the calls of its operations."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._store, name)
        if not callable(operation):
            return operation

        def counted(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            return operation(*arguments, **named)

        return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--sts-ms", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundles = warm.set_environment(Path(folder))
        warm.warm_up_for_tasks(bundles)
        from gust.airflow_bridge import surroundings
        from gust.airflow_bridge.nursery import Nursery  # after Airflow's settings

        nursery = Nursery(surroundings.look_at_modules)
        for name, document in (("default role", ""), ("role by the access document", DOCUMENT)):
            _measure(name, document, nursery, bundles, options)
    print(f"prices: us-east-1, as of {load_prices()['as_of']}, without a free tier; STS costs nothing")


def _measure(name: str, document: str, nursery: Any, bundles: Path, options: argparse.Namespace) -> None:
    from tests.unit.worker.whole import Whole

    whole = Whole(bundles)
    roles, store = Roles(options.sts_ms / 1000, document), Counted(whole.store)
    object.__setattr__(whole.services, "task_roles", roles)
    object.__setattr__(whole.services, "store", store)
    whole.children = nursery
    meter = Meter(whole.api, store)
    whole.api = meter  # type: ignore[assignment]  # it answers as the execution API does
    whole.upload(dags=DAGS)
    for number in range(options.tries):
        _run(whole, "quiet", number)
    quiet = meter.asked / options.tries
    waited = [_run(whole, "asks", number) for number in range(options.tries)]
    prices = load_prices()
    dollars = (
        meter.asked * prices["lambda"]["request"]
        + meter.seconds * prices["lambda"]["gb_second_arm64"]  # the function has one GB
        + meter.read_units * prices["dynamodb"]["read_unit"]
    )
    print(
        f"{name}: {meter.asked / options.tries:.1f} requests for credentials by a try that asks, {quiet:.1f} by one that"
        f" does not; {roles.calls / options.tries:.1f} calls of STS, {meter.read_units / options.tries:.1f} read units,"
        f" {statistics.median(waited):.0f} ms until it has them (STS took {options.sts_ms:.0f});"
        f" {dollars / options.tries * 1e8:.0f} cents per million tries that ask"
    )


def _run(whole: Any, dag_id: str, number: int) -> float:
    run = whole.work(whole.trigger(dag_id, run_id=f"r{number}"))
    found = whole.store.get_xcom(run.key.task_instance("t"), "return_value")
    assert found is not None, whole.log.text
    return float(found.value)


class Meter:
    """An execution API that counts the requests for credentials, and what they take."""

    def __init__(self, api: Callable[..., Any], store: Counted) -> None:
        self._api = api
        self._store = store
        self.asked = self.read_units = 0
        self.seconds = 0.0

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        if carried := event.pop("carried", None):  # rendered fields, which travel with the next request
            self._api(carried, context)
        before, began = Counter(self._store.calls), time.perf_counter()
        answer = self._api(event, context)
        if event["rawPath"].endswith(CREDENTIALS):
            self.asked += 1
            self.seconds += time.perf_counter() - began
            made = self._store.calls - before
            self.read_units += sum(READS[operation] * count for operation, count in made.items())
        return answer


if __name__ == "__main__":
    main()
