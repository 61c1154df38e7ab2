from gust.execution_api.datamodels.variable import VariableKeys, VariablePostBody
from gust.execution_api.routing import Call, Fence, Routes
from gust.http.answer import NO_CONTENT, Answer
from gust.model.dispatch import OF_DAGS, OF_FILES
from gust.model.variable import VARIABLES, Variable
from gust.services.settings.settings_read import VERSION_HEADER, stored_setting, version_of, version_of_keys
from gust.services.settings.variables import read_variable, set_variable, variable_keys

routes = Routes("/variables")

WITH_TRIGGERS = OF_DAGS
"""Triggers may write variables too, as in Airflow."""


@routes.get("/keys", query=VariableKeys, scopes=OF_FILES)
def get_variable_keys(call: Call[None, VariableKeys]) -> Answer:
    keys = variable_keys(call.services, call.query.prefix or "")
    page = keys[call.query.offset : call.query.offset + call.query.limit]
    return Answer(body={"keys": page, "total_entries": len(keys)}, headers={VERSION_HEADER: version_of_keys(keys)})


@routes.get("/{variable_key:path}", scopes=OF_FILES)
def get_variable(call: Call[None, None]) -> Answer:
    key = call.path["variable_key"]
    stored = stored_setting(call.services, VARIABLES, key, missing=f"Variable with key '{key}' not found")
    variable = read_variable(call.services, key, stored)
    return Answer(body={"key": key, "value": variable.value}, headers={VERSION_HEADER: version_of(stored)})


@routes.put("/{variable_key:path}", body=VariablePostBody, scopes=WITH_TRIGGERS, fence=Fence.LAST_WORDS)
def put_variable(call: Call[VariablePostBody, None]) -> Answer:
    # A variable's value is text: Airflow stores the str() of any other value, None included.
    variable = Variable(key=call.path["variable_key"], value=str(call.body.value), description=call.body.description)
    set_variable(call.services, variable)
    return Answer(201, {"message": "Variable successfully set"})


@routes.delete("/{variable_key:path}", scopes=WITH_TRIGGERS, fence=Fence.LAST_WORDS)
def delete_variable(call: Call[None, None]) -> Answer:
    call.services.store.delete_setting(VARIABLES, call.path["variable_key"])
    return NO_CONTENT
