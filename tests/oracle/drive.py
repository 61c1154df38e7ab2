"""Runs DAGs on any server with Airflow's REST API v2 and records the results."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote

import httpx

LOGICAL_DATE: Final = "2026-03-04T05:06:00Z"
"""Of every run that is compared, so that templates render the same everywhere."""

RUN_ID: Final = "parity"


@dataclass(frozen=True, slots=True)
class ObservedTask:
    """One task instance at its run's end. `xcoms` has every key it pushed."""

    state: str | None
    try_number: int
    xcoms: dict[str, Any] = field(default_factory=dict)
    rendered_map_index: str | None = None
    """`None` where it is not mapped."""
    tries: dict[str, str | None] = field(default_factory=dict)
    """State by number of every try, where there was more than one."""


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """One DagRun at its end; `tasks` by `task_id`, or `task_id[map_index]` where mapped."""

    state: str
    tasks: dict[str, ObservedTask]
    facts: dict[str, Any] = field(default_factory=dict)
    """What else the API says of the run: `FACTS`, where they are asked for."""


FACTS: Final = (
    "run_type",
    "triggered_by",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",
    "conf",
    "partition_key",
    "note",
)


class ApiError(Exception):
    """The server answered with an error; the message has its status and text."""


class ApiClient:
    """The few calls that driving needs, with Airflow's paging and its passing hiccups (5xx) taken care of."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=60)
        token = self.call("GET", "/auth/token")["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        for attempts_left in (3, 2, 1, 0):
            try:
                answer = self._http.request(method, path, json=body, params=query)
            except httpx.TransportError:
                if not attempts_left:
                    raise
                time.sleep(1)
                continue
            if answer.status_code >= 500 and answer.status_code != 501 and attempts_left:
                time.sleep(1)
                continue
            break
        if answer.is_error:
            raise ApiError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def ask(self, path: str, *, headers: dict[str, str]) -> Any:
        """As `call`, of what is asked for by a header."""
        return self._http.get(path, headers=headers).raise_for_status().json()

    def pages(self, path: str, key: str, **query: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", path, query={**query, "limit": 100, "offset": len(rows)})
            rows += page[key]
            if not page[key] or len(rows) >= page["total_entries"]:
                return rows

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a person does to a DAG's run: one request, once the run has ended, or once an instance is in a state."""

    method: str
    path: str
    """Below the DAG's own, or from `/api` on; `{run}` stands for the path of the run that was triggered."""
    body: dict[str, Any]
    when: tuple[str, str] | None = None
    """(`task_id` or `task_id[map_index]`, state), where the run shall not end before."""
    after: float = 0.0
    """Seconds after which to do so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: each batch ends before the next begins. `bodies` adds to a DAG's trigger request."""

    batches: tuple[tuple[str, ...], ...]
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    opening: tuple[Step, ...] = ()
    """What is done before anything else; paths from `/api` on."""
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """By dag_id what is done to its run, one after the other. What the run was before a step that waits for its end is
    noted as `dag_id#1` and so on. Steps of a DAG that is not triggered are taken whenever all its runs have ended."""
    refused: frozenset[str] = frozenset()
    """DAGs whose trigger request the server should refuse: what it answers is the run's state then."""
    scheduled: frozenset[str] = frozenset()
    """DAGs of the batches that are not triggered, only unpaused: all their runs are noted, as `dag_id/run_id`, when they
    have come to rest."""
    targets: tuple[str, ...] = ()
    """DAGs whose runs others make. They are unpaused before anything else and noted like scheduled ones in the end."""
    once: frozenset[str] = frozenset()
    """DAGs that cannot be run twice on one server, since they make runs of others."""
    with_facts: bool = False
    timeout: float = 300.0
    """Seconds for one DAG."""
    at_once: int = 8
    """DAGs that run at the same time."""

    def of(self, is_wanted: Callable[[str], bool]) -> Plan:
        """The part of the plan about some of the DAGs."""
        batches = tuple(tuple(filter(is_wanted, batch)) for batch in self.batches)
        return replace(self, batches=batches, targets=tuple(filter(is_wanted, self.targets)))


class RunNeverEndedError(Exception):
    """A run was not finished in time; the message tells its task instances' states."""


SETTLES: Final = 2.0
"""Seconds after a step until the server is asked again how the run stands: not every step moves the run's own state."""

QUIET: Final = 5.0
"""Seconds in which nothing changes; after two of them in which nobody works on anything, a DAG is at rest although a run of
it has not ended."""

LOOK_EVERY: Final = 1.0

FINISHED: Final = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


def run_all(
    client: ApiClient, plan: Plan, *, say: Callable[[str], None] = lambda _: None, keep_going: bool = False
) -> dict[str, ObservedRun]:
    """Unpause, trigger and await every DAG of the plan, then pause it again; what happened, by the run's name.

    Pausing keeps the DAGs' own schedules from crowding the server; where a DAG is triggered, the runs that its schedule
    made are not looked at. With `keep_going` a run that never ends is noted as it stands, as is one whose step is refused,
    and one that cannot be triggered with the refusal as its state, instead of ending everything.
    """
    seen: dict[str, ObservedRun] = {}
    for step in plan.opening:
        client.call(step.method, step.path, body=step.body)
    for dag_id in plan.targets:
        set_paused(client, dag_id, paused=False)
    for batch in (*plan.batches, plan.targets):
        waiting = list(batch)
        begun: list[_Triggered | _Scheduled] = []
        while waiting or begun:
            while waiting and len(begun) < plan.at_once:
                dag_id = waiting.pop(0)
                try:
                    begun.append(_begin(client, plan, dag_id))
                except ApiError as error:
                    if not keep_going and dag_id not in plan.refused:
                        raise
                    seen[dag_id] = ObservedRun(f"not triggered: {error}", {})
            time.sleep(LOOK_EVERY)
            for one in list(begun):
                late = one.seconds() > plan.timeout
                try:
                    if not one.has_ended(seen) and not late:
                        continue
                except ApiError as error:
                    if not keep_going:
                        raise
                    say(f"{one.dag_id}: {error}")
                begun.remove(one)
                told = one.note(seen)
                if late and not keep_going:
                    raise RunNeverEndedError(f"{told}: {[seen[name] for name in seen if name.startswith(one.dag_id)]}")
                say(f"{told} after {one.seconds():.1f} s{' (gave up)' if late else ''}")
                set_paused(client, one.dag_id)
    return seen


def _begin(client: ApiClient, plan: Plan, dag_id: str) -> _Triggered | _Scheduled:
    set_paused(client, dag_id, paused=False)
    if dag_id in plan.scheduled or dag_id in plan.targets:
        return _Scheduled(client, plan, dag_id)
    trigger = {"dag_run_id": RUN_ID, "logical_date": LOGICAL_DATE, **plan.bodies.get(dag_id, {})}
    try:
        client.call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body=trigger)
    except ApiError:
        # A request that was not answered in time is sent again, and finds the run that the first one made.
        if dag_id in plan.refused or not _is_there(client, run_path(dag_id)):
            raise
    return _Triggered(client, plan, dag_id)


def _is_there(client: ApiClient, path: str) -> bool:
    try:
        client.call("GET", path)
    except ApiError:
        return False
    return True


class _Begun:
    """A DAG on its way."""

    def __init__(self, client: ApiClient, plan: Plan, dag_id: str) -> None:
        self.dag_id = dag_id
        self._client = client
        self._with_facts = plan.with_facts
        self._steps = list(plan.steps.get(dag_id, ()))
        self._began = self._changed = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def _take_step(self) -> None:
        step = self._steps.pop(0)
        path = step.path.replace("{run}", run_path(self.dag_id))
        below = path if path.startswith("/api") else f"/api/v2/dags/{quote(self.dag_id)}{path}"
        self._client.call(step.method, below, body=step.body)
        self._changed = time.monotonic()

    def _observe(self, run_id: str) -> ObservedRun:
        return observe(self._client, self.dag_id, run_id, with_facts=self._with_facts)

    def _is_settled(self, seconds: float) -> bool:
        return time.monotonic() - self._changed > seconds


class _Triggered(_Begun):
    """One run that we asked for."""

    _has_stepped = 0
    _met_at: float | None = None

    def has_ended(self, seen: dict[str, ObservedRun]) -> bool:
        """Takes the next step where it is due, and notes what the run was before."""
        if self._steps and (when := self._steps[0].when):
            rows = self._client.pages(f"{run_path(self.dag_id)}/taskInstances", "task_instances")
            if not any((instance_name(row), row["state"]) == when for row in rows):
                self._met_at = None
                return False
            self._met_at = self._met_at or time.monotonic()
            if time.monotonic() - self._met_at >= self._steps[0].after:
                self._met_at = None
                self._take_step()
                self._has_stepped += 1
            return False
        if self._has_stepped and not self._is_settled(SETTLES):
            return False
        if self._client.call("GET", run_path(self.dag_id))["state"] not in ("success", "failed"):
            return False
        if not self._steps:
            return True
        self._has_stepped += 1
        seen[f"{self.dag_id}#{self._has_stepped}"] = self._observe(RUN_ID)
        self._take_step()
        return False

    def note(self, seen: dict[str, ObservedRun]) -> str:
        seen[self.dag_id] = self._observe(RUN_ID)
        return f"{self.dag_id}: {seen[self.dag_id].state}"


class _Scheduled(_Begun):
    """All runs of a DAG, whoever makes them."""

    _runs_before: object = None
    _tasks_before: object = None

    def __init__(self, client: ApiClient, plan: Plan, dag_id: str) -> None:
        super().__init__(client, plan, dag_id)
        # Where others make the runs, that there is none to come is no sign that all are there.
        self._settles = SETTLES if self._steps or dag_id in plan.targets else 0.0

    def has_ended(self, _: dict[str, ObservedRun]) -> bool:
        """Takes the next step where all runs have ended."""
        runs = [(run["dag_run_id"], run["state"]) for run in self._runs()]
        if runs != self._runs_before:
            self._runs_before, self._changed = runs, time.monotonic()
        have_ended = all(state in ("success", "failed") for _, state in runs)
        if have_ended and self._is_settled(self._settles):
            if self._steps:
                # What the DAG's schedule still has to make comes before the step.
                if not self._has_next_run() or self._is_settled(2 * QUIET):
                    self._take_step()
                return False
            if runs and not self._has_next_run():
                return True
        return self._is_settled(QUIET) and self._is_at_rest()

    def _is_at_rest(self) -> bool:
        """Whether nobody works on any instance, and nothing has happened to one since this was last asked."""
        rows = self._client.pages(f"/api/v2/dags/{quote(self.dag_id)}/dagRuns/~/taskInstances", "task_instances")
        states = _states(rows)
        if states != self._tasks_before:
            self._tasks_before, self._changed = states, time.monotonic()
            return False
        return all(row["state"] is None or row["state"] in FINISHED for row in rows)

    def note(self, seen: dict[str, ObservedRun]) -> str:
        runs = self._runs()
        for name, run_id in names_of(runs):
            seen[f"{self.dag_id}/{name}"] = self._observe(run_id)
        return f"{self.dag_id}: {len(runs)} runs"

    def _runs(self) -> list[dict[str, Any]]:
        return self._client.pages(f"/api/v2/dags/{quote(self.dag_id)}/dagRuns", "dag_runs", order_by="run_after")

    def _has_next_run(self) -> bool:
        return self._client.call("GET", f"/api/v2/dags/{quote(self.dag_id)}")["next_dagrun_run_after"] is not None


def names_of(runs: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """What the runs are called in a recording, and their ids. The id of a run that assets cause begins with the time, so
    those are counted; where it ends in a random text for a partition, that is left out."""
    number = 0
    for run in runs:
        run_id, key = run["dag_run_id"], run["partition_key"]
        if run["run_type"] == "asset_triggered":
            number += 1
            yield f"asset_triggered@{number}", run_id
        elif key is not None and f"__{key}__" in run_id:
            yield run_id.rpartition("__")[0], run_id
        else:
            yield run_id, run_id


def _states(rows: Iterable[dict[str, Any]]) -> list[tuple[object, ...]]:
    return sorted((row["dag_run_id"], instance_name(row), row["try_number"], str(row["state"])) for row in rows)


def set_paused(client: ApiClient, dag_id: str, *, paused: bool = True) -> None:
    client.call("PATCH", f"/api/v2/dags/{quote(dag_id)}", body={"is_paused": paused})


def run_path(dag_id: str, run_id: str = RUN_ID) -> str:
    return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def observe(client: ApiClient, dag_id: str, run_id: str, *, with_facts: bool = False) -> ObservedRun:
    """What the server says of a run now, XComs included."""
    path = run_path(dag_id, run_id)
    xcoms = _xcoms(client, path)
    run = client.call("GET", path)
    return ObservedRun(
        state=run["state"],
        tasks={
            name: ObservedTask(
                row["state"],
                row["try_number"],
                xcoms.get(name, {}),
                row["rendered_map_index"],
                _tries(client, path, row) if row["try_number"] > 1 else {},
            )
            for row in client.pages(f"{path}/taskInstances", "task_instances")
            for name in [instance_name(row)]
        },
        facts={name: run[name] for name in FACTS} if with_facts else {},
    )


def _tries(client: ApiClient, path: str, row: dict[str, Any]) -> dict[str, str | None]:
    mapped = f"/{row['map_index']}" if row["map_index"] >= 0 else ""
    tries = client.call("GET", f"{path}/taskInstances/{quote(row['task_id'])}{mapped}/tries")["task_instances"]
    return {str(each["try_number"]): each["state"] for each in tries}


def errors_of(client: ApiClient, name_of_run: str, seen: ObservedRun) -> dict[str, str]:
    """The last error in the log of each failed task instance: for the person who reads a recording."""
    dag_id, _, run_id = name_of_run.partition("#")[0].partition("/")
    found: dict[str, str] = {}
    if "@" in run_id:
        return found  # its own id is not kept
    for name, task in seen.tasks.items():
        if task.state != "failed":
            continue
        task_id, _, index = name.partition("[")
        path = f"{run_path(dag_id, run_id or RUN_ID)}/taskInstances/{quote(task_id)}/logs/{task.try_number}"
        answer = client.call("GET", path, query={"map_index": index.rstrip("]") or -1, "full_content": True})
        details = [line["error_detail"] for line in answer["content"] if line.get("error_detail")]
        found[name] = (
            f"{details[-1][-1]['exc_type']}: {details[-1][-1]['exc_value']}" if details else "no error in the log"
        )
    return found


def instance_name(row: dict[str, Any]) -> str:
    return row["task_id"] if row["map_index"] < 0 else f"{row['task_id']}[{row['map_index']}]"


def _xcoms(client: ApiClient, path: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in client.pages(f"{path}/taskInstances/~/xcomEntries", "xcom_entries"):
        one = f"{path}/taskInstances/{quote(entry['task_id'])}/xcomEntries/{quote(entry['key'], safe='')}"
        value = client.call("GET", one, query={"map_index": entry["map_index"]})["value"]
        found.setdefault(instance_name(entry), {})[entry["key"]] = _comparable(client, entry["key"], value)
    return found


def _comparable(client: ApiClient, key: str, value: Any) -> Any:
    """What a branch chose is a set that Airflow writes as a list, in whatever order; links begin with the server's URL."""
    if key == "skipmixin_key":
        return {rule: sorted(task_ids) for rule, task_ids in value.items()}
    if key.startswith("_link_"):
        return value.removeprefix(client.url)
    return value


def all_dag_ids(client: ApiClient) -> list[str]:
    return sorted(row["dag_id"] for row in client.pages("/api/v2/dags", "dags"))


def import_errors(client: ApiClient) -> dict[str, str]:
    """File name → the last line of its trace."""
    rows = client.pages("/api/v2/importErrors", "import_errors")
    return {row["filename"]: (row["stack_trace"].strip().splitlines() or [""])[-1] for row in rows}


def await_dags(client: ApiClient, expected: Iterable[str] = (), *, quiet: float = 12.0, timeout: float = 180.0) -> None:
    """Return when the server lists every expected DAG; without any, when its list was the same for `quiet` seconds."""
    wanted = set(expected)
    for listed, unchanged in _polls(client, timeout):
        if (wanted and wanted <= listed) or (not wanted and listed and unchanged > quiet):
            return
    raise TimeoutError(f"these DAGs never appeared: {sorted(wanted - set(all_dag_ids(client)))}")


def _polls(client: ApiClient, timeout: float) -> Iterator[tuple[set[str], float]]:
    deadline = time.monotonic() + timeout
    before: set[str] = set()
    since = time.monotonic()
    while time.monotonic() < deadline:
        listed = set(all_dag_ids(client))
        if listed != before:
            before, since = listed, time.monotonic()
        yield listed, time.monotonic() - since
        time.sleep(0.5)
