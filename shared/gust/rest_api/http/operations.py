"""Every operation of Airflow's REST API v2: its id, method and path. A test holds the table against the pinned wheel.

An operation without a handler answers 501 with its name.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Operation(NamedTuple):
    method: str
    path: str


OPERATIONS: Final[dict[str, Operation]] = {
    "get_assets": Operation("GET", "/api/v2/assets"),
    "get_asset_aliases": Operation("GET", "/api/v2/assets/aliases"),
    "get_asset_alias": Operation("GET", "/api/v2/assets/aliases/{asset_alias_id}"),
    "get_asset_events": Operation("GET", "/api/v2/assets/events"),
    "create_asset_event": Operation("POST", "/api/v2/assets/events"),
    "materialize_asset": Operation("POST", "/api/v2/assets/{asset_id}/materialize"),
    "get_asset_queued_events": Operation("GET", "/api/v2/assets/{asset_id}/queuedEvents"),
    "delete_asset_queued_events": Operation("DELETE", "/api/v2/assets/{asset_id}/queuedEvents"),
    "get_asset": Operation("GET", "/api/v2/assets/{asset_id}"),
    "get_dag_asset_queued_events": Operation("GET", "/api/v2/dags/{dag_id}/assets/queuedEvents"),
    "delete_dag_asset_queued_events": Operation("DELETE", "/api/v2/dags/{dag_id}/assets/queuedEvents"),
    "get_dag_asset_queued_event": Operation("GET", "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents"),
    "delete_dag_asset_queued_event": Operation("DELETE", "/api/v2/dags/{dag_id}/assets/{asset_id}/queuedEvents"),
    "list_backfills": Operation("GET", "/api/v2/backfills"),
    "create_backfill": Operation("POST", "/api/v2/backfills"),
    "get_backfill": Operation("GET", "/api/v2/backfills/{backfill_id}"),
    "pause_backfill": Operation("PUT", "/api/v2/backfills/{backfill_id}/pause"),
    "unpause_backfill": Operation("PUT", "/api/v2/backfills/{backfill_id}/unpause"),
    "cancel_backfill": Operation("PUT", "/api/v2/backfills/{backfill_id}/cancel"),
    "create_backfill_dry_run": Operation("POST", "/api/v2/backfills/dry_run"),
    "delete_connection": Operation("DELETE", "/api/v2/connections/{connection_id}"),
    "get_connection": Operation("GET", "/api/v2/connections/{connection_id}"),
    "patch_connection": Operation("PATCH", "/api/v2/connections/{connection_id}"),
    "get_connection_test": Operation("GET", "/api/v2/connections/enqueue-test"),
    "enqueue_connection_test": Operation("POST", "/api/v2/connections/enqueue-test"),
    "get_connections": Operation("GET", "/api/v2/connections"),
    "post_connection": Operation("POST", "/api/v2/connections"),
    "bulk_connections": Operation("PATCH", "/api/v2/connections"),
    "test_connection": Operation("POST", "/api/v2/connections/test"),
    "create_default_connections": Operation("POST", "/api/v2/connections/defaults"),
    "get_dag_run": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"),
    "delete_dag_run": Operation("DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"),
    "patch_dag_run": Operation("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"),
    "bulk_dag_runs": Operation("PATCH", "/api/v2/dags/{dag_id}/dagRuns"),
    "get_dag_runs": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns"),
    "trigger_dag_run": Operation("POST", "/api/v2/dags/{dag_id}/dagRuns"),
    "get_upstream_asset_events": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents"),
    "clear_dag_run": Operation("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/clear"),
    "wait_dag_run_until_finished": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/wait"),
    "get_list_dag_runs_batch": Operation("POST", "/api/v2/dags/{dag_id}/dagRuns/list"),
    "clear_dag_runs": Operation("POST", "/api/v2/dags/{dag_id}/clearDagRuns"),
    "clear_dag_run_partitions": Operation("POST", "/api/v2/dags/{dag_id}/clearPartitions"),
    "get_dag_source": Operation("GET", "/api/v2/dagSources/{dag_id}"),
    "get_dag_stats": Operation("GET", "/api/v2/dagStats"),
    "get_config": Operation("GET", "/api/v2/config"),
    "get_config_value": Operation("GET", "/api/v2/config/section/{section}/option/{option}"),
    "list_dag_warnings": Operation("GET", "/api/v2/dagWarnings"),
    "get_dags": Operation("GET", "/api/v2/dags"),
    "patch_dags": Operation("PATCH", "/api/v2/dags"),
    "get_dag": Operation("GET", "/api/v2/dags/{dag_id}"),
    "patch_dag": Operation("PATCH", "/api/v2/dags/{dag_id}"),
    "delete_dag": Operation("DELETE", "/api/v2/dags/{dag_id}"),
    "get_dag_details": Operation("GET", "/api/v2/dags/{dag_id}/details"),
    "favorite_dag": Operation("POST", "/api/v2/dags/{dag_id}/favorite"),
    "unfavorite_dag": Operation("POST", "/api/v2/dags/{dag_id}/unfavorite"),
    "get_event_log": Operation("GET", "/api/v2/eventLogs/{event_log_id}"),
    "get_event_logs": Operation("GET", "/api/v2/eventLogs"),
    "get_extra_links": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links"),
    "get_import_error": Operation("GET", "/api/v2/importErrors/{import_error_id}"),
    "get_import_errors": Operation("GET", "/api/v2/importErrors"),
    "get_jobs": Operation("GET", "/api/v2/jobs"),
    "get_plugins": Operation("GET", "/api/v2/plugins"),
    "import_errors": Operation("GET", "/api/v2/plugins/importErrors"),
    "delete_pool": Operation("DELETE", "/api/v2/pools/{pool_name}"),
    "get_pool": Operation("GET", "/api/v2/pools/{pool_name}"),
    "patch_pool": Operation("PATCH", "/api/v2/pools/{pool_name}"),
    "get_pools": Operation("GET", "/api/v2/pools"),
    "post_pool": Operation("POST", "/api/v2/pools"),
    "bulk_pools": Operation("PATCH", "/api/v2/pools"),
    "get_providers": Operation("GET", "/api/v2/providers"),
    "list_asset_state_store": Operation("GET", "/api/v2/assets/{asset_id}/state-store"),
    "clear_asset_state_store": Operation("DELETE", "/api/v2/assets/{asset_id}/state-store"),
    "get_asset_state_store": Operation("GET", "/api/v2/assets/{asset_id}/state-store/{key}"),
    "set_asset_state_store": Operation("PUT", "/api/v2/assets/{asset_id}/state-store/{key}"),
    "delete_asset_state_store": Operation("DELETE", "/api/v2/assets/{asset_id}/state-store/{key}"),
    "list_task_state_store": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store"
    ),
    "clear_task_state_store": Operation(
        "DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store"
    ),
    "get_task_state_store": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}"
    ),
    "set_task_state_store": Operation(
        "PUT", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}"
    ),
    "patch_task_state_store": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}"
    ),
    "delete_task_state_store": Operation(
        "DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}"
    ),
    "get_xcom_entry": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}"
    ),
    "update_xcom_entry": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}"
    ),
    "delete_xcom_entry": Operation(
        "DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}"
    ),
    "get_xcom_entries": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries"
    ),
    "create_xcom_entry": Operation(
        "POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries"
    ),
    "get_task_instance": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"),
    "patch_task_instance": Operation("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"),
    "delete_task_instance": Operation("DELETE", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}"),
    "get_mapped_task_instances": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped"
    ),
    "get_task_instance_dependencies_by_map_index": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies"
    ),
    "get_task_instance_dependencies": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies"
    ),
    "get_task_instance_tries": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries"
    ),
    "get_mapped_task_instance_tries": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries"
    ),
    "get_mapped_task_instance": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}"
    ),
    "patch_task_instance_by_map_index": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}"
    ),
    "get_task_instances": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances"),
    "bulk_task_instances": Operation("PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances"),
    "get_task_instances_batch": Operation("POST", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list"),
    "get_task_instance_try_details": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}"
    ),
    "get_mapped_task_instance_try_details": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}"
    ),
    "post_clear_task_instances": Operation("POST", "/api/v2/dags/{dag_id}/clearTaskInstances"),
    "patch_task_group_instances": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}"
    ),
    "patch_task_group_instances_dry_run": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run"
    ),
    "patch_task_instance_dry_run_by_map_index": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run"
    ),
    "patch_task_instance_dry_run": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run"
    ),
    "get_tasks": Operation("GET", "/api/v2/dags/{dag_id}/tasks"),
    "get_task": Operation("GET", "/api/v2/dags/{dag_id}/tasks/{task_id}"),
    "delete_variable": Operation("DELETE", "/api/v2/variables/{variable_key}"),
    "get_variable": Operation("GET", "/api/v2/variables/{variable_key}"),
    "patch_variable": Operation("PATCH", "/api/v2/variables/{variable_key}"),
    "get_variables": Operation("GET", "/api/v2/variables"),
    "post_variable": Operation("POST", "/api/v2/variables"),
    "bulk_variables": Operation("PATCH", "/api/v2/variables"),
    "get_log": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}"),
    "get_external_log_url": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}"
    ),
    "reparse_dag_file": Operation("PUT", "/api/v2/parseDagFile/{file_token}"),
    "get_dag_tags": Operation("GET", "/api/v2/dagTags"),
    "get_dag_version": Operation("GET", "/api/v2/dags/{dag_id}/dagVersions/{version_number}"),
    "get_dag_versions": Operation("GET", "/api/v2/dags/{dag_id}/dagVersions"),
    "update_hitl_detail": Operation(
        "PATCH", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
    ),
    "get_hitl_detail": Operation(
        "GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
    ),
    "get_hitl_detail_try_detail": Operation(
        "GET",
        "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
    ),
    "get_hitl_details": Operation("GET", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails"),
    "get_health": Operation("GET", "/api/v2/monitor/health"),
    "get_version": Operation("GET", "/api/v2/version"),
    "login": Operation("GET", "/api/v2/auth/login"),
    "logout": Operation("GET", "/api/v2/auth/logout"),
}

UI_OPERATIONS: Final[dict[str, Operation]] = {
    "get_auth_menus": Operation("GET", "/ui/auth/menus"),
    "get_current_user_info": Operation("GET", "/ui/auth/me"),
    "generate_token": Operation("POST", "/ui/auth/token"),
    "next_run_assets": Operation("GET", "/ui/next_run_assets/{dag_id}"),
    "get_dag_run_stats": Operation("GET", "/ui/dags/{dag_id}/dagRuns/{dag_run_id}/stats"),
    "get_partitioned_dag_runs": Operation("GET", "/ui/partitioned_dag_runs"),
    "get_pending_partitioned_dag_run": Operation("GET", "/ui/pending_partitioned_dag_run/{dag_id}"),
    "get_configs": Operation("GET", "/ui/config"),
    "hook_meta_data": Operation("GET", "/ui/connections/hook_meta"),
    "get_dags_ui": Operation("GET", "/ui/dags"),
    "get_latest_run_info": Operation("GET", "/ui/dags/{dag_id}/latest_run"),
    "get_dependencies": Operation("GET", "/ui/dependencies"),
    "historical_metrics": Operation("GET", "/ui/dashboard/historical_metrics_data"),
    "dag_stats": Operation("GET", "/ui/dashboard/dag_stats"),
    "get_deadlines": Operation("GET", "/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines"),
    "get_dag_deadline_alerts": Operation("GET", "/ui/dags/{dag_id}/deadlineAlerts"),
    "structure_data": Operation("GET", "/ui/structure/structure_data"),
    "list_backfills_ui": Operation("GET", "/ui/backfills"),
    "get_dag_structure": Operation("GET", "/ui/grid/structure/{dag_id}"),
    "get_grid_runs": Operation("GET", "/ui/grid/runs/{dag_id}"),
    "get_grid_ti_summaries_stream": Operation("GET", "/ui/grid/ti_summaries/{dag_id}"),
    "get_gantt_data": Operation("GET", "/ui/gantt/{dag_id}/{run_id}"),
    "get_calendar": Operation("GET", "/ui/calendar/{dag_id}"),
    "list_teams": Operation("GET", "/ui/teams"),
}
"""Operations of Airflow's web UI alone."""
