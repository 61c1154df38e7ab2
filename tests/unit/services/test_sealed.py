"""Arguments of triggers, watchers and callbacks: encrypted in the table, and again with another key."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gust.aws.cipher import FernetCipher
from gust.model.callback import Callback, CallbackKind, CallbackState
from gust.model.dag_spec import TaskSpec
from gust.model.dispatch import Dispatch, Scope
from gust.model.task_instance import ParkedTrigger
from gust.model.watcher import Watcher
from gust.scheduling import transition
from gust.scheduling.callback import CallbackMove
from gust.services.context import Services
from gust.services.sealed import opened_callback, opened_watcher, seal, sealed_callback, sealed_trigger
from gust.services.settings.reencrypt_settings import reencrypt_settings
from gust.services.worker.report_trigger import parked_trigger
from tests.world import World, chain

SECRET = {"password": "hunter2"}


def with_key(services: Services, keys: str) -> Services:
    return replace(services, cipher=FernetCipher(lambda: keys))


def test_after_a_change_of_the_key_the_old_one_is_not_needed(world: World) -> None:
    world.given_dag(chain("wait"))
    run = world.trigger()
    world.advance(run)
    trigger = sealed_trigger(world.services, ParkedTrigger(classpath="a.Trigger", kwargs=SECRET, next_method="go"))
    world.work(run, "wait", lambda instance: transition.defer(instance, trigger=trigger))
    watcher = Watcher(watcher_id="w", classpath="a.Watcher", kwargs=seal(world.services, SECRET))
    world.store.put_watcher(None, watcher)
    deadline = Callback(
        dag_id=run.dag_id,
        run_id=run.run_id,
        callback_id="deadline/0",
        kind=CallbackKind.DEADLINE,
        event="missed",
        state=CallbackState.SCHEDULED,
        created_at=world.clock.now(),
        updated_at=world.clock.now(),
        due_at=world.clock.now() + timedelta(days=1),
        definition=SECRET,
    )
    world.store.move_callback(CallbackMove(None, sealed_callback(world.services, deadline)))

    done = reencrypt_settings(with_key(world.services, "new,a key of the stack"))

    services = with_key(world.services, "new")
    assert (done.written, done.unreadable) == (3, ())
    instance = world.store.get_instance(run.task_instance("wait"))
    assert instance is not None
    assert parked_trigger(services, Dispatch.of(instance, Scope.TRIGGER))[1].kwargs == SECRET
    kept = world.store.get_watcher("w")
    assert kept is not None
    assert opened_watcher(services, kept).kwargs == SECRET
    (owed,) = world.store.list_callbacks(run)
    assert opened_callback(services, owed).definition == SECRET


def test_what_no_key_fits_is_named_and_left(world: World) -> None:
    watcher = Watcher(watcher_id="w", classpath="a.Watcher", kwargs=seal(world.services, SECRET))
    world.store.put_watcher(None, watcher)

    done = reencrypt_settings(with_key(world.services, "new"))

    assert (done.written, done.unreadable) == (0, ("watcher a.Watcher",))
    assert world.store.get_watcher("w") == watcher


def test_arguments_with_which_a_try_begins_are_sealed_in_the_decisions_write(world: World) -> None:
    arguments = {"trigger_cls": "a.Trigger", "trigger_kwargs": SECRET, "next_method": "go"}
    task = TaskSpec(task_id="wait", start_from_trigger=True, start_trigger_args=arguments)
    world.given_dag(chain("wait").model_copy(update={"tasks": {"wait": task}}))
    run = world.trigger()

    world.advance(run)

    instance = world.store.get_instance(run.task_instance("wait"))
    assert instance is not None
    assert "hunter2" not in str(instance)
    assert parked_trigger(world.services, Dispatch.of(instance, Scope.TRIGGER))[1].kwargs == SECRET
