"""A run's params: the DAG's, with the run's conf over them, checked against each param's JSON schema as Airflow does."""

from typing import Any

from gust.errors import BadRequest
from gust.model.dag_spec import DagSpec, ParamSpec


def validated_params(spec: DagSpec, conf: dict[str, Any] | None) -> dict[str, Any]:
    """The values by name. Raises BadRequest with the param's name and the violated rule of its schema."""
    given = conf or {}
    return {name: validated(name, param, given) for name, param in spec.params.items()}


def validated(name: str, param: ParamSpec, given: dict[str, Any]) -> Any:
    if name not in given and not param.has_value:
        raise BadRequest(f"Invalid input for param {name}: No value passed")
    value = given.get(name, param.value)
    if param.json_schema:
        check(name, value, param.json_schema)
    return value


def check(name: str, value: Any, schema: dict[str, Any]) -> None:
    # Imported here: 60 ms that only DAGs with typed params pay.
    import jsonschema  # noqa: PLC0415

    try:
        jsonschema.validate(value, schema, format_checker=jsonschema.FormatChecker())
    except jsonschema.ValidationError as problem:
        raise BadRequest(f"Invalid input for param {name}: {problem}") from problem
