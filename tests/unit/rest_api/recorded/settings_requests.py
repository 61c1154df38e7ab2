"""The requests about variables, connections, the event log and the rest, to Airflow and to us, in this order."""

from __future__ import annotations

from typing import Any

from tests.unit.rest_api.recorded.requests import Asked, get, send

VARIABLES = "/api/v2/variables"
CONNECTIONS = "/api/v2/connections"
EVENTS = "/api/v2/eventLogs"
RUNS = "/api/v2/dags/etl/dagRuns"
POOLS = "/api/v2/pools"
CONFIG = "/api/v2/config"
JOBS = "/api/v2/jobs"
TEXT = {"accept": "text/plain"}


def actions(*asked: dict[str, Any]) -> dict[str, Any]:
    return {"actions": list(asked)}


VARIABLE_REQUESTS: list[Asked] = [
    *get(VARIABLES, f"{VARIABLES}/nope"),
    *send("POST", VARIABLES, {"key": "plain", "value": "text"}, {"key": "plain", "value": "again"}),
    *send("POST", VARIABLES, {"key": "a/b c", "value": "slash", "description": "d"}),
    *send(
        "POST", VARIABLES, {"key": "number", "value": 7}, {"key": "none", "value": None}, {"key": "yes", "value": True}
    ),
    *send("POST", VARIABLES, {"key": "list", "value": [1, {"password": "hidden-1", "b": "shown"}]}),
    *send(
        "POST",
        VARIABLES,
        {"key": "doc", "value": '{"api_key": "hidden-2", "x": {"tokens": ["hidden-3", 4]}, "ä": "ö"}'},
    ),
    *send("POST", VARIABLES, {"key": "my_secret", "value": "hidden-4"}, {"key": "db.PassWord", "value": "12345678"}),
    *send("POST", VARIABLES, {"key": "secret_doc", "value": {"a": {"b": ["hidden-5", 1, None]}}}),
    *send("POST", VARIABLES, {"key": "empty", "value": ""}, {"key": "x" * 250, "value": "long"}),
    *send(
        "POST", VARIABLES, {}, {"key": "x"}, {"value": "x"}, {"key": "x" * 251, "value": "v"}, {"key": 7, "value": "v"}
    ),
    *send("POST", VARIABLES, {"key": "x", "value": "v", "color": 1}, {"key": "x", "value": "v", "team_name": "t"}),
    *send("POST", VARIABLES, {"key": "x", "value": "v", "description": 7}),
    *get(VARIABLES, f"{VARIABLES}/a/b c", f"{VARIABLES}/my_secret", f"{VARIABLES}/doc"),
    *get(f"{VARIABLES}?order_by=-key&limit=3", f"{VARIABLES}?limit=2&offset=1"),
    *get(f"{VARIABLES}?order_by=-id&limit=2", f"{VARIABLES}?order_by=nope", f"{VARIABLES}?order_by=is_encrypted"),
    *get(
        f"{VARIABLES}?variable_key_pattern=SECRET", f"{VARIABLES}?variable_key_pattern=a/%|doc", f"{VARIABLES}?limit=x"
    ),
    *get(f"{VARIABLES}?variable_key_prefix_pattern=my_", f"{VARIABLES}?variable_key_prefix_pattern=MY"),
    *send("PATCH", f"{VARIABLES}/plain", {"key": "plain", "value": "new"}, {"key": "other", "value": "new"}, {}),
    *send("PATCH", f"{VARIABLES}/plain", {"key": "plain", "value": {"a": 1}, "description": "said"}),
    *send("PATCH", f"{VARIABLES}/plain?update_mask=description", {"key": "plain", "value": "not taken"}),
    *send("PATCH", f"{VARIABLES}/plain?update_mask=value&update_mask=key", {"key": "plain", "value": "w"}),
    *send(
        "PATCH",
        f"{VARIABLES}/plain?update_mask=value&update_mask=x",
        {"key": "plain", "value": "w", "description": "e"},
    ),
    *send("PATCH", f"{VARIABLES}/nope", {"key": "nope", "value": "v"}),
    *send("PATCH", f"{VARIABLES}/nope?update_mask=key", {"key": "nope", "value": "v"}),
    *get(f"{VARIABLES}/plain"),
    *send(
        "PATCH",
        VARIABLES,
        actions({"action": "create", "entities": [{"key": "b1", "value": "1"}, {"key": "b2", "value": {"c": 2}}]}),
        actions({"action": "create", "entities": [{"key": "b1", "value": "1"}, {"key": "b3", "value": "3"}]}),
        actions({"action": "create", "entities": [{"key": "b1", "value": "9"}], "action_on_existence": "skip"}),
        actions(
            {
                "action": "create",
                "entities": [{"key": "b1", "value": "8"}, {"key": "b4", "value": "4"}],
                "action_on_existence": "overwrite",
            }
        ),
        actions({"action": "update", "entities": [{"key": "b9", "value": "1"}]}),
        actions(
            {
                "action": "update",
                "entities": [{"key": "b9", "value": "1"}, {"key": "b2", "value": "2", "description": "d"}],
                "action_on_non_existence": "skip",
                "update_mask": ["description"],
            }
        ),
        actions({"action": "update", "entities": [{"key": "b2", "value": "2"}], "update_mask": ["key"]}),
        actions({"action": "delete", "entities": ["b9", "b1"]}),
        actions({"action": "delete", "entities": ["b9", "b1"], "action_on_non_existence": "skip"}),
        actions({"action": "create", "entities": [{"key": "b5"}]}),
        actions(),
        {},
    ),
    *send("DELETE", f"{VARIABLES}/nope", None),
    *send("DELETE", f"{VARIABLES}/a/b c", None),
    *get(VARIABLES),
]

PG = {
    "connection_id": "pg",
    "conn_type": "postgres",
    "host": "db",
    "login": "me",
    "password": "hidden-pg",
    "port": 5432,
}
EXTRA = '{"api_token": "hidden-extra", "region": "eu", "nested": {"secret": ["hidden-n", 7]}}'

CONNECTION_REQUESTS: list[Asked] = [
    *get(CONNECTIONS, f"{CONNECTIONS}/nope"),
    *send("POST", CONNECTIONS, PG, PG, {"connection_id": "bare", "conn_type": "http"}),
    *send(
        "POST",
        CONNECTIONS,
        {"connection_id": "rich", "conn_type": "aws", "extra": EXTRA, "schema": "s", "description": "d"},
    ),
    *send("POST", CONNECTIONS, {"connection_id": "empty", "conn_type": "", "password": "", "extra": "", "host": ""}),
    *send(
        "POST",
        CONNECTIONS,
        {},
        {"connection_id": "a b", "conn_type": "x"},
        {"connection_id": "x" * 201, "conn_type": "x"},
    ),
    *send("POST", CONNECTIONS, {"connection_id": "x", "conn_type": "x", "extra": "[1]"}),
    *send("POST", CONNECTIONS, {"connection_id": "x", "conn_type": "x", "extra": "nope"}),
    *send("POST", CONNECTIONS, {"connection_id": "x", "conn_type": "x", "port": "many", "color": "red"}),
    *send("POST", CONNECTIONS, {"connection_id": "x", "conn_type": "x", "team_name": "t"}),
    *get(CONNECTIONS, f"{CONNECTIONS}/pg", f"{CONNECTIONS}/rich"),
    *get(f"{CONNECTIONS}?order_by=-connection_id", f"{CONNECTIONS}?order_by=conn_type&limit=2"),
    *get(f"{CONNECTIONS}?order_by=login", f"{CONNECTIONS}?limit=1&offset=1"),
    *get(f"{CONNECTIONS}?connection_id_pattern=P", f"{CONNECTIONS}?connection_id_prefix_pattern=p"),
    *send(
        "PATCH",
        f"{CONNECTIONS}/pg",
        {**PG, "password": "***", "description": "edited"},
        {**PG, "connection_id": "x"},
        {},
    ),
    *send("PATCH", f"{CONNECTIONS}/pg", {"connection_id": "pg", "conn_type": "mysql"}),
    *send("PATCH", f"{CONNECTIONS}/pg", {"connection_id": "pg", "conn_type": "mysql", "password": None, "host": None}),
    *send("PATCH", f"{CONNECTIONS}/pg", {"connection_id": "pg", "conn_type": "mysql", "password": ""}),
    *send(
        "PATCH",
        f"{CONNECTIONS}/pg?update_mask=host&update_mask=schema",
        {**PG, "host": "h2", "schema": "s2", "port": 1},
    ),
    *send("PATCH", f"{CONNECTIONS}/pg?update_mask=login", {"connection_id": "pg", "conn_type": "x"}),
    *send(
        "PATCH", f"{CONNECTIONS}/pg?update_mask=extra", {"connection_id": "pg", "conn_type": "x", "extra": '{"b":  1}'}
    ),
    *send("PATCH", f"{CONNECTIONS}/pg?update_mask=extra", {"connection_id": "pg", "conn_type": "x"}),
    *send("PATCH", f"{CONNECTIONS}/nope", {"connection_id": "nope", "conn_type": "x"}),
    *send(
        "PATCH",
        f"{CONNECTIONS}/rich",
        {"connection_id": "rich", "conn_type": "aws", "extra": EXTRA.replace("hidden-extra", "***")},
    ),
    *get(f"{CONNECTIONS}/pg", f"{CONNECTIONS}/rich"),
    *send(
        "PATCH",
        CONNECTIONS,
        actions(
            {"action": "create", "entities": [{"connection_id": "b1", "conn_type": "a"}, {**PG, "connection_id": "b2"}]}
        ),
        actions({"action": "create", "entities": [{"connection_id": "b1", "conn_type": "a"}]}),
        actions(
            {"action": "create", "entities": [{"connection_id": "b1", "conn_type": "c"}], "action_on_existence": "skip"}
        ),
        actions(
            {
                "action": "create",
                "entities": [{"connection_id": "b1", "conn_type": "d", "schema": "s"}],
                "action_on_existence": "overwrite",
            }
        ),
        actions({"action": "update", "entities": [{"connection_id": "b9", "conn_type": "a"}]}),
        actions(
            {
                "action": "update",
                "entities": [
                    {"connection_id": "b9", "conn_type": "a"},
                    {"connection_id": "b2", "conn_type": "z", "host": "zz"},
                ],
                "action_on_non_existence": "skip",
                "update_mask": ["conn_type"],
            }
        ),
        actions({"action": "delete", "entities": ["b9", "b1"]}),
        actions({"action": "delete", "entities": ["b9", "b1"], "action_on_non_existence": "skip"}),
        actions({"action": "create", "entities": [{"connection_id": "b 5", "conn_type": "a"}]}),
        {},
    ),
    *get(CONNECTIONS),
    *send("DELETE", f"{CONNECTIONS}/nope", None),
    *send("DELETE", f"{CONNECTIONS}/b2", None),
    *send("POST", f"{CONNECTIONS}/test", PG, {}),
    *send(
        "POST", f"{CONNECTIONS}/enqueue-test", PG, {}, {**PG, "commit_on_success": True, "executor": "x", "queue": "q"}
    ),
    *get(f"{CONNECTIONS}/enqueue-test"),
    *get(f"{CONNECTIONS}/enqueue-test", **{"Airflow-Connection-Test-Token": "t"}),
    *send("POST", f"{CONNECTIONS}/defaults", None),
    *send("POST", f"{CONNECTIONS}/defaults", None),
    *get(f"{CONNECTIONS}?limit=100", f"{CONNECTIONS}/azure_batch_default"),
]

EVENT_REQUESTS: list[Asked] = [
    *get(EVENTS, f"{EVENTS}/999999999"),
    # What leaves a trace
    *send("PATCH", "/api/v2/dags/etl", {"is_paused": False}, {"is_paused": True}, {"is_paused": "perhaps"}),
    *send("PATCH", "/api/v2/dags?dag_id_pattern=etl", {"is_paused": True}),
    *send("POST", "/api/v2/dags/etl/favorite", None),
    *send("POST", "/api/v2/dags/etl/unfavorite", None),
    *send("POST", RUNS, {"dag_run_id": "one", "logical_date": None, "conf": {"a": 1, "password": "hidden-conf"}}),
    *send("POST", RUNS, {"dag_run_id": "one", "logical_date": None}, {"logical_date": "nope"}, {}),
    *send("POST", f"{RUNS}?logical_date=2026-01-02T03:04:05Z", {"dag_run_id": "two", "logical_date": None}),
    *send("POST", f"{RUNS}?logical_date=nonsense", {"dag_run_id": "two", "logical_date": None}),
    *send("PATCH", f"{RUNS}/one", {"note": "n"}),
    *send("POST", f"{RUNS}/one/clear", {}, {"dry_run": False}),
    *send("POST", "/api/v2/dags/etl/clearTaskInstances", {"dag_run_id": "one"}),
    *send("POST", "/api/v2/dags/etl/clearTaskInstances", {"dag_run_id": "one", "dry_run": False, "only_failed": False}),
    *send("PATCH", f"{RUNS}/one/taskInstances/extract", {"new_state": "failed"}),
    *send("PATCH", f"{RUNS}/one/taskInstances/extract/-1", {"note": "x"}),
    *send("PATCH", f"{RUNS}/one/taskInstances/extract/dry_run", {"new_state": "failed"}),
    *send("POST", "/api/v2/dags/~/dagRuns/list", {"dag_ids": ["etl"]}),
    *send("POST", POOLS, {"name": "p", "slots": 1}, {"name": "p", "slots": 1}, {}),
    *send("PATCH", f"{POOLS}/p?update_mask=slots", {"name": "p", "slots": 2, "include_deferred": False}),
    *send("DELETE", f"{POOLS}/p", None),
    *send("PATCH", POOLS, actions({"action": "delete", "entities": ["q"]})),
    *send("POST", VARIABLES, {"key": "v", "value": "never shown"}, {"key": "my_token", "value": ["x"]}),
    *send("PATCH", f"{VARIABLES}/v", {"key": "v", "value": "v2", "description": "d"}),
    *send("PATCH", VARIABLES, actions({"action": "create", "entities": [{"key": "w", "value": "never"}]})),
    *send("PATCH", VARIABLES, actions({"action": "delete", "entities": ["w"]})),
    *send("PATCH", VARIABLES, {"actions": "nope"}, {"actions": [1, {"entities": 1}]}),
    *send("DELETE", f"{VARIABLES}/v", None),
    *send(
        "POST",
        CONNECTIONS,
        PG,
        {**PG, "connection_id": "rich", "extra": EXTRA},
        {**PG, "extra": "text"},
        {**PG, "extra": "[1]"},
    ),
    *send("POST", CONNECTIONS, {**PG, "extra": 7}, [1], "text"),
    *send("PATCH", f"{CONNECTIONS}/pg", {**PG, "password": "hidden-6"}),
    *send("PATCH", CONNECTIONS, actions({"action": "update", "entities": [{**PG, "extra": EXTRA}]})),
    *send("DELETE", f"{CONNECTIONS}/pg", None),
    *send("POST", f"{CONNECTIONS}/test", PG),
    *send("POST", f"{CONNECTIONS}/enqueue-test", PG),
    *send("POST", f"{CONNECTIONS}/defaults", None),
    *send("DELETE", f"{RUNS}/two", None),
    *send("DELETE", f"{RUNS}/nope", None),
    *send("PATCH", RUNS, actions({"action": "delete", "entities": ["nope"]})),
    *send("DELETE", "/api/v2/dags/etl/dagRuns/one/taskInstances/load", None),
    *send("POST", "/api/v2/backfills/dry_run", {"dag_id": "etl", "from_date": "2026-01-01", "to_date": "2026-01-02"}),
    *send("PUT", "/api/v2/backfills/7/pause", None),
    *send("PUT", "/api/v2/backfills/x/cancel", None),
    *send("POST", "/api/v2/assets/events", {"asset_id": 7, "extra": {"access_token": "hidden-7"}}),
    *send("DELETE", "/api/v2/assets/7/queuedEvents", None),
    # The log of it
    *get(EVENTS, f"{EVENTS}?limit=100&order_by=-event_log_id", f"{EVENTS}?limit=3&offset=2&order_by=-when"),
    *get(
        f"{EVENTS}?dag_id=etl&limit=100",
        f"{EVENTS}?run_id=one&dag_id=etl",
        f"{EVENTS}?run_id=one",
        f"{EVENTS}?dag_id=nope",
    ),
    *get(f"{EVENTS}?task_id=extract", f"{EVENTS}?dag_id=etl&task_id=extract&order_by=-id", f"{EVENTS}?map_index=-1"),
    *get(
        f"{EVENTS}?try_number=1", f"{EVENTS}?owner=Anonymous&limit=2", f"{EVENTS}?owner=me", f"{EVENTS}?event=patch_dag"
    ),
    *get(
        f"{EVENTS}?included_events=patch_dag&included_events=post_pool", f"{EVENTS}?excluded_events=patch_dag&limit=4"
    ),
    *get(f"{EVENTS}?before=2020-01-01T00:00:00Z", f"{EVENTS}?after=2020-01-01T00:00:00Z&limit=1", f"{EVENTS}?before=x"),
    *get(f"{EVENTS}?dag_id_pattern=ET&limit=2", f"{EVENTS}?task_id_pattern=xtr", f"{EVENTS}?run_id_pattern=tw"),
    *get(f"{EVENTS}?owner_pattern=anon&limit=1", f"{EVENTS}?event_pattern=pool|variable&limit=5&order_by=event"),
    *get(
        f"{EVENTS}?dag_id_prefix_pattern=e&limit=1",
        f"{EVENTS}?task_id_prefix_pattern=X",
        f"{EVENTS}?run_id_prefix_pattern=t",
    ),
    *get(
        f"{EVENTS}?owner_prefix_pattern=Ano&limit=1",
        f"{EVENTS}?event_prefix_pattern=post&limit=2",
        f"{EVENTS}?order_by=nope",
    ),
    *get(f"{EVENTS}?dag_id=etl&order_by=dag_id&order_by=-event&limit=4"),
    *get(
        f"{EVENTS}?order_by=owner&limit=1", f"{EVENTS}?order_by=extra&limit=2", f"{EVENTS}/x", f"{EVENTS}?map_index=x"
    ),
]

OTHER_REQUESTS: list[Asked] = [
    *get(CONFIG, f"{CONFIG}?section=core", f"{CONFIG}/section/core/option/parallelism"),
    *get(CONFIG, **TEXT),
    *get(CONFIG, accept="application/xml"),
    *get(
        JOBS,
        f"{JOBS}?limit=1&order_by=-start_date",
        f"{JOBS}?order_by=nope",
        f"{JOBS}?is_alive=maybe",
        f"{JOBS}?start_date_gte=x",
    ),
    *get(
        f"{JOBS}?is_alive=true&job_state=running&job_type=SchedulerJob&hostname=h&executor_class=e&end_date_lt=2026-01-01T00:00:00Z"
    ),
    *get("/api/v2/plugins/importErrors", "/api/v2/plugins?limit=x", "/api/v2/providers?limit=x"),
    *get("/api/v2/auth/login", "/api/v2/auth/login?next=/dags", "/api/v2/auth/login?next=http://127.0.0.1/x"),
    *get(
        "/api/v2/auth/login?next=https://evil.example/x",
        "/api/v2/auth/login?next=//evil.example",
        "/api/v2/auth/logout",
    ),
    *send("PUT", "/api/v2/parseDagFile/nonsense", None),
    *send("POST", RUNS, {"dag_run_id": "one", "logical_date": None}),
    *get(
        f"{RUNS}/one/wait",
        f"{RUNS}/one/wait?interval=0",
        f"{RUNS}/nope/wait?interval=1",
        "/api/v2/dags/nope/dagRuns/x/wait?interval=1",
    ),
    *send("PATCH", f"{RUNS}/one", {"state": "success"}),
    *get(f"{RUNS}/one/wait?interval=1", f"{RUNS}/one/wait?interval=1&result=extract&result=nope"),
    *send("POST", f"{RUNS}/one/taskInstances/extract/xcomEntries", {"key": "return_value", "value": {"rows": 3}}),
    *get(f"{RUNS}/one/wait?interval=1", f"{RUNS}/one/wait?interval=1&result=extract&result=nope"),
]
