"""The operator's document with Airflow's options becomes part of the bundle."""

import json
from io import BytesIO
from zipfile import ZipFile

import pytest

from gust.model import bucket_keys
from gust.model.environment import OPTIONS_FILE
from gust.model.pool import DEFAULT_POOL
from gust.services.deployments.configuration import DOCUMENT
from gust.services.settings.options import current_options
from gust.services.settings.pools import change_pool, get_pool


def options(stack):
    version = stack.store.active_bundle().version
    with ZipFile(BytesIO(stack.objects.get(bucket_keys.bundle(version)))) as archive:
        return json.loads(archive.read(OPTIONS_FILE)) if OPTIONS_FILE in archive.namelist() else {}


@pytest.fixture
def deployed(stack):
    stack.upload("a.py", "dag a")
    stack.configuration.document = json.dumps({"email.from_email": "gust@example.com", "core.default_task_retries": 2})
    stack.deploy()
    return stack


def test_options_are_the_bundles_and_those_of_functions_without_a_bundle(deployed):
    given = {"email.from_email": "gust@example.com", "core.default_task_retries": "2"}
    assert options(deployed) == given == current_options(deployed.services)
    assert not deployed.snapshot().changed


def test_other_options_parse_every_file_again(deployed):
    deployed.configuration.document = "[core]\ndefault_task_retries = 3\n"

    assert deployed.deploy() == ["a.py"]
    assert options(deployed) == {"core.default_task_retries": "3"} == current_options(deployed.services)


def test_a_mistake_is_an_import_error_and_the_options_before_it_stay(deployed):
    before = options(deployed)
    deployed.configuration.document = json.dumps(
        {"core.default_task_retries": "many", "core.defalt_timezone": "UTC", "core.executor": "CeleryExecutor"}
    )

    assert deployed.deploy() == []
    assert options(deployed) == before == current_options(deployed.services)
    assert deployed.errors() == {
        DOCUMENT: "The options before this document stay.\n"
        "core.default_task_retries: 'many' is not a whole number.\n"
        "core.defalt_timezone: Airflow has no such option; did you mean core.default_timezone?\n"
        "core.executor: cannot be set: tasks name their place themselves (docs/workers.md).\n"
    }

    deployed.configuration.document = json.dumps(before)
    deployed.deploy()
    assert deployed.errors() == {}


def test_spans_of_airflow_may_be_off_and_not_on(deployed):
    deployed.configuration.document = json.dumps({"traces.otel_on": "False"})
    deployed.deploy()
    assert deployed.errors() == {}

    deployed.configuration.document = json.dumps({"traces.otel_on": "True"})
    deployed.deploy()
    assert "traces.otel_on: cannot be true: no process of Gust sends Airflow's spans" in deployed.errors()[DOCUMENT]


def test_without_a_document_there_are_no_options(deployed):
    deployed.configuration.document = ""

    assert deployed.deploy() == ["a.py"]
    assert options(deployed) == {}


@pytest.mark.parametrize("paused", ["True", "false"])
def test_the_options_say_whether_new_dags_are_paused(stack, paused):
    stack.are_paused_at_creation = paused == "false"
    stack.configuration.document = json.dumps({"core.dags_are_paused_at_creation": paused})
    stack.upload("a.py", "dag a")
    stack.deploy()

    assert stack.dag("a").is_paused is (paused == "True")


def test_the_default_pool_gets_its_first_size_and_keeps_a_persons(stack):
    stack.configuration.document = json.dumps({"core.default_pool_task_slot_count": 5})
    stack.deploy()
    assert get_pool(stack.services, DEFAULT_POOL).slots == 5

    change_pool(stack.services, DEFAULT_POOL, slots=9)
    stack.upload("a.py", "dag a")
    stack.deploy()
    assert get_pool(stack.services, DEFAULT_POOL).slots == 9
