"""A file that asked for a variable or a connection while it was parsed is parsed again when that changes. Parsing is made up
(see stack.py)."""

from datetime import timedelta

import pytest

from gust.model import bucket_keys
from gust.model.connection import Connection
from gust.model.variable import Variable
from gust.model.workload import WakeDeployment
from gust.services.settings.connections import create_connection
from gust.services.settings.settings_read import INTERVAL, setting_changed
from gust.services.settings.variables import delete_variable, set_variable


@pytest.fixture
def reading(stack):
    """Files that ask, and one that does not."""
    set_variable(stack.services, Variable(key="greeting", value="hello"))
    stack.upload("a.py", "dag a\nasks variables/greeting")
    stack.upload("b.py", "dag b\nasks connections/db\nasks variables/not/there")
    stack.upload("keys.py", "dag k\nasks variables*team_")
    stack.upload("quiet.py", "dag q")
    stack.deploy()
    return stack


def looks(stack) -> list[tuple[str, float]]:
    """Deployments that are to look, and after how many seconds."""
    wakes, stack.queues.wakes = stack.queues.wakes, []
    return [(wake.name, delay) for wake, delay in wakes if isinstance(wake, WakeDeployment)]


def test_nothing_changed_is_nothing_parsed(reading):
    assert not reading.snapshot().changed


def test_a_changed_variable_parses_the_files_that_asked_for_it(reading):
    set_variable(reading.services, Variable(key="greeting", value="good morning"))
    set_variable(reading.services, Variable(key="another", value="1"))
    assert reading.deploy() == ["a.py"]
    assert not reading.snapshot().changed


def test_a_variable_that_goes_or_comes_parses_the_files_that_asked_for_it(reading):
    delete_variable(reading.services, "greeting")
    set_variable(reading.services, Variable(key="not/there", value="now it is"))
    assert reading.deploy() == ["a.py", "b.py"]


def test_a_connection_that_comes_parses_the_files_that_asked_for_it(reading):
    create_connection(reading.services, Connection(conn_id="db", conn_type="postgres"))
    assert reading.deploy() == ["b.py"]


def test_a_key_that_comes_parses_the_files_that_listed_keys_of_its_prefix(reading):
    set_variable(reading.services, Variable(key="team_a", value="1"))
    assert reading.deploy() == ["keys.py"]
    set_variable(reading.services, Variable(key="team_a", value="2"))
    assert reading.deploy() == []


def test_a_value_that_changed_while_the_file_was_parsed_parses_it_again(reading):
    reading.upload("a.py", "dag a\nasks variables/greeting\n")
    taken = reading.snapshot()
    reading.parse(taken)
    set_variable(reading.services, Variable(key="greeting", value="too late for this one"))
    reading.activate(taken)
    assert reading.deploy() == ["a.py"]


def test_a_file_that_asks_no_more_is_not_parsed_again(reading):
    reading.upload("a.py", "dag a")
    reading.deploy()
    set_variable(reading.services, Variable(key="greeting", value="nobody listens"))
    assert reading.deploy() == []


def test_a_change_of_what_was_read_has_a_deployment_look_at_once(reading):
    setting_changed(reading.services, "variables", "greeting")
    setting_changed(reading.services, "connections", "db")
    (first, at_once), (second, too) = looks(reading)
    assert (at_once, too) == (0, 0)
    assert first != second


def test_a_change_of_what_no_file_reads_costs_no_deployment(reading):
    setting_changed(reading.services, "connections", "greeting")
    setting_changed(reading.services, "connections", "unread")
    assert looks(reading) == []


def test_any_change_of_a_variable_may_be_of_the_listed_keys(reading):
    setting_changed(reading.services, "variables", "team_b")
    assert len(looks(reading)) == 1


def test_a_variable_that_changes_all_the_time_has_a_look_every_interval(reading):
    began, seen = reading.clock.now(), []
    for _ in range(70):
        setting_changed(reading.services, "variables", "greeting")
        seen += [reading.clock.now() + timedelta(seconds=delay) for _, delay in looks(reading)]
        reading.clock.advance(1)
    assert seen == [began + number * INTERVAL for number in range(4)]  # the last one comes after the last change


def test_the_same_look_has_the_same_name(reading):
    """Delivered twice, the record starts one deployment."""
    setting_changed(reading.services, "variables", "greeting")
    first = looks(reading)
    reading.store.put_setting("read_while_parsing", "variables/greeting", {})
    setting_changed(reading.services, "variables", "greeting")
    assert looks(reading) == first


def test_the_parser_gets_a_token_for_its_plan(stack):
    stack.upload("a.py", "dag a")
    taken = stack.snapshot()
    token = stack.objects.get(bucket_keys.parser_token(taken.plan)).decode()
    assert stack.services.tokens.dispatch_of(token, now=stack.clock.now()).scope == "parse"
