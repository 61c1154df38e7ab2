from typing import Any

from gust.execution_api.datamodels.base import moment
from gust.model.dag import Dag


def dag_response(dag: Dag) -> dict[str, Any]:
    return {
        "dag_id": dag.dag_id,
        "is_paused": dag.is_paused,
        "bundle_name": dag.bundle_name,
        "bundle_version": dag.bundle_version,
        "relative_fileloc": dag.relative_fileloc,
        "owners": ", ".join(dag.owners) or None,
        "tags": sorted(dag.tags),
        "next_dagrun": moment(dag.next_logical_date),
    }
