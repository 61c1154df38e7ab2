"""Checks that a caller may still write: its dispatch is under way, and no other has taken its place.

A write with a fence of its own does not need this (`report_task_instance`, `report_trigger`). For the others, the execution
API reads the caller's item just before the write; a value that a later dispatch may have written too carries its dispatch,
and an earlier dispatch does not replace it. Why not a transaction: docs/adr/0030-two-tokens-for-a-dispatch.md.
"""

from gust.errors import Forbidden
from gust.model.callback import CallbackState
from gust.model.dispatch import Dispatch, Scope
from gust.services.assets import watchers
from gust.services.context import Services
from gust.services.worker import run_callback
from gust.services.worker.report_task_instance import known, not_running, present_dispatch
from gust.services.worker.report_trigger import deferred


def check_caller(services: Services, caller: Dispatch, *, last_words: bool = False) -> None:
    """Raises NotFound, Conflict. `last_words`: a try that has just ended may still write (`present_dispatch`)."""
    match caller.scope:
        case Scope.EXECUTION if last_words:
            present_dispatch(services, caller)
        case Scope.EXECUTION:
            instance = known(services, caller)
            if not caller.runs(instance):
                raise not_running(instance)
        case Scope.TRIGGER:
            deferred(services, caller)
        case Scope.WATCHER:
            watcher = watchers.known(services, caller)
            if watcher.life != caller.dispatch_count or watcher.claimed_at is None:
                raise watchers.not_yours()
        case Scope.CALLBACK if caller.is_owed:
            callback = run_callback.known(services, caller)
            if callback.dispatch_count != caller.dispatch_count or callback.state is not CallbackState.RUNNING:
                raise run_callback.not_due(callback)
        case Scope.CALLBACK:
            pass  # a listener's call that belongs to no run: it is not stored, and its token is short-lived
        case other:
            raise Forbidden(f"Token type '{other}' may write nothing")
