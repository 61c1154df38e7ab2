"""Gives a DAG author's code the credentials of its AWS role.

The role follows from the DAG, never from the request: the access document may give roles to DAG ids and to files, and the
file is the one of the version that the caller runs. Where the document gives none, the queue that the task names in that
version may: a worker group can have a role. Asset watchers and tests of connections belong to no DAG and get the
default role."""

from gust.errors import Forbidden, Invalid
from gust.model.connection_test import ConnectionTestState
from gust.model.dag_spec import DagSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.task_role import AwsCredentials, RoleSession, role_of
from gust.scheduling import connection_test
from gust.scheduling.placement import OWN_QUEUES
from gust.services.context import Services
from gust.services.specs import load_spec, spec_of_instance
from gust.services.worker.check_caller import check_caller
from gust.services.workers_of import why_closed


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
    if not dag_id:
        return roles.default
    document = roles.document()
    spec = _spec_of(services, caller) if document or _is_of_task(caller) else None
    try:
        path = spec.relative_fileloc if spec else _file_of_dag(services, caller) if document else ""
        return role_of(document, dag_id, path) or _role_of_group(services, caller, spec) or roles.default
    except Invalid as invalid:
        raise Forbidden(f"No task gets a role: {invalid}") from invalid


def _is_of_task(caller: Dispatch) -> bool:
    """A task runs, or its trigger. A callback runs on a worker of the default group."""
    return caller.scope in {Scope.EXECUTION, Scope.TRIGGER}


def _role_of_group(services: Services, caller: Dispatch, spec: DagSpec | None) -> str:
    """The role of the worker group whose queue the task names; empty where there is none, or it has none. Raises Forbidden
    where the access document keeps the DAG off the queue."""
    task = spec.tasks.get(caller.key.task_id) if spec and _is_of_task(caller) else None
    if spec is None or task is None or (queue := task.queue or "") in OWN_QUEUES:
        return ""
    role = next((group.task_role for group in services.store.list_worker_groups() if group.name == queue), "")
    if role and (why := why_closed(services, spec, queue)):
        raise Forbidden(why)
    return role


def _spec_of(services: Services, caller: Dispatch) -> DagSpec | None:
    """The version of the DAG that the caller runs; `None` where no run says which."""
    if not caller.key.run_id:
        return None
    if caller.scope is Scope.CALLBACK or not caller.key.task_id:
        run = services.store.get_run(caller.key.run)
        return load_spec(services.objects, run.spec_key) if run else None
    instance, run = services.store.get_instance_and_run(caller.key)
    return spec_of_instance(services, run, instance) if run and instance else None


def _file_of_dag(services: Services, caller: Dispatch) -> str:
    dag = None if caller.key.run_id else services.store.get_dag(caller.key.dag_id)
    return dag.relative_fileloc if dag else ""
