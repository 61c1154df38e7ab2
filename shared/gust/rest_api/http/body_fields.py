"""The fields of the bodies of logged calls, at any depth, by the contract. Other fields are refused, and may hold a
secret under a misspelled name. A test compares with the contract.

A pool's name is read from `name` and from `pool`, as in Airflow."""

from typing import Final


def _of(names: str) -> frozenset[str]:
    return frozenset(names.split())


FIELDS: Final[dict[str, frozenset[str]]] = {
    "bulk_connections": _of(
        "action action_on_existence action_on_non_existence actions conn_type connection_id description "
        "entities extra host login password port schema team_name update_mask"
    ),
    "bulk_dag_runs": _of(
        "action action_on_existence action_on_non_existence actions dag_id dag_run_id entities note state update_mask"
    ),
    "bulk_pools": _of(
        "action action_on_existence action_on_non_existence actions description entities include_deferred name "
        "pool slots team_name update_mask"
    ),
    "bulk_variables": _of(
        "action action_on_existence action_on_non_existence actions description entities key team_name "
        "update_mask value"
    ),
    "clear_dag_run": _of("dry_run note only_failed only_new run_on_latest_version"),
    "clear_dag_run_partitions": _of(
        "clear_task_instances dry_run partition_date_end partition_date_start partition_key run_id"
    ),
    "clear_dag_runs": _of(
        "dag_id dag_run_id dag_runs dry_run note only_failed only_new partition_date_end "
        "partition_date_start partition_key run_on_latest_version state"
    ),
    "create_asset_event": _of("access_control allow_global asset_id consumer_teams extra partition_key"),
    "create_backfill": _of(
        "dag_id dag_run_conf from_date max_active_runs reprocess_behavior run_backwards run_on_latest_version to_date"
    ),
    "create_xcom_entry": _of("key map_index value"),
    "enqueue_connection_test": _of(
        "commit_on_success conn_type connection_id description executor extra host login password port queue "
        "schema team_name"
    ),
    "generate_token": _of("token_type"),
    "get_task_instances_batch": _of(
        "dag_ids dag_run_ids duration_gt duration_gte duration_lt duration_lte end_date_gt end_date_gte "
        "end_date_lt end_date_lte executor logical_date_gt logical_date_gte logical_date_lt logical_date_lte "
        "order_by page_limit page_offset pool queue run_after_gt run_after_gte run_after_lt run_after_lte "
        "start_date_gt start_date_gte start_date_lt start_date_lte state task_ids"
    ),
    "materialize_asset": _of(
        "conf dag_run_id data_interval_end data_interval_start logical_date note partition_key run_after"
    ),
    "patch_connection": _of("conn_type connection_id description extra host login password port schema team_name"),
    "patch_dag": _of("is_paused"),
    "patch_dag_run": _of("note state"),
    "patch_dags": _of("is_paused"),
    "patch_pool": _of("description include_deferred name pool slots team_name"),
    "patch_task_group_instances": _of("include_downstream include_future include_past include_upstream new_state note"),
    "patch_task_instance": _of("include_downstream include_future include_past include_upstream new_state note"),
    "patch_task_instance_by_map_index": _of(
        "include_downstream include_future include_past include_upstream new_state note"
    ),
    "patch_variable": _of("description key team_name value"),
    "post_clear_task_instances": _of(
        "dag_run_id dry_run end_date include_downstream include_future include_past include_upstream note "
        "only_failed only_running prevent_running_task reset_dag_runs run_on_latest_version start_date "
        "task_ids"
    ),
    "post_connection": _of("conn_type connection_id description extra host login password port schema team_name"),
    "post_pool": _of("description include_deferred name pool slots team_name"),
    "post_variable": _of("description key team_name value"),
    "trigger_dag_run": _of(
        "conf dag_run_id data_interval_end data_interval_start logical_date note partition_key run_after"
    ),
    "update_hitl_detail": _of("chosen_options params_input"),
    "update_xcom_entry": _of("map_index value"),
}
