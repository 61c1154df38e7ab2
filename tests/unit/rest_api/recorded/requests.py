"""The requests to Airflow and to us, in this order: later ones see the effects of earlier ones."""

from __future__ import annotations

from typing import Any, NamedTuple

RUNS = "/api/v2/dags/etl/dagRuns"
ALL_RUNS = "/api/v2/dags/~/dagRuns"
RUN = f"{RUNS}/one"
TIS = f"{RUN}/taskInstances"
CLEAR = "/api/v2/dags/etl/clearTaskInstances"
XCOMS = f"{TIS}/extract/xcomEntries"
SOURCE = "/api/v2/dagSources/etl"
NDJSON = {"accept": "application/x-ndjson"}
HTML = {"accept": "text/html"}


class Asked(NamedTuple):
    method: str
    url: str
    body: Any = None
    headers: dict[str, str] | None = None


def get(*urls: str, **headers: str) -> list[Asked]:
    return [Asked("GET", url, None, headers or None) for url in urls]


def send(method: str, url: str, *bodies: Any) -> list[Asked]:
    return [Asked(method, url, body) for body in bodies]


REQUESTS: list[Asked] = [
    *send("POST", "/auth/token", {"username": "a", "password": "b"}),
    # DAGs
    *get("/api/v2/dags", "/api/v2/dags/etl", "/api/v2/dags/etl/details"),
    *get("/api/v2/dags/nope", "/api/v2/dags/nope/details"),
    *get(
        "/api/v2/dags?limit=x&offset=-1&paused=maybe", "/api/v2/dags?order_by=nope", "/api/v2/dags?tags_match_mode=foo"
    ),
    *get("/api/v2/dags?dag_run_state=foo", "/api/v2/dags?last_dag_run_state=foo"),
    *get("/api/v2/dags?dag_run_start_date_gte=foo", "/api/v2/dags?tags=a&tags=z", "/api/v2/dags?owners=nobody"),
    *get("/api/v2/dags?tags=a&tags=z&tags_match_mode=all", "/api/v2/dags?dag_id_pattern=E_L", "/api/v2/dags?limit=0"),
    *send("PATCH", "/api/v2/dags/etl", {}, {"is_paused": "x", "foo": 1}, [1]),
    *send("PATCH", "/api/v2/dags/nope", {"is_paused": True}),
    *send("PATCH", "/api/v2/dags/etl?update_mask=foo", {"is_paused": True}),
    *send("PATCH", "/api/v2/dags/etl?update_mask=is_paused", {"is_paused": True}),
    *send("PATCH", "/api/v2/dags", {"is_paused": False}),
    *send("PATCH", "/api/v2/dags?dag_id_pattern=~", {"is_paused": True}),
    *send("POST", "/api/v2/dags/etl/favorite", None),
    *get("/api/v2/dags?is_favorite=true", "/api/v2/dags?is_favorite=false"),
    *send("POST", "/api/v2/dags/etl/unfavorite", None, None),
    *send("POST", "/api/v2/dags/nope/favorite", None),
    # Runs
    *send("POST", RUNS, {}, {"logical_date": "2026-03-04"}, {"logical_date": "2026-03-04T05:06:00"}),
    *send("POST", RUNS, {"logical_date": None, "conf": [1], "foo": 2}),
    *send("POST", RUNS, {"logical_date": None, "data_interval_start": "2026-03-04T05:06:00Z"}),
    *send("POST", RUNS, {"logical_date": None, "conf": {"n": "zero"}}, {"logical_date": None, "conf": {"n": 0}}),
    *send("POST", RUNS, {"logical_date": None, "dag_run_id": "a..b"}),
    *send("POST", RUNS, {"logical_date": None, "dag_run_id": "scheduled__x"}),
    *send("POST", "/api/v2/dags/nope/dagRuns", {"logical_date": None}),
    *send("POST", RUNS, {"logical_date": "2026-03-04T05:06:00Z", "dag_run_id": "one", "conf": {"n": 5}, "note": "hi"}),
    *send("POST", RUNS, {"logical_date": "2026-03-04T05:06:00Z", "dag_run_id": "two"}),
    *send("POST", RUNS, {"logical_date": None, "dag_run_id": "one"}),
    *send("POST", RUNS, {"logical_date": "2026-03-05T05:06:00Z", "dag_run_id": "manual__a+b:c~d"}),
    *get(RUNS, RUN, f"{RUNS}/manual__a%2Bb%3Ac~d", f"{RUNS}/nope", "/api/v2/dags/nope/dagRuns"),
    *get(
        f"{ALL_RUNS}?order_by=-logical_date&limit=1", f"{RUNS}?limit=0", f"{RUNS}?offset=1", f"{RUNS}?order_by=-run_id"
    ),
    *get(f"{RUNS}?state=foo", f"{RUNS}?state=queued&state=failed", f"{RUNS}?state=failed", f"{RUNS}?run_type=manual"),
    *get(f"{RUNS}?order_by=nope", f"{RUNS}?{'&'.join(['order_by=id'] * 11)}", f"{RUNS}?cursor=xx"),
    *get(f"{RUNS}?partition_date_gte=2026-01-01", f"{ALL_RUNS}?partition_date_gte=2026-01-01"),
    *get(f"{RUNS}?conf_contains=5", f"{RUNS}?duration_gte=abc", f"{RUNS}?dag_version=a&dag_version=2"),
    *get(f"{RUNS}?logical_date_gt=2026-03-04T05:06:00Z", f"{RUNS}?start_date_gte=2026-01-01T00:00:00Z"),
    *get(f"{RUNS}?start_date_lte=2026-01-01T00:00:00Z", f"{RUNS}?run_id_pattern=one|nope", f"{RUNS}?dag_version=1"),
    *get(f"{RUNS}?run_id_prefix_pattern=manual__", f"{RUNS}?run_id_pattern=ONE", f"{RUNS}?run_id_prefix_pattern=ONE"),
    *get(f"{RUNS}?triggering_user_name_pattern=anon", f"{RUNS}?duration_gte=0"),
    *send("POST", f"{ALL_RUNS}/list", {}, {"states": ["foo"], "page_limit": -1}, {"order_by": "nope"}),
    *send("POST", f"{ALL_RUNS}/list", {"dag_ids": ["etl"], "states": ["queued"], "order_by": "-dag_run_id"}),
    *send("POST", f"{ALL_RUNS}/list", {"order_by": "duration"}),
    *send("POST", f"{RUNS}/list", {}),
    *get("/api/v2/dagStats", "/api/v2/dagStats?dag_ids=nope", "/api/v2/dagTags", "/api/v2/dagWarnings"),
    # Task instances
    *get(TIS, f"{TIS}/extract", f"{TIS}/transform", f"{TIS}/nope", f"{TIS}/extract/-1", f"{TIS}/extract/x"),
    *get(f"{TIS}/extract/5", f"{RUNS}/nope/taskInstances", f"{ALL_RUNS}/one/taskInstances"),
    *get(
        f"{ALL_RUNS}/~/taskInstances?task_id=load", f"{TIS}?state=foo", f"{TIS}?state=no_status", f"{TIS}?state=failed"
    ),
    *get(f"{TIS}?task_group_id=nope", f"{TIS}?order_by=-map_index&order_by=try_number", f"{TIS}?pool=slow"),
    *get(f"{TIS}?operator_name_pattern=bash", f"{TIS}?task_display_name_prefix_pattern=ex", f"{TIS}?order_by=state"),
    *get(f"{TIS}/transform/listMapped", f"{TIS}/extract/listMapped", f"{TIS}/nope/listMapped"),
    *get(f"{RUNS}/nope/taskInstances/extract/listMapped", "/api/v2/dags/nope/dagRuns/one/taskInstances/a/listMapped"),
    *get(f"{TIS}/extract/tries", f"{TIS}/nope/tries", f"{TIS}/extract/tries/0", f"{TIS}/extract/tries/3"),
    *get(f"{TIS}/extract/tries/x", f"{TIS}/extract/-1/tries", f"{TIS}/extract/-1/tries/0"),
    *send("POST", f"{ALL_RUNS}/~/taskInstances/list", {}, {"order_by": "run_after"}, {"pool": ["slow"]}),
    *send("POST", f"{ALL_RUNS}/~/taskInstances/list", {"state": [None], "task_ids": ["load"]}),
    *send("POST", f"{ALL_RUNS}/one/taskInstances/list", {}),
    # Logs
    *get(f"{TIS}/extract/logs/0", f"{TIS}/extract/logs/1", f"{TIS}/extract/logs/-1", f"{TIS}/nope/logs/1"),
    *get(f"{TIS}/extract/logs/0", **HTML),
    *get(f"{TIS}/extract/externalLogUrl/1"),
    # XComs
    *send("POST", XCOMS, {"key": "return_value", "value": [1, 2]}, {"key": "d", "value": {"a": 1, "b": "x"}}),
    *send("POST", XCOMS, {"key": "s", "value": "5"}, {"key": "a/b", "value": None}, {"key": "t", "value": "text"}),
    *[
        asked
        for key in ("return_value", "d", "s", "a/b", "t", "nope")
        for query in ("", "?deserialize=true", "?stringify=true", "?deserialize=true&stringify=true")
        for asked in get(f"{XCOMS}/{key}{query}")
    ],
    *get(
        f"{XCOMS}/d?map_index=-2", f"{XCOMS}/d?map_index=3", XCOMS, f"{XCOMS}?order_by=nope", f"{XCOMS}?order_by=-key"
    ),
    *get("/api/v2/dags/nope/dagRuns/one/taskInstances/extract/xcomEntries", f"{XCOMS}?xcom_key=d"),
    *get(f"{ALL_RUNS}/~/taskInstances/~/xcomEntries?xcom_key_pattern=ret"),
    # The rest
    *get("/api/v2/importErrors", "/api/v2/importErrors/1", "/api/v2/importErrors/x"),
    *get(SOURCE, f"{SOURCE}?version_number=7", "/api/v2/dagSources/nope"),
    *get(SOURCE, accept="text/plain"),
    *get(SOURCE, **HTML),
    *get("/api/v2/dags/etl/dagVersions", "/api/v2/dags/~/dagVersions", "/api/v2/dags/etl/dagVersions/1"),
    *get("/api/v2/dags/etl/dagVersions/9", "/api/v2/dags/nope/dagVersions", "/api/v2/dags/etl/dagVersions/x"),
    *get("/api/v2/dags/etl/tasks", "/api/v2/dags/etl/tasks/extract", "/api/v2/dags/etl/tasks/transform"),
    *get("/api/v2/dags/etl/tasks/nope", "/api/v2/dags/etl/tasks?order_by=nope", "/api/v2/dags/nope/tasks"),
    *get("/api/v2/dags/etl/tasks?order_by=-pool_slots", "/api/v2/nope"),
    *send("DELETE", "/api/v2/version", None),
    *get("/api/v2/dags", authorization="Bearer nope"),
    *get("/api/v2/dags", authorization="Basic abc"),
    # Marking and notes
    *send("PATCH", f"{TIS}/nope", {"new_state": "success"}),
    *send("PATCH", f"{TIS}/extract/7", {"new_state": "success"}),
    *send("PATCH", f"{RUNS}/nope/taskInstances/extract", {"new_state": "success"}),
    *send("PATCH", "/api/v2/dags/nope/dagRuns/one/taskInstances/extract", {"new_state": "success"}),
    *send("PATCH", f"{TIS}/extract", {"new_state": None}, {"new_state": "running"}, {"foo": 1}, {"note": "x" * 1001}),
    *send("PATCH", f"{TIS}/extract/dry_run", {"new_state": "failed", "include_downstream": True}, {"note": "n"}),
    *send("PATCH", f"{TIS}/extract/-1/dry_run", {"new_state": "failed", "include_future": True}),
    *send("PATCH", f"{TIS}/extract?update_mask=note", {"new_state": "failed", "note": "why"}),
    *send("PATCH", f"{TIS}/extract", {"new_state": "FAILED"}, {"new_state": "failed"}, {"note": ""}),
    *get(f"{TIS}/extract", RUN),
    *send("PATCH", f"{TIS}/load", {"new_state": "failed", "include_upstream": True}),
    *get(TIS),
    *send("PATCH", f"{TIS}/extract", {"new_state": "success"}),
    *get(TIS, RUN, f"{TIS}/load/tries"),
    *send("PATCH", f"{RUN}/taskGroupInstances/nope", {"new_state": "success"}),
    *send("PATCH", TIS, {"actions": [{"action": "create", "entities": [{"task_id": "load"}]}]}),
    *send("PATCH", TIS, {"actions": [{"action": "update", "entities": [{"task_id": "load", "new_state": "skipped"}]}]}),
    *send("PATCH", TIS, {"actions": [{"action": "update", "entities": [{"task_id": "nope", "note": "n"}]}]}),
    *send("PATCH", TIS, {"actions": [{"action": "delete", "entities": [{"task_id": "load", "map_index": 4}]}]}),
    *send("PATCH", f"{ALL_RUNS}/~/taskInstances", {"actions": [{"action": "delete", "entities": ["load"]}]}),
    *send("DELETE", f"{TIS}/nope", None),
    # Runs
    *send("PATCH", RUN, {"state": "running"}, {"foo": 1}, {"note": "x" * 1001}, {}, {"note": "there"}, {"note": ""}),
    *send("PATCH", f"{RUNS}/nope", {"state": "success"}),
    *send("PATCH", f"{RUN}?update_mask=note", {"state": "success", "note": "only this"}),
    *send("PATCH", f"{RUNS}/two", {"state": "failed"}),
    *get(f"{RUNS}/two/taskInstances"),
    *send("PATCH", f"{RUNS}/two", {"state": "queued"}, {"state": "success"}),
    *send("POST", f"{RUNS}/nope/clear", {}),
    *send(
        "POST",
        f"{RUNS}/two/clear",
        {"only_new": True, "only_failed": True},
        {},
        {"only_failed": True},
        {"only_new": True},
    ),
    *send("POST", f"{RUNS}/two/clear", {"dry_run": False, "note": "once more"}),
    *get(f"{RUNS}/two/taskInstances", f"{RUNS}/two/taskInstances/load/tries"),
    *send("POST", "/api/v2/dags/etl/clearDagRuns", {"dag_runs": [{"dag_run_id": "nope"}]}),
    *send("POST", "/api/v2/dags/etl/clearDagRuns", {"dag_runs": [{"dag_run_id": "one", "dag_id": "other"}]}),
    *send("POST", "/api/v2/dags/~/clearDagRuns", {"dag_runs": [{"dag_run_id": "one"}]}, {"partition_key": "p"}),
    *send("PATCH", RUNS, {"actions": [{"action": "create", "entities": []}]}),
    *send("PATCH", RUNS, {"actions": [{"action": "update", "entities": [{"dag_run_id": "two", "state": "failed"}]}]}),
    *send("PATCH", RUNS, {"actions": [{"action": "update", "entities": [{"dag_run_id": "nope", "state": "failed"}]}]}),
    *send("PATCH", ALL_RUNS, {"actions": [{"action": "delete", "entities": ["two"]}]}),
    # Clearing
    *send("POST", CLEAR, {"dag_run_id": "nope"}, {"task_ids": []}, {"only_failed": True, "only_running": True}),
    *send("POST", CLEAR, {"start_date": "2026-02-01T00:00:00Z", "end_date": "2026-01-01T00:00:00Z"}),
    *send("POST", CLEAR, {"start_date": "2026-02-01T00:00:00Z", "dag_run_id": "one"}),
    *send("POST", "/api/v2/dags/nope/clearTaskInstances", {}),
    *send("POST", CLEAR, {"dag_run_id": "one"}, {"dag_run_id": "one", "only_failed": False, "task_ids": ["load"]}),
    *send("POST", CLEAR, {"dag_run_id": "one", "only_failed": False, "task_ids": ["load"], "include_upstream": True}),
    *send("POST", CLEAR, {"dag_run_id": "one", "only_failed": False, "task_ids": ["extract"], "dry_run": False}),
    *get(f"{TIS}/extract", f"{TIS}/extract/tries", RUN),
    # Deleting
    *send("DELETE", f"{RUNS}/nope", None),
    *send("DELETE", f"{RUNS}/two", None),
    *get(f"{RUNS}/two"),
    *send("PATCH", RUNS, {"actions": [{"action": "delete", "entities": ["one", "nope"]}]}),
    *send("DELETE", "/api/v2/dags/nope", None),
]
