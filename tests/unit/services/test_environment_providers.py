"""Forms of connection types that providers in environments bring."""

import json
from types import SimpleNamespace

from gust.aws.memory import MemoryObjects
from gust.model import bucket_keys
from gust.model.deployment import Manifest
from gust.model.environment import Environments
from gust.services.settings.environment_providers import environment_forms, folder_with


def given(active: str | None, objects: MemoryObjects) -> SimpleNamespace:
    bundle = None if active is None else SimpleNamespace(version=active)
    return SimpleNamespace(store=SimpleNamespace(active_bundle=lambda: bundle), objects=objects)


def test_forms_of_all_environments_that_the_active_bundle_names():
    objects = MemoryObjects()
    manifest = Manifest(
        version="v", files={}, environments=Environments(of={"": "a", "team": "b", "bare": "", "x": "c"})
    )
    objects.put(bucket_keys.manifest("v"), manifest.model_dump_json().encode())
    for archive, kind in (("a", "moon"), ("b", "sun"), ("of-another-bundle", "mars")):
        objects.put(bucket_keys.connection_forms(archive), json.dumps([{"connection_type": kind}]).encode())

    found = environment_forms(given("v", objects))

    assert [form["connection_type"] for form in found] == ["moon", "sun"]


def test_without_a_bundle_there_are_none():
    assert environment_forms(given(None, MemoryObjects())) == []
    assert environment_forms(given("gone", MemoryObjects())) == []


def test_a_connection_is_tested_where_its_type_comes_from_and_first_in_the_dag_folder_itself():
    objects = MemoryObjects()
    environments = Environments(of={"": "a", "team": "b", "other": "c"})
    objects.put(
        bucket_keys.manifest("v"), Manifest(version="v", files={}, environments=environments).model_dump_json().encode()
    )
    for archive, kinds in (("a", ["moon"]), ("b", ["sun", "moon"]), ("c", ["sun"])):
        forms = [{"connection_type": kind} for kind in kinds]
        objects.put(bucket_keys.connection_forms(archive), json.dumps(forms).encode())

    assert [folder_with(given("v", objects), kind) for kind in ("moon", "sun", "mars")] == ["", "other", ""]
