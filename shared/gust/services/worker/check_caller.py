"""Whether the holder of a token may still write: what the token speaks for is under way, and nothing has taken its place.

A write whose own condition says so needs none of this (`report_task_instance`, `report_trigger`). For the others the
caller's item is read just before they write; a value that a successor may have written too bears its dispatch, and an
earlier one does not replace it. Why not a transaction: docs/adr/0030-two-tokens-for-a-dispatch.md.
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
    """Raises NotFound, Conflict. `last_words`: a try may speak that has just ended (`present_dispatch`)."""
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
            pass  # a listener's call that no run owes: nothing is stored of it, and its token is short-lived
        case other:
            raise Forbidden(f"Token type '{other}' may write nothing")
