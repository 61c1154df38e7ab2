"""Asset-triggered runs as a story: a person's actions on a server, and after each step the resulting runs.

Any server with Airflow's REST API v2 can play it. `python -m tests.oracle.asset_story` plays it on real Airflow and writes
`tests/system/golden/asset_story.json`; the system test plays it on the local stack and compares.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from tests.oracle.drive import ApiClient, all_dag_ids, await_dags, import_errors
from tests.oracle.server import ROOT, real_airflow

DAGS: Final = ROOT / "tests" / "system" / "asset_dags"
GOLDEN: Final = ROOT / "tests" / "system" / "golden" / "asset_story.json"
PATIENCE: Final = 120.0
LATE: Final = 20.0
"""Seconds of silence after which runs that are known to come are not waited for any more."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a person does, and which DAGs are looked at when all has come to rest."""

    name: str
    do: Callable[[Server], Any]
    look_at: Sequence[str]
    rests: float = 1.0
    """Times the usual silence before it is believed that nothing more happens."""


class Server:
    """What the story does to a server. `silence`: seconds without a change after which all has come to rest."""

    def __init__(self, client: ApiClient, *, silence: float, expected: Mapping[str, Any]) -> None:
        self.client = client
        self.silence = silence
        self.expected = expected
        self.runs_seen: dict[str, int] = {}

    # --- what a person does ---

    def trigger(self, dag_id: str, **body: Any) -> None:
        self.client.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body={"logical_date": None, **body})

    def update(self, asset: str, *, n: int | None = None, partition_key: str | None = None) -> Json:
        body = {"asset_id": self.asset(asset)["id"], "extra": {} if n is None else {"n": n}}
        if partition_key is not None:
            body["partition_key"] = partition_key
        made: Json = self.client.call("POST", "/api/v2/assets/events", body=body)
        return made

    def materialize(self, asset: str, **body: Any) -> Json:
        made: Json = self.client.call("POST", f"/api/v2/assets/{self.asset(asset)['id']}/materialize", body=body)
        return made

    def pause(self, dag_id: str, paused: bool = True) -> None:
        self.client.call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": paused})

    def forget(self, dag_id: str) -> None:
        self.client.call("DELETE", f"/api/v2/dags/{dag_id}/assets/queuedEvents")

    def asset(self, name: str) -> Json:
        # Airflow takes a while to find that an asset that came through an alias is active.
        rows = self.client.pages("/api/v2/assets", "assets", name_pattern=name, only_active=False)
        return next(row for row in rows if row["name"] == name)

    # --- what came of it ---

    def tell(self, step: Step) -> Json:
        answer = step.do(self)
        self.await_rest(step)
        found: Json = {dag_id: self.look_at(dag_id) for dag_id in step.look_at}
        return found | ({"answer": described(answer)} if isinstance(answer, dict) else {})

    def await_rest(self, step: Step) -> None:
        """Until nothing has changed for a while and no run is under way."""
        deadline, changed, before = time.monotonic() + PATIENCE, time.monotonic(), None
        while time.monotonic() < deadline:
            now = [self._states(dag_id) for dag_id in step.look_at]
            if now != before:
                before, changed = now, time.monotonic()
            is_busy = any(state in ("queued", "running") for runs in now for _, state in runs)
            quiet = time.monotonic() - changed
            if not is_busy and quiet > self.silence * step.rests and (not self._awaits_more(step, now) or quiet > LATE):
                return
            time.sleep(0.3)
        raise TimeoutError(f"{step.name}: {before}")

    def _awaits_more(self, step: Step, now: Sequence[Collection[Any]]) -> bool:
        """Whether fewer runs came than are known to come: a busy machine is late, it is not silent."""
        told = self.expected.get(step.name, {})
        return any(
            len(runs) - self.runs_seen.get(dag_id, 0)
            < min(len(seen["runs"]) for seen in told.get(dag_id, [{"runs": []}]))
            for dag_id, runs in zip(step.look_at, now, strict=True)
        )

    def look_at(self, dag_id: str) -> Json:
        """The DAG's runs since it was looked at last, and what waits for it."""
        runs = self._runs(dag_id)
        new = runs[self.runs_seen.get(dag_id, 0) :]
        self.runs_seen[dag_id] = len(runs)
        queued = self.client.call("GET", f"/api/v2/dags/{dag_id}/assets/queuedEvents")["queued_events"]
        names = {row["id"]: row["name"] for row in self.client.pages("/api/v2/assets", "assets", only_active=False)}
        seen = [self._run(run) for run in new]
        return {
            # Several runs of one step are made in an order of the server's own.
            "runs": sorted(seen, key=lambda run: json.dumps(run, sort_keys=True)),
            "queued": sorted(names[row["asset_id"]] for row in queued),
        }

    def _run(self, run: Json) -> Json:
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{quote(run['dag_run_id'], safe='')}"
        events = self.client.call("GET", f"{path}/upstreamAssetEvents")["asset_events"]
        tasks = self.client.pages(f"{path}/taskInstances", "task_instances")
        xcoms = {
            row["task_id"]: self.client.call(
                "GET", f"{path}/taskInstances/{row['task_id']}/xcomEntries/return_value", query={"deserialize": True}
            )["value"]
            for row in tasks
            if row["state"] == "success" and row["task_id"] in ("tell", "read")
        }
        last = max((event["timestamp"] for event in events), default=None)
        return {
            **{name: run[name] for name in ("run_type", "triggered_by", "state", "logical_date", "conf")},
            **{name: run[name] for name in ("data_interval_start", "partition_key", "partition_date")},
            "name": _shape(run["dag_run_id"], run["run_after"]),
            "runs_at_its_last_event": last and abs(_moment(run["run_after"]) - _moment(last)) < 5,
            "events": sorted((described(event) for event in events), key=lambda e: json.dumps(e, sort_keys=True)),
            "triggers": sum(
                created["triggering"]
                for event in events
                for created in event["created_dagruns"]
                if created["run_id"] == run["dag_run_id"] and created["dag_id"] == run["dag_id"]
            ),
            "tasks": {row["task_id"]: row["state"] for row in tasks},
            "xcoms": xcoms,
        }

    def _runs(self, dag_id: str) -> list[Json]:
        return self.client.pages(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs", order_by="run_after")

    def _states(self, dag_id: str) -> list[tuple[str, str]]:
        return [(run["dag_run_id"], run["state"]) for run in self._runs(dag_id)]


def described(answer: Json) -> Json:
    """An event, or a run, without what differs from one telling to the next."""
    kept = (
        *("name", "uri", "group", "extra", "source_dag_id", "source_task_id", "source_map_index", "partition_key"),
        *("dag_id", "run_type", "triggered_by", "logical_date", "conf", "note"),
    )
    return {name: answer[name] for name in kept if name in answer}


def _shape(run_id: str, run_after: str) -> str:
    """The name of a run, with words for its moment and for a random end."""
    named = run_id.replace(run_after.replace("Z", "+00:00"), "MOMENT")
    return re.sub(r"_[A-Za-z0-9]{8}$", "_RANDOM", named)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


# --- the story --------------------------------------------------------------------------------------------------------

WHOLE: Final = ("on_one", "on_both", "on_either", "on_mixed", "on_name", "on_uri", "on_alias", "on_alias_and_asset")
OF_LEFT: Final = ("by_identity", "by_both", "by_day", "by_month", "by_quarter", "by_fan_out", "by_too_many", "whole")


def _held_back(server: Server) -> None:
    for n in (1, 2, 3):
        server.update("held", n=n)
        time.sleep(3)


def _missed(server: Server) -> None:
    server.pause("on_pause")
    server.update("missed", n=1)
    server.pause("on_pause", paused=False)


def _forget_then_update(server: Server) -> None:
    server.forget("on_mixed")
    server.update("third", n=9)


STORY: Final = (
    Step("a task updates one", lambda s: s.trigger("produce_one"), ("produce_one", *WHOLE)),
    Step("a task updates two", lambda s: s.trigger("produce_two"), ("produce_two", *WHOLE)),
    Step("a person updates a third", lambda s: s.update("third", n=7), WHOLE),
    Step("a task goes through an alias", lambda s: s.trigger("produce_through_alias"), WHOLE),
    Step("what was brought forth is updated", lambda s: s.update("brought_forth", n=8), ("on_alias",)),
    Step("tasks that do not succeed", lambda s: s.trigger("produce_nothing"), ("produce_nothing", *WHOLE)),
    Step("what waits is forgotten", _forget_then_update, ("on_mixed", "on_alias_and_asset")),
    Step("a task reads its inlets", lambda s: s.trigger("read_inlets"), ("read_inlets",)),
    Step("one run at a time", _held_back, ("one_at_a_time",), rests=2),
    Step("what waits goes with the next", lambda s: s.update("held", n=4), ("one_at_a_time",), rests=2),
    Step("a paused DAG misses an event", _missed, ("on_pause",)),
    Step("and takes it along", lambda s: s.update("missed", n=2), ("on_pause",)),
    Step("assets or time", lambda s: s.update("or_time", n=1), ("on_assets_or_time",)),
    Step("an asset is materialized", lambda s: s.materialize("decorated"), ("decorated", "after_the_decorator")),
    Step(
        "with a conf and a note",
        lambda s: s.materialize("many_second", conf={"a": 1}, note="a note"),
        ("many", "after_one_of_many"),
    ),
    # Partitions
    Step("a moment of left", lambda s: s.update("left", n=1, partition_key="2026-03-04T23:30:00"), OF_LEFT),
    Step("the same again", lambda s: s.update("left", n=2, partition_key="2026-03-04T23:30:00"), OF_LEFT),
    Step("left without a partition", lambda s: s.update("left", n=3), OF_LEFT),
    Step("a key that is no moment", lambda s: s.update("left", n=4, partition_key="yesterday"), OF_LEFT),
    Step(
        "right has another form",
        lambda s: s.update("right", n=5, partition_key="2026/03/04 23"),
        ("by_both", "by_two_mappers"),
    ),
    Step("right as left", lambda s: s.update("right", n=6, partition_key="yesterday"), ("by_both",)),
    Step("one region", lambda s: s.update("regions", n=1, partition_key="eu"), ("by_allowed", "by_segments")),
    Step(
        "one that is not allowed",
        lambda s: s.update("regions", n=2, partition_key="asia"),
        ("by_allowed", "by_segments"),
    ),
    Step("the last region", lambda s: s.update("regions", n=3, partition_key="us"), ("by_allowed", "by_segments")),
    Step("an hour", lambda s: s.update("hours", n=1, partition_key="2026-03-04T05"), ("by_count",)),
    Step("of another day", lambda s: s.update("hours", n=2, partition_key="2026-03-05T05"), ("by_count",)),
    Step("two are enough", lambda s: s.update("hours", n=3, partition_key="2026-03-04T07"), ("by_count",)),
    Step("a pair", lambda s: s.update("pairs", n=1, partition_key="2026-03-04T05:06:07|eu"), ("by_product",)),
    Step("no pair", lambda s: s.update("pairs", n=2, partition_key="2026-03-04T05:06:07"), ("by_product",)),
    Step("keys found at runtime", lambda s: s.trigger("at_runtime"), ("at_runtime", "by_runtime")),
    Step(
        "a key given to a run",
        lambda s: s.trigger("at_runtime", partition_key="given"),
        ("at_runtime", "by_runtime"),
    ),
)


def tell(
    client: ApiClient,
    *,
    silence: float,
    expected: Mapping[str, Any] = MappingProxyType({}),
    steps: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Json]:
    """What each step of the story came to. `expected`: per step and DAG the answers that are known already."""
    server = Server(client, silence=silence, expected=expected)
    told: dict[str, Json] = {}
    for step in STORY[:steps]:
        since = time.monotonic()
        told[step.name] = server.tell(step)
        say(f"{step.name}: {time.monotonic() - since:.1f} s")
    return told


def prepare(dags: Path) -> None:
    shutil.copytree(DAGS, dags, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.oracle.asset_story")
    arguments.add_argument("--steps", type=int, help="tell the beginning of the story alone")
    arguments.add_argument("--again", action="store_true", help="keep what is recorded, and add other answers to it")
    arguments.add_argument("--seed", default="random", help="Airflow's PYTHONHASHSEED")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="gust-dags-") as folder:
        dags = Path(folder)
        dags.chmod(0o755)
        prepare(dags)
        # A task's outlets are a set to Airflow: which of them comes first, and so whether the other's event is in time for
        # a run that waits for the first alone, is the hash seed's choice. Each order is an answer.
        environment = {"AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False", "PYTHONHASHSEED": options.seed}
        with real_airflow(dags, environment) as url:
            client = ApiClient(url)
            await_dags(client, expected_dag_ids())
            if errors := import_errors(client):
                raise SystemExit(f"import errors: {errors}")
            # Airflow looks for what waits about once a second, and makes a run's tasks one look later.
            told = tell(client, silence=6, steps=options.steps, say=print)
            about = {"airflow": version("apache-airflow-core"), "dags": all_dag_ids(client)}
            client.close()
    story: dict[str, dict[str, list[Json]]] = json.loads(GOLDEN.read_text())["story"] if options.again else {}
    for step, found in told.items():
        for name, seen in found.items():
            answers = story.setdefault(step, {}).setdefault(name, [])
            if seen not in answers:
                answers.append(seen)
    GOLDEN.write_text(json.dumps({"about": about, "story": story}, indent=1, sort_keys=True) + "\n")


def expected_dag_ids() -> list[str]:
    looked_at = {dag_id for step in STORY for dag_id in step.look_at}
    return sorted(looked_at | {"catching_up", "produce_through_alias"})


if __name__ == "__main__":
    main()
