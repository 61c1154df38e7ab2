"""What a deferred task costs while it waits: a poll, and a day of a thousand triggers, without and with AWS's events.

    python -m benches.waiting [--lives 30]      # needs PYTHONPATH=shared; half a minute

The triggerer is the real one with its nursery, and polls an execution of Step Functions that a stand-in for AWS answers
after 20 ms; the execution API is the real one over a store in memory, in this process. Counted are the requests and units;
the triggerer's time is its processor time, children included, and 60 ms for answers of AWS and the execution API, for the
machine that this runs on may be busy. `tests/unit/test_bench_waiting.py` compares docs/benches.md with `a_day`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import psutil

from benches.cost import load_prices
from benches.credentials import Counted
from gust.aws.queues import LONGEST_DELAY
from gust.scheduling.timers import DEFAULTS
from gust.services.worker.report_trigger import HEARD_OF

DAY: Final = 24 * 3600
TRIGGERS: Final = 1000
DELAY: Final = 60
"""Seconds between two polls, as the provider's triggers have them by default."""

ANSWERS: Final = 0.06
"""Seconds in which a life waits for answers."""

EARLY: Final = 0.02
"""Seconds of the triggerer for a message that comes early."""

LOOK: Final = 0.02
"""Seconds of the scheduler, which has one GB, for a look at a run with one waiting task."""

LOG: Final = 380
"""Bytes of log that the triggerer and the execution API write of an invocation."""

LOG_OF_LOOK: Final = 150
"""Those of the scheduler."""

READS: Final = {"get_instance": 1, "get_run": 1, "get_dag": 1}
"""Read units of the store's operations, for items of up to 4 KB."""

DAG: Final = """
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.sdk import DAG

with DAG("d"):
    StepFunctionStartExecutionOperator(
        task_id="t", state_machine_arn="arn:aws:states:us-east-1:1:stateMachine:m", deferrable=True, waiter_delay=60,
        waiter_max_attempts=100_000,
    )
"""


@dataclass(frozen=True, slots=True)
class Poll:
    """What one life of a polling trigger takes."""

    seconds: float
    """Of the triggerer, which has one GB."""
    requests: float
    """To the execution API."""
    api_seconds: float
    """Of it, which has one GB."""
    reads: float

    def price(self, prices: Mapping[str, Any], *, pause: float) -> float:
        """Dollars of the poll and of the pause before it, in seconds. A message comes after 15 minutes and is hidden until
        its time. A sign of life is written every ten minutes."""
        comes_early = pause > LONGEST_DELAY
        seconds = self.seconds + self.api_seconds + EARLY * comes_early
        return float(
            (4 + 2 * comes_early) * prices["sqs"]["request"]  # sent, received, hidden and deleted
            + (1 + self.requests + comes_early) * prices["lambda"]["request"]
            + seconds * prices["lambda"]["gb_second_arm64"]
            + self.reads * prices["dynamodb"]["read_unit"]
            + min(1.0, pause / HEARD_OF.total_seconds()) * prices["dynamodb"]["write_unit"]
            + LOG * (1 + self.requests + comes_early) * 1e-9 * prices["logs"]["ingested_gb"]
        )


MEASURED: Final = Poll(seconds=0.24, requests=3, api_seconds=0.003, reads=3)
"""On two very busy cores of x86_64."""


def pauses(*, told: bool, waited: float = DAY, delay: float = DELAY) -> list[float]:
    """Seconds between the polls of a trigger that waits so long."""
    from gust.airflow_bridge.pace import Pace

    looks, found, passed = 0, [], 0.0
    while passed < waited:
        looks += 1
        pace = Pace(skip=0, is_poller=True, end=0.0, looks=looks, looks_seldom=told, has_looked=True)
        left_out = pace.left_out(delay)
        looks += left_out
        found.append(delay * (1 + left_out))
        passed += found[-1]
    return found


def a_look(prices: Mapping[str, Any]) -> float:
    """Dollars of a look at a waiting run: the tick's wake-up, a query, and a write of the run with its index."""
    return float(
        3 * prices["sqs"]["request"]
        + prices["lambda"]["request"]
        + LOOK * prices["lambda"]["gb_second_arm64"]
        + 2 * prices["dynamodb"]["read_unit"]
        + 3 * prices["dynamodb"]["write_unit"]
        + LOG_OF_LOOK * 1e-9 * prices["logs"]["ingested_gb"]
    )


def looks_of_a_day(prices: Mapping[str, Any], *, told: bool, runs: int = TRIGGERS) -> float:
    """Dollars of the looks at so many runs, of which each waits for one trigger."""
    pause = DEFAULTS.look_again_at_jobs if told else DEFAULTS.look_again
    return runs * a_look(prices) * DAY / pause.total_seconds()


def a_day(prices: Mapping[str, Any], poll: Poll, *, told: bool, triggers: int = TRIGGERS) -> tuple[int, float]:
    """Polls and dollars of so many triggers that wait for a day."""
    each = pauses(told=told)
    dollars = sum(poll.price(prices, pause=pause) for pause in each)
    if told:
        dollars += prices["dynamodb"]["write_unit"]  # the wait
    return triggers * len(each), triggers * dollars


class StepFunctions:
    """Answers DescribeExecution, after 20 ms: it runs."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                time.sleep(0.02)
                arn = "arn:aws:states:us-east-1:1:execution:m:1"
                started = {"executionArn": arn, "startDate": 1772352000.0, "status": "RUNNING", "stateMachineArn": arn}
                body = json.dumps(started).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def measure(lives: int) -> Poll:
    from gust.airflow_bridge import warm

    with tempfile.TemporaryDirectory() as folder:
        bundles = warm.set_environment(Path(folder))
        warm.import_once(warm.TRIGGER_MODULES)
        from gust.airflow_bridge import surroundings
        from gust.airflow_bridge.nursery import Nursery  # after Airflow's settings
        from gust.airflow_bridge.trigger import run_trigger
        from tests.unit.worker.whole import Whole

        aws = StepFunctions()
        whole = Whole(bundles)
        store, api = Counted(whole.store), Timed(whole.api)
        object.__setattr__(whole.services, "store", store)
        whole.api = api  # type: ignore[assignment]  # it answers as the execution API does
        whole.children = Nursery(surroundings.look_at_modules)
        whole.variables = {
            "AWS_ENDPOINT_URL": aws.address,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
        whole.upload(dags=DAG)
        key = whole.trigger()
        from gust.services.scheduler.advance import advance

        advance(whole.services, key)
        whole.run_tasks()
        advance(whole.services, key)
        for life in range(lives + 2):
            if life == 2:
                began, api.requests, api.seconds = processor(), 0, 0.0
                store.calls.clear()
            ((workload, _),) = whole.queues.triggers
            whole.queues.triggers.clear()
            run_trigger(workload.model_copy(update={"wake_at": None}), whole.ports(900), now=whole.clock.now)
        return Poll(
            seconds=(processor() - began) / lives + ANSWERS,
            requests=api.requests / lives,
            api_seconds=api.seconds / lives,
            reads=sum(READS.get(name, 0) * count for name, count in store.calls.items()) / lives,
        )


class Timed:
    """An execution API that counts its requests, and what they take."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.requests = 0
        self.seconds = 0.0

    def __call__(self, event: dict[str, Any], context: Any) -> Any:
        began = time.process_time()
        answer = self._api(event, context)
        self.requests += 1
        self.seconds += time.process_time() - began
        return answer


def processor() -> float:
    """Seconds of this process and of its children, also of the nursery's that have ended."""
    me = psutil.Process()
    times = [me.cpu_times(), *(child.cpu_times() for child in me.children())]
    return sum(each.user + each.system + each.children_user + each.children_system for each in times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=30)
    poll, prices = measure(parser.parse_args().lives), load_prices()
    print(poll, f"${1e6 * poll.price(prices, pause=DELAY):.2f} a million")
    for told in (False, True):
        polls, dollars = a_day(prices, poll, told=told)
        print("with events" if told else "without events", polls, "polls", f"${dollars:.2f} a day")


if __name__ == "__main__":
    main()
