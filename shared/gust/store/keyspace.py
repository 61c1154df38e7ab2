"""Every key of the table and the query that uses it.

One table, string keys `pk` and `sk`. Ids inside a key are escaped (`escape`), so that `#` only ever separates. Moments
are ISO 8601 in UTC with microseconds and a `Z` (27 characters), so they sort as text. Attributes bear the model's field
names; a field that has its default is left out (`items.py`).

    what                pk                           sk                                  read by
    ------------------  ---------------------------  ----------------------------------  -------------------------------
    DagRun              RUN#<dag_id>#<run_id>        #RUN                                get_run; load_run: one Query of
    TaskInstance        RUN#<dag_id>#<run_id>        #TI#<task_id>#<map_index>             pk, sk begins with `#`
    Callback            RUN#<dag_id>#<run_id>        #CALLBACK#<callback_id>             with the run; get_callback
    finished try        RUN#<dag_id>#<run_id>        TRY#<task_id>#<map_index>#<try>     list_tries (of a run: tries_of_run)
    rendered fields     RUN#<dag_id>#<run_id>        RTIF#<task_id>#<map_index>          get_rendered_fields, with the
                                                                                           TaskInstance, which may have
                                                                                           later ones; list_: both by
                                                                                           their beginnings of sk
    XCom                RUN#<dag_id>#<run_id>        XCOM#<task_id>#<map_index>#<name>   get_xcom; list_xcoms: sk begins
    HITLDetail          RUN#<dag_id>#<run_id>        HITL#<task_id>#<map_index>#<try>    get_hitl_detail: the last one
                                                                                           of sk begins with
    task's state store  RUN#<dag_id>#<run_id>        STATE#<task_id>#<map_index>#<key>   get_, list_task_state
    logical date taken  LOGICAL_DATE#<dag_id>        <logical_date>                      create_run's condition;
                                                                                           runs_before, runs_after
    run of a partition  PARTITION#<dag_id>           <partition_date>#<run_id>           runs_of_partition; pk
    Backfill            BACKFILL#<id>                #BACKFILL                           get_backfill
    its plan            BACKFILL#<id>                PLAN                                backfill_plan
    backfill of a DAG   BACKFILLS_OF#<dag_id>        <id>                                list_backfills: pk
    its active backfill ACTIVE_BACKFILL              <dag_id>                            create_backfill's condition
    last number given   SEQUENCE                     <kind of thing>                     next_backfill_id
    Dag                 DAG                          <dag_id>                            get_dag; list_dags: pk
    DagVersion          VERSION#<dag_id>             <version_number>                    get_version; list_versions: pk
    SourceFile          SOURCE_FILE                  <relative_path>                     list_source_files: pk
    ImportProblem       IMPORT_PROBLEM               <filename>                          list_import_problems: pk
    DagWarning          WARNING                      <dag_id>#<warning_type>             list_warnings: pk, sk begins
    active Bundle       BUNDLE                       ACTIVE                              active_bundle
    turn to deploy      BUNDLE                       TURN                                deployment_turn
    logged event        EVENT_LOG                    <event_log_id>                      get_logged_event;
                                                                                           logged_events: sk between
    sign of life        ALIVE                        <component>                         last_alive: pk
    Asset               ASSET                        <name>#<uri>                        get_asset(name); list_assets
    asset by uri        ASSET_URI                    <uri>#<name>                        get_asset(uri): sk begins with
    events reported     ASSET_EVENT#<report_id>      REPORTED                            put_asset_events' condition
    event of an asset   EVENTS_OF_ASSET#<name>       <timestamp>#<event_id>              list_asset_events(name or uri);
                                                                                           walk_asset_events
    event of an alias   EVENTS_OF_ALIAS#<alias>      <timestamp>#<event_id>              list_asset_events(alias)
    event consumed      ASSET_EVENT#<event_id>       RUN#<dag_id>#<run_id>               consumers_of: sk begins with
    AssetAlias          ASSET_ALIAS                  <alias>                             list_asset_aliases: pk
    asset of an alias   ASSETS_OF_ALIAS#<alias>      <name>#<uri>                        assets_of_alias: pk
    reference to asset  USES#NAME#<name>             <use>#<uri>#<dag_id>#<task_id>      references_to_asset: pk;
    … by URI alone      USES#URI#<uri>               <use>##<dag_id>#<task_id>             schedules_on_asset, _alias: sk
    … an alias          USES#ALIAS#<alias>           <use>##<dag_id>#<task_id>             begins with `schedule#`
    AssetQueue          ASSET_QUEUE#<dag_id>         #QUEUE                              asset_queue
    PendingPartition    ASSET_QUEUE#<dag_id>         PARTITION#<partition_key>           pending_partitions: sk begins
    events of a run     RUN#<dag_id>#<run_id>        ASSET_EVENTS                        consumed_events
    limit, pools too    LIMIT#<limit>                #LIMIT                              get_pools, slots_used
    name of a pool      POOL                         <name>                              list_pools: pk
    Watcher             WATCHER                      <watcher_id>                        get_watcher; list_watchers: pk
    watched source      WATCHED_QUEUE                <arn>                               watched_sources: pk
    EventFile           EVENT_FILE                   <filename>                          list_event_files: pk
    Wait                WAIT#<resource>              <id of the try>                     waits_for: pk
    WorkerGroup         WORKER_GROUP                 <name>                              list_worker_groups: pk
    setting             SETTING#<namespace>          <name>                              get_setting; list_settings: pk
    asset's state store ASSET_STATE#<name>#<uri>     <key>                               get_, list_asset_state
    ConnectionTest      CONNECTION_TEST#<test_id>    TEST                                get_connection_test
    its connection's    ACTIVE_CONNECTION_TEST       <connection_id>                     create_connection_test's condition
    day with runs       DAY                          <run_after's or end_date's day>     walk_runs, walk_failed_instances

`map_index` is `-1` or six digits, numbers have fixed width: text order is number order.

Indexes are sparse and project keys only. A change that does not move an item in an index costs nothing there; a reader that
needs more than the keys reads the items, strongly consistent. Index reads lag by a moment and are used where that is
harmless: the next tick finds a due run that this one missed, and a list shows a run a moment later.

    index     partition (attribute)        sort (attribute)                     holds
    --------  ---------------------------  -----------------------------------  ----------------------------------------
    due       RUN | DAG | BACKFILL         due_at | next_run_after (`due_sk`)   unfinished runs with a `due_at`; unpaused,
                (`due_pk`)                                                      fresh DAGs with a `next_run_after`;
                                                                                events that wait (DAG, `due_at`);
                                                                                active backfills, and with them
                                                                                watchers with a `due_at`
    by_state  <dag_id> (`by_state_pk`)     <run_after>#<run_id>                 runs in state queued, except runs of
                                             (`by_state_sk`)
              BACKFILL#<id>                <ordinal>#<run_id>                   backfills, which wait in their own order
              FAILED#<month>               <run_after>#<dag_id>#<run_id>        runs in state failed, across DAGs
    listed    <dag_id> (`listed_pk`)       <run_after>#<run_id> (`listed_sk`)   all runs; undated ones have a mark
              EVENT_LOG#<dag_id>           <event_log_id>#<run_id>              events of a DAG, and of its runs
              HITL#OPEN | HITL#ANSWERED    <created_at>                         questions that tasks ask now
              ASSET_EVENT#<dag_id>         <timestamp>#<event_id>               events of assets that the DAG's tasks sent
              DEADLINE#<dag_id>            <due_at>#…                           deadlines of the DAG's runs
              ASSET_USES# | ASSETS_OF_…    <its own partition>                  all references to assets, all assets of
                                                                                aliases
    waiting   <limit> (`blocked_by_limit`)        <weight>#<date>#… (`waiting_order`)  task instances that wait for slots
    recent    RUN#<day> (`recent_pk`)      <run_after>#<dag_id>#<run_id>        all runs, across DAGs; marked likewise
              FAILED#<day>                 <end_date> (`recent_sk`)             task instances in state failed
              ASSET_EVENT#<day>            <timestamp>#<event_id>               events of all assets
              DEADLINE#<day>               <due_at>#<dag_id>#<run_id>#…         deadlines of all runs
              HITL#<dag_id>                <created_at>                         questions that the DAG's tasks ask now

Each partition of `due` takes 1,000 index writes a second, far above what ticks can use up.

The stream (NEW_AND_OLD_IMAGES) carries changes to the scheduler. `sk` begins with `#` for the items that `decide` reads, and
`state` is a plain string attribute, absent for `None`; `edge` names the transition that wrote a task instance last and
is never read back. `run_key` turns a record's `pk` back into the run. An AssetQueue or PendingPartition has the `edge`
`asset_event` until the scheduler has looked at its newest event; `queue_owner` turns its `pk` into the DAG. Of settings
the stream carries variables and connections: a DAG file may have read them (`services.settings.settings_read`).

What an operation costs (WRU and RRU; items up to 1 KB written, 4 KB read; t = in a transaction, twice the price;
`+n` = index writes):

    load_run               items' size / 4 KB, rounded up: 20 task instances of 600 bytes 3 RRU
    get_run, get_instance  1 RRU                        list_runs              1 RRU per 40 runs for the index, 1 a run
    get_run_and_instances  1 RRU each
    runs_before, _after    1 RRU and 1 a run, for the runs returned and some beyond
    walk_runs              0.5 RRU per 25 runs or so, and for each day of `~`
    create_run             1 WRU +3 (by_state, listed, recent); with a logical date 4t +3; moving the DAG 2t +2 more;
                             with a partition date 2t more; 1 more for the first run of a day in each process
    add_to_backfill        6t WRU +3 (by_state, listed, recent)
    create_backfill        8t WRU and 1 per KB of its plan
    delete_backfills       1 WRU per item of each (4 with the list of them), and one S3 LIST
    start_run              4t WRU +1 (leaves by_state), +1 where `due_at` is set
    finish_run             4t WRU +1 if `due_at` was set, +1 if it failed; 2t more if it pauses the DAG, and for a backfill's
                             run, which its DAG counts as well as its backfill; the counts of its instances are 60 bytes
                             more in the run's item, and no write
    requeue_run            4t WRU +2 (enters by_state, `due_at`)
    delete_run             1 WRU per item of the partition, 2t (4t with a logical date) for the run, 2t for its DAG's count,
                             one S3 LIST
    update_run             1 WRU +2 where `due_at` moves, +1 where it comes or goes; 4t for a backfill's run that ends or
                             is queued again
    move                   1 WRU; 4t where the try is kept; +1 where it fails       heartbeat  1 WRU
    move_unread            1 WRU, also where it writes nothing
    move, of an instance   4t WRU where it begins or ceases to hold slots, 2t more for each further limit; +1 where it
      under a limit          begins or ceases to wait for one
    grant                  6t WRU +1 (leaves waiting), 2t more for each further limit
    get_dag_and_pools      2 RRU, one more per further pool: the default pool is asked for with every DAG
    get_dag_and_run        as get_dag_and_pools and get_run_and_instances
    callbacks              2t WRU more in create_run, start_run, finish_run for each, +2 of a deadline; a lost try with one
                           4t instead of 1; move_callback 1 WRU (sent, claimed, ended), and 1 +2 to end the run's `due_at`
                           afterwards; 1 more for the first deadline of a day in each process
    put_xcom               1 WRU per KB up to 256 KB, beyond 1 WRU and one S3 PUT; +1 with a mapped length
                           or a skip decision
    put_rendered_fields    1 WRU per KB                 put_, create_, change_setting  1 WRU per KB
    a worker's writes      1 RRU more, to check its dispatch: rendered fields, XComs, variables, state stores
    settings_by_age        1 RRU per 4 KB of all of them
    log_event              1 WRU per KB, +1 of a DAG: with every call of the REST API that Airflow would log, no others
    logged_events          1 RRU per 4 KB of the events returned; of a DAG or run 1 each, and the index;
                             0.5 RRU per 4 KB of a thousand for the count
    put_hitl_detail        1 WRU per KB +2; 4t +4 if an earlier try had asked. Beginning to await input costs 4t instead of
                             1, an answer or a timeout 4t +2
    put_task_state, _asset_state   1 WRU per KB         clear_…      1 WRU per key
    edit_xcom              as put_xcom; 1 WRU more if the instance notes its pushes
    put_asset_events       2t WRU; per event 2t +1, +1 of a task's, 2t more per alias; per DAG or partition they go to 2t,
                             +1 if none waited; 1 more for the first event of a day in each process
    put_asset_reference    1 WRU +1                     associate_alias        1 WRU +1
    put_asset              2 WRU                        schedules_on_asset     2 RRU; schedules_on_alias 1
    create_asset_run       as create_run, but 2t; 2t per KB of its events; 2t +1 for the queue      close_part   1 WRU
    note_consumers         1 WRU per event              postpone     1 WRU +1
    put_event_file         1 WRU per KB                 list_event_files       1 RRU per 4 KB of all: once for each batch
                             of events
    put_wait               1 WRU, with each deferral whose trigger an event will wake; waits_for 0.5 to 1 RRU for each
                             event that tells of a steady state; drop_wait 1 WRU for each that an event finds over
    put_watcher            1 WRU +2 (`due_at` moves): two of them for each life, that is for each poll
    watched_sources        0.5 RRU with each look at a watcher that Lambda could serve and each start of its life
    watch_, unwatch_source 1 WRU
    list_worker_groups     1 RRU, with each look at a run whose DAG names a queue of its own; hear_of_… 1 WRU a minute and
                             host
    put_dag                1 WRU per KB, +2 where `next_run_after` moves in `due`
    a connection's test    4t WRU to make it, 1 when it is sent, 1 when it is begun, 4t when it ends, 2t more if it makes
                             or changes the connection; 1 RRU for each poll. Nothing without a test

A failed condition costs as much as the write would have. A run's `conf` is part of its item, so every load and every update
of the run pays for a large one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from gust.errors import Invalid
from gust.model.keys import UNMAPPED, DagRunKey, TaskInstanceKey
from gust.model.logged_event import LoggedEvent, id_of
from gust.model.window import Window

TTL_ATTRIBUTE: Final = "ttl"
"""Epoch seconds after which DynamoDB deletes the item, some time within two days; readers check `expires_at`."""

INDEX_DUE: Final = "due"
INDEX_BY_STATE: Final = "by_state"
INDEX_LISTED: Final = "listed"
INDEX_WAITING: Final = "waiting"
INDEX_RECENT: Final = "recent"

DUE_RUNS: Final = "RUN"
DUE_DAGS: Final = "DAG"
DUE_BACKFILLS: Final = "BACKFILL"


INDEX_KEYS: Final = {
    **{name: (f"{name}_pk", f"{name}_sk") for name in (INDEX_DUE, INDEX_BY_STATE, INDEX_LISTED)},
    # Fields of the instance, so that every move takes it out of the index without a rule of its own.
    INDEX_WAITING: ("blocked_by_limit", "waiting_order"),
    INDEX_RECENT: ("recent_pk", "recent_sk"),
}
"""Index → its partition and sort attributes."""


def _index(name: str) -> dict[str, Any]:
    pk, sk = INDEX_KEYS[name]
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": pk, "KeyType": "HASH"}, {"AttributeName": sk, "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }


TABLE_DEFINITION: Final[dict[str, Any]] = {
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"}
        for name in ("pk", "sk", *(name for names in INDEX_KEYS.values() for name in names))
    ],
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [_index(name) for name in INDEX_KEYS],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
}
"""`create_table`'s arguments but the name; `template.yaml` says the same, and a test compares them."""


class Key(NamedTuple):
    pk: str
    sk: str


# --- a run's partition ------------------------------------------------------------------------------------------------

SCHEDULING: Final = "#"
"""Sort keys of what `load_run` reads of a run's partition begin with this: the run, its task instances and its callbacks."""

INSTANCES: Final = "#TI#"
CALLBACKS: Final = "#CALLBACK#"


def run(key: DagRunKey) -> Key:
    return Key(run_partition(key), "#RUN")


def instance(key: TaskInstanceKey) -> Key:
    return Key(run_partition(key.run), f"{INSTANCES}{_of_instance(key)}")


def callback(run: DagRunKey, callback_id: str) -> Key:
    return Key(run_partition(run), f"{CALLBACKS}{escape(callback_id)}")


def callback_id(key: Key) -> str | None:
    """Of the callback whose item `key` names; `None` for every other item."""
    return unescape(key.sk.removeprefix(CALLBACKS)) if key.sk.startswith(CALLBACKS) else None


def finished_try(key: TaskInstanceKey, try_number: int) -> Key:
    return Key(run_partition(key.run), f"{finished_tries(key)}{try_number:06d}")


FINISHED_TRIES: Final = "TRY#"


def finished_tries(key: TaskInstanceKey) -> str:
    return f"{FINISHED_TRIES}{_of_instance(key)}#"


def finished_try_of(key: Key) -> tuple[str, int]:
    """(task_id, map_index) from a key that `finished_try` made."""
    task_id, map_index, _ = key.sk.removeprefix(FINISHED_TRIES).split("#")
    return unescape(task_id), int(map_index)


def rendered_fields(key: TaskInstanceKey) -> Key:
    return Key(run_partition(key.run), f"RTIF#{_of_instance(key)}")


RENDERED_FIELDS: Final = "RTIF#"


def rendered_fields_of(key: Key) -> tuple[str, int]:
    """(task_id, map_index) from a key that `rendered_fields` made."""
    task_id, map_index = key.sk.removeprefix(RENDERED_FIELDS).split("#")
    return unescape(task_id), int(map_index)


HITL: Final = "HITL#"
HITL_OPEN: Final = "HITL#OPEN"
HITL_ANSWERED: Final = "HITL#ANSWERED"
"""Partitions of the index `listed`. A DAG's own holds no `#`, because its id is escaped."""


def hitl_of_dag(dag_id: str) -> str:
    return f"{HITL}{escape(dag_id)}"


def hitl_detail(key: TaskInstanceKey, try_number: int) -> Key:
    return Key(run_partition(key.run), f"{hitl_details(key)}{try_number:06d}")


def hitl_details(key: TaskInstanceKey) -> str:
    return f"{HITL}{_of_instance(key)}#"


def hitl_detail_of(key: Key) -> tuple[TaskInstanceKey, int] | None:
    """The instance and the try whose question `key` names; `None` for every other item."""
    found = _part_of_instance(key, "HITL")
    return None if found is None else (found[0], int(found[1]))


def task_state(key: TaskInstanceKey, name: str) -> Key:
    return Key(run_partition(key.run), _checked(f"{task_states(key.task_id, key.map_index)}{escape(name)}", "key"))


def task_states(task_id: str, map_index: int | None) -> str:
    """`None`: of all map indexes."""
    return f"STATE#{escape(task_id)}#" + ("" if map_index is None else f"{number(map_index)}#")


def asset_state(name: str, uri: str, key: str) -> Key:
    return Key(asset_states(name, uri), _checked(escape(key), "key"))


def asset_states(name: str, uri: str) -> str:
    return f"ASSET_STATE#{escape(name)}#{escape(uri)}"


def state_name(key: Key) -> str:
    """The entry's name from a key that `task_state` or `asset_state` made."""
    return unescape(key.sk.rpartition("#")[2])


def xcom(key: TaskInstanceKey, name: str) -> Key:
    return Key(run_partition(key.run), _checked(f"{xcoms(key.task_id, key.map_index)}{escape(name)}", "key"))


def xcoms(task_id: str | None = None, map_index: int | None = None) -> str:
    """The longest common prefix of the sort keys of the requested XComs; a map index alone narrows nothing."""
    if task_id is None:
        return "XCOM#"
    if map_index is None:
        return f"XCOM#{escape(task_id)}#"
    return f"XCOM#{escape(task_id)}#{number(map_index)}#"


def run_partition(key: DagRunKey) -> str:
    return f"RUN#{escape(key.dag_id)}#{escape(key.run_id)}"


def run_key(pk: str) -> DagRunKey | None:
    """The run whose partition `pk` is; `None` for every other partition."""
    match pk.split("#"):
        case ["RUN", dag_id, run_id]:
            return DagRunKey(unescape(dag_id), unescape(run_id))
        case _:
            return None


def instance_key(key: Key) -> TaskInstanceKey | None:
    """The task instance whose item `key` names; `None` for every other item."""
    its_run = run_key(key.pk)
    if its_run is None or not key.sk.startswith(INSTANCES):
        return None
    task_id, map_index = key.sk.removeprefix(INSTANCES).split("#")
    return its_run.task_instance(unescape(task_id), int(map_index))


def xcom_name(key: Key) -> tuple[TaskInstanceKey, str] | None:
    """The task instance and the name of the XCom whose item `key` names; `None` for every other item."""
    found = _part_of_instance(key, "XCOM")
    return None if found is None else (found[0], unescape(found[1]))


def _part_of_instance(key: Key, kind: str) -> tuple[TaskInstanceKey, str] | None:
    """The instance, and the last part of the key, of an item `<kind>#<task_id>#<map_index>#<part>` of a run."""
    its_run = run_key(key.pk)
    match key.sk.split("#"):
        case [prefix, task_id, map_index, part] if its_run and prefix == kind:
            return its_run.task_instance(unescape(task_id), int(map_index)), part
    return None


def _of_instance(key: TaskInstanceKey) -> str:
    return f"{escape(key.task_id)}#{number(key.map_index)}"


# --- DAGs, files and bundles ------------------------------------------------------------------------------------------

DAGS: Final = "DAG"
SOURCE_FILES: Final = "SOURCE_FILE"
EVENT_FILES: Final = "EVENT_FILE"
IMPORT_PROBLEMS: Final = "IMPORT_PROBLEM"
WARNINGS: Final = "WARNING"
ALIVE: Final = "ALIVE"
ACTIVE_BUNDLE: Final = Key("BUNDLE", "ACTIVE")
DEPLOYMENT_TURN: Final = Key("BUNDLE", "TURN")


def logical_date(dag_id: str, date: datetime) -> Key:
    return Key(logical_dates(dag_id), moment(date))


def logical_dates(dag_id: str) -> str:
    return f"LOGICAL_DATE#{escape(dag_id)}"


def run_of_partition(dag_id: str, date: datetime, run_id: str) -> Key:
    return Key(runs_of_partitions(dag_id), f"{moment(date)}#{escape(run_id)}")


def runs_of_partitions(dag_id: str) -> str:
    return f"PARTITION#{escape(dag_id)}"


def dag(dag_id: str) -> Key:
    return Key(DAGS, escape(dag_id))


def version(dag_id: str, version_number: int) -> Key:
    return Key(versions(dag_id), number(version_number))


def versions(dag_id: str) -> str:
    return f"VERSION#{escape(dag_id)}"


def source_file(relative_path: str) -> Key:
    return Key(SOURCE_FILES, _checked(escape(relative_path), "relative_path"))


def event_file(filename: str) -> Key:
    return Key(EVENT_FILES, _checked(escape(filename), "filename"))


def wait(resource: str, key: TaskInstanceKey, try_number: int) -> Key:
    return Key(waits(resource), str(key.uuid(try_number)))


def waits(resource: str) -> str:
    return f"WAIT#{escape(resource)}"


def import_problem(filename: str) -> Key:
    return Key(IMPORT_PROBLEMS, _checked(escape(filename), "filename"))


def warning(dag_id: str, warning_type: str) -> Key:
    return Key(WARNINGS, f"{warnings(dag_id)}{escape(warning_type)}")


def warnings(dag_id: str | None) -> str:
    return "" if dag_id is None else f"{escape(dag_id)}#"


LOGGED_EVENTS: Final = "EVENT_LOG"
_LAST_EVENT: Final = 10**16 - 1
"""Microseconds since 1970, in 2286: sixteen digits."""


def logged_event(event_log_id: int) -> Key:
    return Key(LOGGED_EVENTS, _event(event_log_id))


def event_bounds(window: Window) -> tuple[str, str]:
    """The first and the last sort key of the window's events. In an empty window the last one sorts first."""
    first = 0 if window.first is None else id_of(window.first)
    last = _LAST_EVENT if window.last is None else id_of(window.last)
    return _event(max(first, 0)), _event(max(min(last, _LAST_EVENT), 0))


def events_of_dag(dag_id: str) -> str:
    """A partition of the index `listed`. The one of a DAG's runs holds no `#`, because its id is escaped."""
    return f"{LOGGED_EVENTS}#{escape(dag_id)}"


def logged_event_order(event: LoggedEvent) -> str:
    return f"{_event(event.event_log_id)}#{event_of_run(event.run_id or '')}"


def event_of_run(run_id: str) -> str:
    """The part of the id that always fits: equal for equal ids, and nearly always different for different ones."""
    return escape(run_id).encode()[: _LONGEST - 24].decode(errors="ignore")


def event_until(last: str) -> str:
    """A bound that sorts after every event up to the one with that key."""
    return f"{last}#\U0010ffff"


def _event(event_log_id: int) -> str:
    return f"{event_log_id:016d}"


def alive(component: str) -> Key:
    return Key(ALIVE, escape(component))


# --- backfills --------------------------------------------------------------------------------------------------------

ACTIVE_BACKFILLS: Final = "ACTIVE_BACKFILL"


def backfill(backfill_id: int) -> Key:
    return Key(backfill_partition(backfill_id), "#BACKFILL")


def backfill_plan(backfill_id: int) -> Key:
    return Key(backfill_partition(backfill_id), "PLAN")


def backfill_partition(backfill_id: int) -> str:
    return f"BACKFILL#{backfill_id}"


WATCHERS: Final = "WATCHER"


def watcher(watcher_id: str) -> Key:
    return Key(WATCHERS, watcher_id)


WATCHED_SOURCES: Final = "WATCHED_QUEUE"


def watched_source(arn: str) -> Key:
    return Key(WATCHED_SOURCES, arn)


WORKER_GROUPS: Final = "WORKER_GROUP"


def worker_group(name: str) -> Key:
    return Key(WORKER_GROUPS, name)


def backfill_id(pk: str) -> int:
    """The id from a partition that `backfill_partition` made."""
    return int(pk.removeprefix("BACKFILL#"))


def backfill_of_dag(dag_id: str, backfill_id: int) -> Key:
    return Key(backfills_of_dag(dag_id), f"{backfill_id:019d}")


def backfills_of_dag(dag_id: str) -> str:
    return f"BACKFILLS_OF#{escape(dag_id)}"


def active_backfill(dag_id: str) -> Key:
    return Key(ACTIVE_BACKFILLS, escape(dag_id))


def sequence(of: str) -> Key:
    return Key("SEQUENCE", of)


# --- assets -----------------------------------------------------------------------------------------------------------

ASSETS: Final = "ASSET"
ASSET_URIS: Final = "ASSET_URI"


def asset(name: str, uri: str) -> Key:
    return Key(ASSETS, _checked(f"{assets_named(name)}{escape(uri)}", "uri"))


def assets_named(name: str) -> str:
    return f"{escape(name)}#"


def asset_uri(name: str, uri: str) -> Key:
    return Key(ASSET_URIS, _checked(f"{assets_at(uri)}{escape(name)}", "uri"))


def assets_at(uri: str) -> str:
    return f"{escape(uri)}#"


def asset_of_uri(sk: str) -> tuple[str, str]:
    """(name, uri) from a sort key that `asset_uri` made."""
    uri, name = sk.split("#")
    return unescape(name), unescape(uri)


def asset_event(event_id: str) -> Key:
    return Key(f"ASSET_EVENT#{escape(event_id)}", "REPORTED")


def events_of_asset(name: str) -> str:
    return f"EVENTS_OF_ASSET#{escape(name)}"


def events_of_alias(alias: str) -> str:
    return f"EVENTS_OF_ALIAS#{escape(alias)}"


def event_order(timestamp: datetime, event_id: str) -> str:
    return f"{moment(timestamp)}#{escape(event_id)}"


def consumer(event_id: str, run: DagRunKey) -> Key:
    return Key(asset_event(event_id).pk, run_partition(run))


CONSUMERS: Final = "RUN#"
"""Prefix of the sort keys of an event's consumers."""

ASSET_ALIASES: Final = "ASSET_ALIAS"


def asset_alias(alias: str) -> Key:
    return Key(ASSET_ALIASES, _checked(escape(alias), "name"))


def asset_of_alias(alias: str, name: str, uri: str) -> Key:
    return Key(assets_of_alias(alias), _checked(f"{escape(name)}#{escape(uri)}", "uri"))


def assets_of_alias(alias: str) -> str:
    return f"{_ALIAS}{escape(alias)}"


def alias_of(key: Key) -> tuple[str, str, str]:
    """(alias, name, uri) from a key that `asset_of_alias` made."""
    name, uri = key.sk.split("#")
    return unescape(key.pk.removeprefix(_ALIAS)), unescape(name), unescape(uri)


_ALIAS: Final = "ASSETS_OF_ALIAS#"


def uses(by: str, value: str) -> str:
    """`by`: NAME, URI or ALIAS."""
    return _checked(f"USES#{by}#{escape(value)}", by.lower())


def use(kind: str, uri: str, dag_id: str, task_id: str) -> str:
    return _checked(f"{kind}#{escape(uri)}#{escape(dag_id)}#{escape(task_id)}", "uri")


REFERENCES: Final = "ASSET_USES#"
ASSOCIATIONS: Final = "ASSETS_OF_ALIASES#"
"""Partitions of the index `listed`. A DAG's own holds no `#`, because its id is escaped."""


def reference_order(pk: str) -> str:
    """Any order would do."""
    return pk.encode()[:_LONGEST].decode(errors="ignore")


def use_parts(sk: str) -> tuple[str, str, str, str]:
    """(kind, uri, dag_id, task_id) from a sort key that `use` made."""
    kind, uri, dag_id, task_id = sk.split("#")
    return kind, unescape(uri), unescape(dag_id), unescape(task_id)


_QUEUE: Final = "ASSET_QUEUE#"
PARTITIONS: Final = "PARTITION#"


def asset_queue(dag_id: str) -> Key:
    return Key(asset_queues(dag_id), "#QUEUE")


def pending_partition(dag_id: str, partition_key: str) -> Key:
    return Key(asset_queues(dag_id), _checked(f"{PARTITIONS}{escape(partition_key)}", "partition_key"))


def asset_queues(dag_id: str) -> str:
    return f"{_QUEUE}{escape(dag_id)}"


def queue_owner(pk: str) -> str | None:
    """The DAG for which events wait under `pk`; `None` for every other partition."""
    return unescape(pk.removeprefix(_QUEUE)) if pk.startswith(_QUEUE) else None


def consumed_events(run: DagRunKey) -> Key:
    return Key(run_partition(run), "ASSET_EVENTS")


# --- limits -----------------------------------------------------------------------------------------------------------

POOLS: Final = "POOL"
_LIMIT: Final = "LIMIT#"


def limit(name: str) -> Key:
    return Key(f"{_LIMIT}{escape(name)}", "#LIMIT")


def limit_of(pk: str) -> str | None:
    """The limit whose partition `pk` is; `None` for every other partition."""
    return unescape(pk.removeprefix(_LIMIT)) if pk.startswith(_LIMIT) else None


def pool_name(name: str) -> Key:
    return Key(POOLS, escape(name))


# --- settings ---------------------------------------------------------------------------------------------------------


def setting(namespace: str, name: str) -> Key:
    return Key(settings(namespace), _checked(escape(name), "name"))


def settings(namespace: str) -> str:
    return _checked(f"{_SETTINGS}{escape(namespace)}", "namespace")


_SETTINGS: Final = "SETTING#"


def namespace_of(pk: str) -> str | None:
    """The namespace of the settings under `pk`; `None` for every other partition."""
    return unescape(pk.removeprefix(_SETTINGS)) if pk.startswith(_SETTINGS) else None


# --- tests of connections ---------------------------------------------------------------------------------------------


def connection_test(test_id: str) -> Key:
    return Key(f"CONNECTION_TEST#{escape(test_id)}", "TEST")


def active_connection_test(connection_id: str) -> Key:
    return Key("ACTIVE_CONNECTION_TEST", _checked(escape(connection_id), "connection_id"))


# --- the order of runs in indexes -------------------------------------------------------------------------------------


_UNDATED: Final = "\x01"
"""Ends the order of a run without a logical date. Escaped ids hold nothing that sorts before it."""


def run_order(run_after: datetime, run_id: str, *, dated: bool = True) -> str:
    return f"{moment(run_after)}#{escape(run_id)}" + ("" if dated else _UNDATED)


def recent_order(run_after: datetime, run: DagRunKey, *, dated: bool = True) -> str:
    """The sort key of a run across DAGs. Cut if both ids are long: the cut part only decides the order of equals."""
    whole = f"{moment(run_after)}#{escape(run.dag_id)}#{escape(run.run_id)}"
    return whole.encode()[: _LONGEST - 1].decode(errors="ignore") + ("" if dated else _UNDATED)


def is_dated(order: str) -> bool:
    """Whether the run has a logical date, by its place in the index `listed` or `recent`."""
    return not order.endswith(_UNDATED)


def backfill_order(ordinal: int, run_id: str) -> str:
    return f"{number(ordinal)}#{escape(run_id)}"


# --- days -------------------------------------------------------------------------------------------------------------

DAYS: Final = "DAY"
EARLIEST: Final = "0"
LATEST: Final = "~"
"""Sort before and after every moment, and every day."""


def known_day(day: str) -> Key:
    return Key(DAYS, day)


@dataclass(frozen=True, slots=True)
class Listing:
    """Partitions of indexes that list one kind of item. Those of a DAG's runs hold no `#`, because its id is escaped."""

    kind: str

    def of_day(self, day: str) -> str:
        """Also of a month."""
        return f"{self.kind}#{day}"

    def of_dag(self, dag_id: str) -> str:
        return f"{self.kind}#{escape(dag_id)}"


RUNS: Final = Listing("RUN")
FAILURES: Final = Listing("FAILED")
"""Failed instances by day in `recent`, failed runs by month in `by_state`."""
DEADLINES: Final = Listing("DEADLINE")
ASSET_EVENTS: Final = Listing("ASSET_EVENT")


def deadline_order(due_at: datetime, run: DagRunKey, callback_id: str) -> str:
    """Cut where the ids are long, as `recent_order`."""
    whole = f"{moment(due_at)}#{escape(run.dag_id)}#{escape(run.run_id)}#{escape(callback_id)}"
    return whole.encode()[:_LONGEST].decode(errors="ignore")


def day(value: datetime) -> str:
    """`2026-03-01`, in UTC."""
    return moment(value)[:10]


# --- values inside keys -----------------------------------------------------------------------------------------------

_ESCAPED: Final = {ord("%"): "%25", ord("#"): "%23", **{c: f"%{c:02X}" for c in (*range(0x20), 0x7F)}}
_ESCAPE: Final = re.compile(r"%([0-9A-F]{2})")
_LONGEST: Final = 1024
"""Bytes that DynamoDB takes as a sort key."""


def escape(text: str) -> str:
    """`#`, `%` and control characters as `%XX`; everything else as it is."""
    return text.translate(_ESCAPED)


def unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def number(value: int) -> str:
    """Six digits, `-1` for unmapped: sorts as a number among those."""
    return str(value) if value == UNMAPPED else f"{value:06d}"


def moment(value: datetime) -> str:
    """`2026-03-01T10:00:00.000000Z`: fixed width, sorts as time. Raises ValueError for a naive datetime."""
    if value.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment_from(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _checked(text: str, field: str) -> str:
    if len(text.encode()) > _LONGEST:
        raise Invalid(f"{field} is too long: with what belongs to it, it may take {_LONGEST} bytes", field=(field,))
    return text
