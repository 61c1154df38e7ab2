from typing import Any, Final

from gust.execution_api.datamodels.base import moment
from gust.model.dag import Dag
from gust.model.field_values import values_of

_plain_values: Final = values_of(Dag, "dag_id", "is_paused", "bundle_name", "bundle_version", "relative_fileloc")


def dag_response(dag: Dag) -> dict[str, Any]:
    return {
        **_plain_values(dag),
        "owners": ", ".join(dag.owners) or None,
        "tags": sorted(dag.tags),
        "next_dagrun": moment(dag.next_logical_date),
    }
