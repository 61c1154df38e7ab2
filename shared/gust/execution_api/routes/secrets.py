"""Answers of the stack's secrets backend. Airflow's own routes answer from the table. The child keeps the order of the two,
with the environment between them."""

from gust.execution_api.routing import Call, Routes
from gust.http.answer import Answer, not_found
from gust.model.dispatch import OF_FILES
from gust.model.secrets_backend import Kind
from gust.services.settings.secrets import read_secret

routes = Routes("/gust/secrets")


@routes.get("/{kind}/{key:path}", scopes=OF_FILES)
def get_secret(call: Call[None, None]) -> Answer:
    """The text as Airflow reads it, e.g. a connection's URI; `value` is null where there is none."""
    if call.path["kind"] not in set(Kind):
        raise not_found(f"No kind of secret: {call.path['kind']}")
    found = read_secret(call.services, Kind(call.path["kind"]), call.path["key"])
    return Answer(body={"value": found.value, "problem": found.problem, "is_transient": found.is_transient})
