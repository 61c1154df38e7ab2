"""The requests about a task instance's data: XComs, the state store, links, questions; and about partitions.

They follow the other requests, on a run of their own."""

from __future__ import annotations

from tests.unit.rest_api.recorded.requests import ALL_RUNS, RUNS, Asked, get, send

RUN = f"{RUNS}/data"
TIS = f"{RUN}/taskInstances"
XCOMS = f"{TIS}/extract/xcomEntries"
STATE = f"{TIS}/extract/state-store"
LINKS = f"{TIS}/extract/links"
HITL = f"{TIS}/extract/-1/hitlDetails"
PARTITIONS = "/api/v2/dags/etl/clearPartitions"
LATER = "2126-03-04T05:06:07Z"

TASK_DATA_REQUESTS: list[Asked] = [
    *send("POST", RUNS, {"logical_date": "2026-07-04T05:06:00Z", "dag_run_id": "data", "conf": {"n": 5}}),
    # XComs
    *send(
        "POST", XCOMS, {"key": "a/b", "value": {"x": [1, None]}}, {"key": "a/b", "value": 2}, {"key": "t", "value": "5"}
    ),
    *send("POST", XCOMS, {"key": "n", "value": None}, {"value": 1}, {"key": "k"}, {"key": "k", "value": 1, "more": 2}),
    *send("POST", XCOMS, {"key": "k", "value": {"a": [{"__classname__": "x"}]}}, {"key": "k", "value": '{"__var": 1}'}),
    *send("POST", XCOMS, {"key": "k", "value": 1, "map_index": "x"}),
    *send("POST", f"{TIS}/nope/xcomEntries", {"key": "a", "value": 1}),
    *send("POST", f"{RUNS}/nope/taskInstances/extract/xcomEntries", {"key": "a", "value": 1}),
    *send("POST", "/api/v2/dags/nope/dagRuns/data/taskInstances/extract/xcomEntries", {"key": "a", "value": 1}),
    *send("PATCH", f"{XCOMS}/a/b", {"value": ["other"]}, {"value": {"__id__": 1}}, {}, {"value": 1, "map_index": 4}),
    *send("PATCH", f"{XCOMS}/nope", {"value": 1}),
    *get(f"{XCOMS}/a/b", XCOMS),
    *send("DELETE", f"{XCOMS}/a/b?map_index=-2", None),
    *send("DELETE", f"{XCOMS}/a/b?map_index=1", None),
    *send("DELETE", f"{XCOMS}/a/b", None, None),
    *send("DELETE", f"{RUNS}/nope/taskInstances/extract/xcomEntries/a", None),
    *get(XCOMS),
    # The state store of a task
    *get(STATE, f"{STATE}/nope", f"{TIS}/nope/state-store", f"{RUNS}/nope/taskInstances/extract/state-store"),
    *send("PUT", f"{STATE}/a/b", {"value": {"x": [1, None]}, "expires_at": None}, {"value": 1, "expires_at": LATER}),
    *send("PUT", f"{STATE}/z", {"value": "z", "expires_at": None}),
    *send("PUT", f"{STATE}/a", {"value": None}, {}, {"value": 1, "more": 1}, {"value": 1, "expires_at": "never"}),
    *send("PUT", f"{STATE}/a", {"value": 1, "expires_at": "2126-03-04T05:06:07"}, {"value": "x" * 65536}),
    *send("PUT", f"{STATE}/edge", {"value": "x" * 65533, "expires_at": None}),
    *send("DELETE", f"{STATE}/edge", None),
    *send("PUT", f"{TIS}/nope/state-store/a", {"value": 1}),
    *send("PUT", f"{STATE}/a?map_index=3", {"value": 1}),
    *get(STATE, f"{STATE}/a/b", f"{STATE}?limit=1&offset=1", f"{STATE}?map_index=-2", f"{STATE}?limit=x"),
    *send("PATCH", f"{STATE}/a/b", {"value": 2}, {"value": None}, {"value": 2, "expires_at": None}),
    *send("PATCH", f"{STATE}/nope", {"value": 2}),
    *send("PATCH", f"{TIS}/nope/state-store/a", {"value": 2}),
    *get(f"{STATE}/a/b"),
    *send("DELETE", f"{STATE}/a/b", None, None),
    *send("DELETE", f"{TIS}/nope/state-store/a", None),
    *send("DELETE", f"{TIS}/nope/state-store", None),
    *send("DELETE", f"{TIS}/nope/state-store?all_map_indices=true", None),
    *send("DELETE", f"{STATE}?map_index=7", None),
    *send("DELETE", f"{STATE}?all_map_indices=true", None),
    *get(STATE),
    # The state store of an asset
    *get("/api/v2/assets/77/state-store", "/api/v2/assets/x/state-store", "/api/v2/assets/77/state-store/a"),
    *send("PUT", "/api/v2/assets/77/state-store/a", {"value": 1}),
    *send("DELETE", "/api/v2/assets/77/state-store", None),
    # Links
    *get(LINKS, f"{LINKS}?try_number=4", f"{LINKS}?map_index=4", f"{TIS}/nope/links", f"{LINKS}?try_number=x"),
    # Questions
    *get(HITL, f"{TIS}/nope/-1/hitlDetails", f"{TIS}/extract/x/hitlDetails", f"{HITL}/tries/3", f"{HITL}/tries/x"),
    *send("PATCH", HITL, {"chosen_options": ["a"]}, {"chosen_options": []}, {}, {"chosen_options": "a"}),
    *send("PATCH", f"{RUNS}/nope/taskInstances/extract/-1/hitlDetails", {"chosen_options": ["a"]}),
    *get(f"{RUN}/hitlDetails", f"{RUNS}/nope/hitlDetails", f"{ALL_RUNS}/~/hitlDetails?response_received=true"),
    *get(f"{ALL_RUNS}/~/hitlDetails?state=foo", f"{ALL_RUNS}/~/hitlDetails?order_by=nope"),
    *get(f"{ALL_RUNS}/~/hitlDetails?response_received=x", f"{ALL_RUNS}/~/hitlDetails?map_index=x&limit=-1"),
    # Partitions
    *send("POST", PARTITIONS, {}, {"run_id": "a", "partition_key": "b"}, {"run_id": "data"}, {"run_id": "nope"}),
    *send("POST", PARTITIONS, {"partition_key": "p", "clear_task_instances": True}, {"partition_date_end": "x"}),
    *send("POST", PARTITIONS, {"run_id": "data", "clear_task_instances": True}),
    *send(
        "POST",
        PARTITIONS,
        {"partition_date_start": "2026-01-02T00:00:00Z", "partition_date_end": "2026-01-01T00:00:00Z"},
        {"partition_date_start": "2026-01-02T00:00:00"},
    ),
    *send("POST", "/api/v2/dags/nope/clearPartitions", {"run_id": "a"}),
    *send("POST", RUNS, {"logical_date": None, "dag_run_id": "parted", "partition_key": "p", "conf": {"n": 5}}),
    *send("POST", PARTITIONS, {"partition_key": "p"}, {"partition_key": "p", "dry_run": False}),
    *send("POST", PARTITIONS, {"partition_key": "p", "dry_run": False}),
    *get(f"{RUNS}/parted"),
]
