"""Gives a DAG author's code the credentials of its AWS role.

The role follows from the DAG, never from the request: the access document may give roles to DAG ids and to files, and the
file is the one of the version that the caller runs. Asset watchers and tests of connections belong to no DAG and get the
default role."""

from gust.errors import Forbidden, Invalid
from gust.model.connection_test import ConnectionTestState
from gust.model.dispatch import Dispatch, Scope
from gust.model.task_role import AwsCredentials, RoleSession, role_of
from gust.scheduling import connection_test
from gust.services.context import Services
from gust.services.specs import load_spec, spec_of_instance
from gust.services.worker.check_caller import check_caller


def vend_credentials(services: Services, caller: Dispatch) -> AwsCredentials:
    """New credentials for an hour. Raises NotFound and Conflict where the caller's work is no longer its own,
    Forbidden where AWS or an invalid access document refuses the role."""
    if caller.scope is Scope.CONNECTION_TEST:
        _check_test(services, caller)
    else:
        check_caller(services, caller, last_words=True)
    role = _role(services, caller)
    if not role:
        raise Forbidden("This stack has no role for tasks")
    return services.task_roles.assume(role, RoleSession.of(caller))


def _check_test(services: Services, caller: Dispatch) -> None:
    found = services.store.get_connection_test(caller.callback_id)
    now = services.clock.now()
    if found is None or connection_test.as_of(found, now).state is not ConnectionTestState.RUNNING:
        raise Forbidden("This connection test is not running")


def _role(services: Services, caller: Dispatch) -> str:
    roles, dag_id = services.task_roles, caller.key.dag_id
    document = roles.document()
    if not document or not dag_id:
        return roles.default
    try:
        return role_of(document, dag_id, _file_of(services, caller)) or roles.default
    except Invalid as invalid:
        raise Forbidden(f"No task gets a role: {invalid}") from invalid


def _file_of(services: Services, caller: Dispatch) -> str:
    """The DAG's file in the version that the caller runs; empty where no run says which."""
    if not caller.key.run_id:
        dag = services.store.get_dag(caller.key.dag_id)
        return dag.relative_fileloc if dag else ""
    if caller.scope is Scope.CALLBACK or not caller.key.task_id:
        run = services.store.get_run(caller.key.run)
        return load_spec(services.objects, run.spec_key).relative_fileloc if run else ""
    instance, run = services.store.get_instance_and_run(caller.key)
    return spec_of_instance(services, run, instance).relative_fileloc if run and instance else ""
