"""Which environment a bundle names for which file, and what a requirements.txt sets off. Building is made up (conftest)."""

from dataclasses import replace
from io import BytesIO
from zipfile import ZipFile

import pytest

from gust.errors import Unopenable
from gust.model import bucket_keys
from gust.model.architecture import MACHINES, X86_64, this_architecture
from gust.model.environment import ENVIRONMENTS_FILE, Environments
from gust.model.place import Workers
from gust.model.worker_group import WorkerGroup
from gust.services.deployments.deploy_bundle import snapshot
from gust.services.workers_of import architectures_of_workers
from tests.unit.deploy.recording import Recording


def named(stack) -> dict[str, str]:
    """Folder → archive, as the active bundle says."""
    return environments_in(stack).of


def environments_in(stack) -> Environments:
    with ZipFile(BytesIO(stack.objects.get(bucket_keys.bundle(stack.store.active_bundle().version)))) as bundle:
        if ENVIRONMENTS_FILE not in bundle.namelist():
            return Environments()
        return Environments.model_validate_json(bundle.read(ENVIRONMENTS_FILE))


def problems(stack) -> dict[str, str]:
    return {problem.filename: problem.stack_trace for problem in stack.store.list_import_problems()}


@pytest.mark.parametrize(
    ("file", "environment"),
    [
        ("team/etl/a.py", "etl"),
        ("team/etl/deep/a.py", "etl"),
        ("team/a.py", "team"),
        ("team/packed.zip/a.py", "team"),
        ("bare/a.py", None),
        ("a.py", "bucket"),
        ("other/a.py", "bucket"),
    ],
)
def test_the_nearest_one_upwards_wins(file, environment):
    environments = Environments(of={"team/etl": "etl", "team": "team", "bare": "", "..": "bucket"})

    assert environments.of_file(file) == environment


def given_workers_on(stack, architecture: str, name: str = "others") -> None:
    stack.store.register_worker_group(
        WorkerGroup(name=name, queue_url="https://q", memory=1, architecture=architecture)
    )


OTHER = next(name for name in MACHINES if name != this_architecture())


def test_a_stack_with_workers_of_another_architecture_has_packages_for_both(stack):
    given_workers_on(stack, OTHER)
    given_workers_on(stack, this_architecture(), name="as-we-are")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.upload("bare/requirements.txt", "")
    stack.deploy()

    assert stack.built == ["team/requirements.txt"] * 2
    assert stack.parsed == ["team/b.py"]
    found = environments_in(stack)
    own = f"cpython 3.12 linux-{MACHINES[OTHER]}"
    assert found.of == {"bare": "", "team": "cowsay==5"}
    assert found.on == {OTHER: {"bare": "", "team": f"cowsay==5 on {own}"}}
    assert found.of_file("team/b.py") == found.of_file("team/b.py", this_architecture()) == "cowsay==5"
    assert found.of_file("team/b.py", OTHER) == f"cowsay==5 on {own}"
    assert found.of_file("bare/c.py", OTHER) is found.of_file("a.py", OTHER) is None


def test_a_stack_with_containers_of_x86_64_has_packages_for_them(stack):
    services = replace(stack.services, workers=Workers(has_fargate=True, has_x86_containers=True))
    assert architectures_of_workers(services) == {X86_64}
    assert architectures_of_workers(stack.services) == set()


def test_the_other_build_comes_second_and_is_asked_to_have_the_versions_of_our_own(stack):
    stack.upload("requirements.txt", "cowsay\n")
    given_workers_on(stack, OTHER)
    (ours,) = stack.snapshot().builds
    stack.build(ours)
    (theirs,) = stack.snapshot().builds

    assert (ours.like, theirs.like) == ("", ours.recipe)


def test_workers_that_are_added_later_get_packages_with_the_next_deployment_and_nothing_is_parsed_again(stack):
    stack.upload("b.py", "dag b")
    stack.upload("requirements.txt", "cowsay\n")
    stack.deploy()
    old = environments_in(stack)
    with pytest.raises(Unopenable, match=f"no packages of requirements.txt for {OTHER}.* else a new run has them"):
        old.of_file("b.py", OTHER)

    given_workers_on(stack, OTHER)
    assert stack.deploy() == []
    assert environments_in(stack).of_file("b.py", OTHER)
    assert stack.dag("b").bundle_version == stack.store.active_bundle().version
    assert stack.built == ["requirements.txt"] * 2
    assert not stack.snapshot().changed


def test_where_one_architecture_has_no_wheel_the_error_names_it_and_the_other_has_its_packages(stack):
    given_workers_on(stack, OTHER)
    stack.upload("b.py", "dag b")
    stack.upload("requirements.txt", f"no-wheel-for-{OTHER}\n")
    stack.deploy()

    assert problems(stack) == {"requirements.txt": f"For {OTHER}: It cannot be.\n"}
    assert named(stack) == {"": f"no-wheel-for-{OTHER}"}
    assert stack.fresh() == {"b": "b.py"}
    with pytest.raises(Unopenable, match="This version of the DAGs has no packages"):
        environments_in(stack).of_file("b.py", OTHER)
    assert not stack.snapshot().changed

    stack.upload("requirements.txt", f"no-wheel-for-{this_architecture()}\n")
    stack.deploy()
    stack.deploy()  # the state machine goes on until nothing is new
    assert problems(stack) == {"requirements.txt": f"For {this_architecture()}: It cannot be.\n"}
    assert named(stack) == {"": f"no-wheel-for-{OTHER}"}, "the last good one stays"
    assert environments_in(stack).of_file("b.py", OTHER).startswith(f"no-wheel-for-{this_architecture()} on ")

    stack.upload("requirements.txt", "impossible\n")
    stack.deploy()
    assert problems(stack) == {"requirements.txt": "It cannot be.\n"}, "the same for both: it is said once"
    assert environments_in(stack).of_file("b.py", OTHER).startswith("no-wheel-for-"), "the last good one stays"


def test_a_folder_whose_first_environment_has_no_wheel_does_not_get_that_of_the_folder_above(stack):
    given_workers_on(stack, OTHER)
    stack.upload("requirements.txt", "cowsay\n")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", f"no-wheel-for-{OTHER}\n")
    stack.deploy()

    found = environments_in(stack)
    assert found.of_file("a.py", OTHER)
    with pytest.raises(Unopenable):
        found.of_file("team/b.py", OTHER)


def test_a_rollback_has_both_back_and_workers_that_go_leave_nothing_behind(stack):
    given_workers_on(stack, OTHER)
    versions = []
    for number in (5, 6, 5):
        stack.upload("requirements.txt", f"cowsay=={number}\n")
        stack.deploy()
        versions.append(stack.store.active_bundle().version)
    assert versions[0] == versions[2]
    assert len(stack.built) == 4

    stack.store.close_worker_group("others")
    stack.deploy()
    assert environments_in(stack).on == {OTHER: {"": f"cowsay==5 on cpython 3.12 linux-{MACHINES[OTHER]}"}}
    stack.store.delete_worker_group("others")
    stack.deploy()
    assert environments_in(stack).on == {}


def test_a_deployment_that_dies_at_any_write_builds_nothing_twice(stack, dies):
    given_workers_on(stack, OTHER)
    stack.upload("b.py", "dag b")
    stack.upload("requirements.txt", "cowsay\n")
    for after in range(12):
        with dies(stack, after):
            stack.deploy()
        stack.clock.advance(120)
    stack.deploy()

    assert environments_in(stack).of_file("b.py", OTHER)
    assert stack.fresh() == {"b": "b.py"}
    assert len(stack.built) == 2


def test_a_bundle_without_requirements_names_none(stack):
    stack.upload("a.py", "dag a")
    stack.deploy()

    assert named(stack) == {}
    assert stack.built == []


def test_what_a_requirements_file_asks_for_is_built_before_its_files_are_parsed(stack):
    stack.upload("a.py", "dag a")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.deploy()

    assert named(stack) == {"team": "cowsay==5"}
    assert stack.built == ["team/requirements.txt"]
    assert stack.parsed == ["a.py", "team/b.py"]
    assert not stack.snapshot().changed


def test_other_folders_do_not_wait_for_a_build(stack):
    stack.upload("a.py", "dag a")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")

    first = stack.snapshot()
    stack.parse(first)
    stack.activate(first)

    assert first.builds == ()
    assert stack.fresh() == {"a": "a.py"}
    assert [build.file for build in stack.snapshot().builds] == ["team/requirements.txt"]
    stack.deploy()
    assert stack.fresh() == {"a": "a.py", "b": "team/b.py"}


def test_another_environment_parses_its_own_files_again_and_no_others(stack):
    stack.upload("a.py", "dag a")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.deploy()
    before = stack.store.active_bundle().version

    stack.upload("team/requirements.txt", "cowsay==6\n")

    assert stack.deploy() == ["team/b.py"]
    assert named(stack) == {"team": "cowsay==6"}
    assert stack.store.active_bundle().version != before


def test_a_comment_builds_anew_and_the_same_archive_parses_nothing(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay\n")
    stack.deploy()
    stack.upload("team/requirements.txt", "cowsay  # again, please\n")

    assert stack.deploy() == []
    assert len(stack.built) == 2


def test_a_rollback_has_its_environment_back_and_builds_nothing(stack):
    stack.upload("b.py", "dag b")
    stack.upload("requirements.txt", "cowsay==5\n")
    stack.deploy()
    first = stack.store.active_bundle().version
    stack.upload("requirements.txt", "cowsay==6\n")
    stack.deploy()
    stack.upload("requirements.txt", "cowsay==5\n")
    stack.deploy()

    assert stack.store.active_bundle().version == first
    assert len(stack.built) == 2


def test_the_buckets_own_requirements_hold_where_no_folder_has_its_own(stack):
    stack.upload("a.py", "dag a")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.objects.put("requirements.txt", b"pandas\n")
    stack.deploy()

    assert named(stack) == {"..": "pandas", "team": "cowsay==5"}
    assert stack.built == ["../requirements.txt", "team/requirements.txt"]


def test_what_cannot_be_built_is_an_import_error_and_the_last_good_one_stays(stack):
    stack.upload("a.py", "dag a")
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.deploy()
    stack.upload("team/requirements.txt", "impossible\n")
    stack.upload("a.py", "dag a2")
    stack.deploy()
    stack.deploy()  # the state machine goes on until nothing is new

    assert problems(stack) == {"team/requirements.txt": "It cannot be.\n"}
    assert named(stack) == {"team": "cowsay==5"}
    assert stack.fresh() == {"a2": "a.py", "b": "team/b.py"}
    assert not stack.snapshot().changed

    stack.upload("team/requirements.txt", "cowsay==6\n")
    stack.deploy()

    assert problems(stack) == {}
    assert named(stack) == {"team": "cowsay==6"}


def test_a_first_one_that_cannot_be_built_leaves_what_held_before(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("requirements.txt", "cowsay==5\n")
    stack.deploy()
    stack.upload("team/requirements.txt", "git+https://example.com/x.git\n")

    assert stack.deploy() == []
    assert named(stack) == {"": "cowsay==5", "team": "cowsay==5"}
    assert "not built from version control" in problems(stack)["team/requirements.txt"]


def test_what_is_too_long_to_be_required_is_not_read(stack):
    stack.objects = Recording()
    stack.upload("a.py", "dag a")
    stack.upload("data.csv", "x" * 900_000)
    stack.upload("team/requirements.txt", "-r ../data.csv\n")
    stack.objects.put("requirements.txt", b"#" * 900_000)
    stack.deploy()
    stack.deploy()

    assert stack.fresh() == {"a": "a.py"}
    assert "200,000 characters" in problems(stack)["team/requirements.txt"]
    assert "200,000 characters" in problems(stack)["../requirements.txt"]
    assert not {"dags/data.csv", "requirements.txt"}.intersection(stack.objects.got)


def test_a_file_whose_address_is_none_keeps_no_other_folder_waiting(stack):
    stack.upload("team/requirements.txt", "--index-url https://[your-host]/simple\ncowsay\n")
    stack.upload("a.py", "dag a")

    assert stack.deploy() == ["a.py"]
    assert "no address" in problems(stack)["team/requirements.txt"]
    assert not stack.snapshot().changed


def test_a_deleted_requirements_file_takes_its_error_and_its_environment_along(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "impossible\n")
    stack.deploy()
    stack.delete("team/requirements.txt")
    stack.deploy()

    assert problems(stack) == {}
    assert named(stack) == {}


def test_a_failed_build_is_tried_again_when_uploaded_again_and_after_minutes(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "impossible\n")
    stack.deploy()
    stack.deploy()
    assert len(stack.built) == 1

    stack.upload("team/requirements.txt", "impossible\n")
    stack.deploy()
    assert len(stack.built) == 2

    stack.clock.advance(360)
    stack.deploy()
    assert len(stack.built) == 3
    assert problems(stack) == {"team/requirements.txt": "It cannot be.\n"}


def test_while_a_broken_one_is_built_anew_its_error_stays(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "impossible\n")
    stack.deploy()
    stack.upload("team/requirements.txt", "impossible\nmore\n")
    stack.upload("a.py", "dag a")

    first = stack.snapshot()
    stack.parse(first)
    stack.activate(first)

    assert "team/requirements.txt" in problems(stack)


def test_one_recipe_of_two_folders_is_built_once(stack):
    for folder in ("one", "two"):
        stack.upload(f"{folder}/{folder}.py", f"dag {folder}")
        stack.upload(f"{folder}/requirements.txt", "-r ../shared.txt\n")
    stack.upload("shared.txt", "cowsay\n")
    stack.deploy()

    assert named(stack) == {"one": "cowsay", "two": "cowsay"}


def test_a_deployment_that_builds_is_not_held_for_dead(stack):
    stack.upload("b.py", "dag b")
    stack.upload("requirements.txt", "cowsay\n")
    assert stack.snapshot().builds
    stack.clock.advance(600)

    assert snapshot(stack.services, "another").busy


def test_what_is_called_as_ours_in_the_folder_is_left_out(stack):
    stack.upload(ENVIRONMENTS_FILE, '{"of": {"": "forged"}}')
    stack.upload("a.py", "dag a")
    stack.deploy()

    assert named(stack) == {}


def test_the_bundle_tells_the_size_of_an_environment_that_not_every_worker_has_room_for(stack):
    stack.sizes = {"torch": 2_040_000_001, "cowsay": 10_000}
    for folder, asked in (("small", "cowsay"), ("large", "torch")):
        stack.upload(f"{folder}/a.py", f"dag {folder}")
        stack.upload(f"{folder}/requirements.txt", f"{asked}\n")
    stack.deploy()

    environments = environments_in(stack)
    assert environments.sizes == {"torch": 2_040_000_001}
    assert environments.size_of_file("large/a.py") == 2_100
    assert environments.size_of_file("small/a.py") == environments.size_of_file("a.py") == 0

    stack.upload("large/requirements.txt", "impossible\n")
    stack.deploy()
    assert environments_in(stack).size_of_file("large/a.py") == 2_100

    stack.upload("large/requirements.txt", "cowsay\n")
    stack.deploy()
    assert environments_in(stack).sizes == {}


def test_a_requirements_file_that_moves_is_not_built_again(stack):
    stack.upload("team/b.py", "dag b")
    stack.upload("team/requirements.txt", "cowsay==5\n")
    stack.deploy()
    stack.delete("team/requirements.txt")
    stack.upload("requirements.txt", "cowsay==5\n")

    assert stack.deploy() == []  # b.py has the same packages as before
    assert named(stack) == {"": "cowsay==5"}
    assert len(stack.built) == 1
    assert not stack.snapshot().changed


def test_old_bundles_keep_naming_their_environments(stack):
    versions = []
    for number in range(3):
        stack.upload("b.py", f"dag b{number}")
        stack.upload("requirements.txt", f"cowsay=={number}\n")
        stack.deploy()
        versions.append(stack.store.active_bundle().version)
    stack.delete("requirements.txt")
    stack.deploy()

    for number, version in enumerate(versions):
        with ZipFile(BytesIO(stack.objects.get(bucket_keys.bundle(version)))) as bundle:
            environments = Environments.model_validate_json(bundle.read(ENVIRONMENTS_FILE))
        assert environments.of_file("b.py") == f"cowsay=={number}"
