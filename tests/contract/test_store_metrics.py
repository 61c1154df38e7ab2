"""A store measures what it has stored: once, and nothing that it refused."""

from dataclasses import replace

import pytest

from gust.errors import StaleDagRun, StaleTaskInstance
from gust.model.state import DagRunState
from gust.ports.store import Store
from gust.scheduling.transition import fail, succeed
from tests.contract.conftest import Measured
from tests.contract.given import at, given_dag, given_running_instance, given_running_run


def test_a_reported_end_is_measured_once_however_often_it_is_stored(store: Store, measured: Measured) -> None:
    done = succeed(given_running_instance(store), at=at(5))
    measured.names.clear()
    store.move(done)
    store.move(done)
    assert measured.names.count("TaskInstanceSuccesses") == 1


def test_a_refused_move_is_not_measured(store: Store, measured: Measured) -> None:
    running = given_running_instance(store)
    store.move(succeed(running, at=at(5)))
    measured.names.clear()
    with pytest.raises(StaleTaskInstance):
        store.move(fail(running, at=at(6)))
    assert measured.names == []


def test_a_run_is_measured_where_it_finishes(store: Store, measured: Measured) -> None:
    given_dag(store)
    run = given_running_run(store)
    finished = replace(run, state=DagRunState.FAILED, end_date=at(9))
    store.finish_run(run, finished)
    assert measured.names == ["DAGDurationFailed"]
    with pytest.raises(StaleDagRun):
        store.finish_run(run, replace(finished, end_date=at(10)))
    assert measured.names == ["DAGDurationFailed"]
