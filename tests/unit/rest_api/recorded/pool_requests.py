"""The requests about pools, to Airflow and to us, in this order."""

from __future__ import annotations

from tests.unit.rest_api.recorded.requests import Asked, get, send

POOLS = "/api/v2/pools"
ETL = {"name": "etl", "slots": 5}

POOL_REQUESTS: list[Asked] = [
    *send("PATCH", f"{POOLS}/default_pool?update_mask=slots", {"slots": -1}),
    *get(POOLS, f"{POOLS}/default_pool", f"{POOLS}/nope"),
    *send("POST", POOLS, ETL, ETL, {"name": "a/b", "slots": -1, "description": "d", "include_deferred": True}),
    *send("POST", POOLS, {}, {"name": "x", "slots": -2}, {"name": "x", "slots": "many"}, {"pool": "y", "slots": 1}),
    *send("POST", POOLS, {"name": "x" * 257, "slots": 1}, {"name": "x", "slots": 1, "team_name": "t"}),
    *send("POST", POOLS, {"name": "x", "slots": 1, "color": "red"}, {"name": "default_pool", "slots": 1}),
    *send("POST", POOLS, {"name": "z", "slots": 1, "description": None, "include_deferred": None}),
    *get(POOLS, f"{POOLS}/a/b", f"{POOLS}?order_by=-name", f"{POOLS}?order_by=pool", f"{POOLS}?order_by=-id"),
    *get(f"{POOLS}?order_by=slots", f"{POOLS}?limit=1&offset=1", f"{POOLS}?pool_name_pattern=T"),
    *get(f"{POOLS}?pool_name_prefix_pattern=e", f"{POOLS}?pool_name_prefix_pattern=E", f"{POOLS}?limit=-1"),
    *send("PATCH", f"{POOLS}/etl", {"slots": 3}, {}, {"pool": "etl", "slots": 3, "include_deferred": True}),
    *send("PATCH", f"{POOLS}/etl", {"name": "other", "slots": 3, "include_deferred": True}),
    *send("PATCH", f"{POOLS}/etl", {"name": "etl", "slots": None, "include_deferred": None, "description": None}),
    *send("PATCH", f"{POOLS}/etl", {"name": "etl", "slots": -2, "include_deferred": "perhaps"}),
    *send("PATCH", f"{POOLS}/etl?update_mask=slots", {"slots": 4}),
    *send(
        "PATCH",
        f"{POOLS}/etl?update_mask=slots",
        {"name": "etl", "slots": 4, "include_deferred": False, "description": "not taken"},
    ),
    *send(
        "PATCH",
        f"{POOLS}/etl?update_mask=description&update_mask=nope",
        {"name": "etl", "slots": 9, "include_deferred": False, "description": "taken"},
    ),
    *send("PATCH", f"{POOLS}/nope", {"pool": "nope", "slots": 3, "include_deferred": True}),
    *send("PATCH", f"{POOLS}/default_pool", {"slots": 3}, {"slots": 3, "include_deferred": True}),
    *send("PATCH", f"{POOLS}/default_pool?update_mask=description", {"description": "x"}),
    *send("PATCH", f"{POOLS}/default_pool?update_mask=slots", {"slots": 64}, {"slots": 8, "description": "x"}),
    *send(
        "PATCH",
        f"{POOLS}/default_pool?update_mask=slots&update_mask=include_deferred",
        {"slots": 7, "include_deferred": True},
        {"slots": -1, "include_deferred": False},
    ),
    *get(POOLS),
    *send("DELETE", f"{POOLS}/default_pool", None),
    *send("DELETE", f"{POOLS}/nope", None),
    *send("DELETE", f"{POOLS}/a/b", None),
    *get(f"{POOLS}/a/b"),
    *send("POST", POOLS, {"name": "a/b", "slots": 2}),
    *get(f"{POOLS}/a/b"),
    # In bulk
    *send(
        "PATCH",
        POOLS,
        {"actions": [{"action": "create", "entities": [{"name": "b1", "slots": 1}, {"name": "b2", "slots": 2}]}]},
        {"actions": [{"action": "create", "entities": [{"name": "b1", "slots": 1}]}]},
        {"actions": [{"action": "create", "entities": [{"name": "b1", "slots": 7}], "action_on_existence": "skip"}]},
        {
            "actions": [
                {
                    "action": "create",
                    "entities": [{"name": "b1", "slots": 8, "include_deferred": True}, {"name": "b3", "slots": 3}],
                    "action_on_existence": "overwrite",
                }
            ]
        },
        {"actions": [{"action": "update", "entities": [{"name": "b9", "slots": 1}]}]},
        {"actions": [{"action": "update", "entities": [{"name": "b1", "slots": 1}]}]},
        {"actions": [{"action": "update", "entities": [{"name": "b1", "slots": 6, "include_deferred": False}]}]},
        {
            "actions": [
                {
                    "action": "update",
                    "entities": [
                        {"name": "b9", "slots": 1, "include_deferred": False},
                        {"name": "b2", "slots": 9, "include_deferred": True, "description": "x"},
                    ],
                    "action_on_non_existence": "skip",
                    "update_mask": ["slots"],
                }
            ]
        },
        {"actions": [{"action": "update", "entities": [{"name": "default_pool", "slots": 1}]}]},
        {"actions": [{"action": "delete", "entities": ["b9", "b1"]}]},
        {"actions": [{"action": "delete", "entities": ["b9", "b1"], "action_on_non_existence": "skip"}]},
        {
            "actions": [
                {"action": "create", "entities": [{"name": "b4", "slots": 1}]},
                {"action": "delete", "entities": ["b4"]},
            ]
        },
        {"actions": []},
        {},
        {"actions": [{"action": "create", "entities": [{"name": "b5"}]}]},
    ),
    *get(f"{POOLS}?order_by=name"),
]
