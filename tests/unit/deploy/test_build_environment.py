"""The builder, with a uv that is made up: what it is asked, and what becomes of its answers."""

import json
import stat
import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from gust.aws.memory import MemoryObjects
from gust.environment_builder.build import build, give_up, not_pinned
from gust.environment_builder.uv import Refused, Uv, environment
from gust.model import bucket_keys
from gust.model.architecture import MACHINES, this_architecture
from gust.model.environment import Build, Built, Recipe
from gust.services.deployments import pins
from gust.services.deployments.environments import interpreter
from tests.unit.deploy.stack import DiedError, Dying

UV = """#!{python}
import json, os, sys
from pathlib import Path
args = sys.argv[1:]
with open({calls!r}, "a") as calls:
    locked = Path("lock.txt").read_text()
    calls.write(json.dumps({{"args": args, "env": dict(os.environ), "locked": locked}}) + "\\n")
asked = Path("requirements.txt").read_text()
if "impossible" in asked:
    sys.exit("error: No solution found when resolving dependencies\\n  cause: " + os.environ.get("TOKEN", ""))
if "names.txt" in args:
    Path(args[args.index("--output-file") + 1]).write_text("cowsay==6.1\\n")
    sys.exit()
also = Path("also.txt").read_text() if args[1] == "compile" else ""
if also:
    sys.exit("error: No solution found when resolving dependencies\\n  cause: Because " + also.strip() + " is too old")
if "crowded" in asked:
    sys.exit("error: No solution found when resolving dependencies\\n" + "and so on\\n" * 200)
if args[1] == "compile" and "alpha" in asked:
    Path(args[args.index("--output-file") + 1]).write_text("cowsay==7.0a1 --hash=sha256:aa\\n")
elif args[1] == "compile":
    requests = ["requests==2.34.2 \\\\", "    --hash=sha256:cc"]
    lock = ["cowsay==6.1 \\\\", "    --hash=sha256:aa \\\\", "    --hash=sha256:bb", *requests]
    Path(args[args.index("--output-file") + 1]).write_text("\\n".join(lock if "cowsay" in asked else requests) + "\\n")
else:
    out = Path(args[args.index("--target") + 1])
    (out / "cowsay").mkdir(parents=True)
    (out / "bin").mkdir()
    if "provider" in asked:
        (out / "airflow/providers/moon").mkdir(parents=True)
        (out / "airflow/providers/moon/get_provider_info.py").write_text({provider!r})
        (out / "apache_airflow_providers_moon-1.2.dist-info").mkdir()
        (out / "apache_airflow_providers_moon-1.2.dist-info/METADATA").write_text(
            "Name: x\\nProject-URL: Documentation, https://moon.example.com/docs\\n\\nProject-URL: Documentation, no\\n")
    (out / ".lock").touch()
    (out / "cowsay/__init__.py").write_text("WANTED = " + repr(Path("wanted.txt").read_text()))
    (out / "bin/cowsay").write_text("#!" + sys.executable + "\\nimport cowsay\\n")
"""


PROVIDER = """
raise SystemExit("the builder runs no code of a package")
def get_provider_info():
    return {"package-name": "apache-airflow-providers-moon", "description": "`Moon <https://moon.example.com>`__",
            "connection-types": [{"connection-type": "moon", "hook-class-name": "airflow.providers.moon.MoonHook",
            "ui-field-behaviour": {"hidden-fields": ["port"], "relabeling": {"login": "Crater"}}}]}
"""


class Site:
    def __init__(self, place: Path) -> None:
        self.objects = MemoryObjects()
        self.calls = place / "calls"
        command = place / "uv"
        command.write_text(UV.format(python=sys.executable, calls=str(self.calls), provider=PROVIDER))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        self.uv = Uv(patience=60, command=str(command))
        self.fetch = lambda address: f"# {address}\nrequests==1.0\nnumpy<2  # why\n"

    def build(
        self,
        *requirements: str,
        largest: int = 10**6,
        python: str = interpreter(),
        like: str = "",
        **recipe,
    ) -> Built:
        made = Recipe(sources="s", requirements=requirements, python=python, pins=pins.digest(), **recipe)
        self.objects.put(bucket_keys.recipe(made.id), made.model_dump_json().encode())
        self.recipe = made.id
        return build(
            self.objects,
            Build(recipe=made.id, file="requirements.txt", uploaded=3.0, like=like),
            self.uv,
            largest=largest,
            clock=lambda: 5.0,
            fetch=self.fetch,
        )

    def seen(self) -> list[dict]:
        return [json.loads(line) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_stores_what_airflow_does_not_bring(site):
    built = site.build("cowsay", "requests")

    assert built.problem is None
    assert built.packages == {"cowsay": "6.1"}
    assert (built.built_at, built.uploaded) == (5.0, 3.0)
    with ZipFile(BytesIO(site.objects.get(bucket_keys.environment(built.archive)))) as archive:
        names = archive.namelist()
        assert "cowsay/__init__.py" in names
        assert any(name.startswith("cowsay/__pycache__/") for name in names)
        assert ".lock" not in names
        assert archive.read("bin/cowsay") == b"#!/usr/bin/env python\nimport cowsay\n"
        assert archive.getinfo("bin/cowsay").external_attr >> 16 == 0o755


@pytest.mark.parametrize("architecture", MACHINES)
def test_asks_for_the_wheels_of_the_architecture_that_the_recipe_names(site, architecture):
    site.build("cowsay", python=interpreter(architecture))

    for call in site.seen():
        if architecture == this_architecture():
            assert "--python-platform" not in call["args"]
        else:
            asked = call["args"][call["args"].index("--python-platform") + 1]
            assert asked == f"{MACHINES[architecture]}-manylinux_2_28"
    assert len(site.seen()) == 2


def test_another_architecture_has_the_versions_of_our_own_where_they_exist(site):
    ours = site.build("cowsay")
    other = next(name for name in MACHINES if name != this_architecture())
    site.build("cowsay", python=interpreter(other), like=site.recipe)
    site.build("cowsay", "requests", python=interpreter(other), like="no such recipe")

    compiling = [call["locked"] for call in site.seen() if call["args"][1] == "compile"]
    assert compiling == ["", ours.lock, ""]


def test_asks_for_wheels_within_airflows_pins(site):
    site.build("cowsay", options=("--index-url https://a.example.com/simple",))

    compiling, installing = [call["args"] for call in site.seen()]
    assert tuple(compiling[compiling.index("--only-binary") :][:2]) == ("--only-binary", ":all:")
    assert "airflow-pins.txt" in compiling
    assert "--generate-hashes" in compiling
    assert "--require-hashes" in installing
    assert "--no-deps" in installing


def test_credentials_of_the_builder_are_not_there_to_be_named():
    around = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_SESSION_TOKEN": "t",
        "GUST_BUCKET": "b",
        "PATH": "/bin",
        "UV_INDEX": "i",
    }

    assert environment(around) == {
        "PATH": "/bin",
        "UV_INDEX": "i",
        "UV_HTTP_RETRIES": "5",
        "UV_CACHE_DIR": environment({})["UV_CACHE_DIR"],
    }
    assert environment({"UV_HTTP_RETRIES": "0"})["UV_HTTP_RETRIES"] == "0"


def test_nothing_to_add_is_no_archive(site):
    assert site.build("requests") == Built(file="requirements.txt", built_at=5.0, uploaded=3.0)


def test_a_built_recipe_stays_what_it_is(site):
    first = site.build("cowsay")
    calls = len(site.seen())

    assert site.build("cowsay") == first
    assert len(site.seen()) == calls


def test_a_refusal_is_told_in_uvs_words_and_built_again(site):
    built = site.build("impossible")

    assert built.problem.startswith("error: No solution found when resolving dependencies")
    assert built.archive == ""
    site.build("impossible")
    assert len(site.seen()) == 2


def test_what_is_said_of_hundreds_of_versions_begins_with_the_newest(site):
    problem = site.build("cowsay", "crowded").problem

    assert problem.splitlines()[1] == "  cause: Because cowsay==6.1 is too old"
    assert problem.count("and so on") == 200
    assert problem.splitlines()[-1].startswith("A package that contradicts Airflow's can have a virtual environment")


def test_a_pre_release_that_nobody_asked_for_is_refused(site):
    problem = site.build("cowsay", "alpha").problem

    assert problem.startswith("No release of cowsay fits to the other packages; only its pre-release 7.0a1 does.")
    assert "cowsay==6.1 is too old" in problem


def test_a_pre_release_that_the_author_names_is_installed(site):
    assert site.build("cowsay>=7.0a1", "alpha").packages == {"cowsay": "7.0a1"}


def test_a_variable_that_the_secret_does_not_have_is_named(site):
    site.uv = Uv(patience=60, command=site.uv.command, variables={"USER": "me"})
    line = "--extra-index-url https://${USER}:${TOKEN}@a.example.com/simple"

    assert site.build("cowsay", options=(line,)).problem == (
        f"{line}: there is no variable TOKEN. Variables are those in the secret that the parameter PackageIndexSecret "
        "names, on your own machine in the file that GUST_PACKAGE_INDEX_FILE names (USER).\n"
    )


def test_addresses_of_constraints_may_name_variables_and_do_not_tell_them(site):
    asked = []
    site.uv = Uv(patience=60, command=site.uv.command, variables={"TOKEN": "hush-hush"})
    site.fetch = lambda address: asked.append(address) or "numpy<2\n"
    assert site.build("cowsay", constraint_urls=("https://${TOKEN}@a.example.com/c.txt",)).problem is None
    assert asked == ["https://hush-hush@a.example.com/c.txt"]

    def unreachable(address):
        raise Refused(f"The constraints at {address} cannot be read")

    site.fetch = unreachable
    problem = site.build("cowsay ", constraint_urls=("https://${TOKEN}@a.example.com/c.txt",)).problem
    assert problem == "The constraints at https://***@a.example.com/c.txt cannot be read\n"


def test_versions_that_cannot_be_imported_beside_airflow_are_not_taken(site):
    assert set(pins.FLOORS) <= set(pins.constraints())


def test_secrets_of_indexes_are_not_told(site):
    site.uv = Uv(patience=60, command=site.uv.command, variables={"TOKEN": "hush-hush"})

    assert "hush-hush" not in site.build("impossible").problem


def test_what_is_too_large_is_told_with_its_parts(site):
    built = site.build("cowsay", largest=10)

    assert "10" not in built.archive
    assert "The largest: cowsay" in built.problem


def test_hashes_of_the_author_are_the_only_ones(site):
    built = site.build("cowsay", hashes={"cowsay": ("sha256:bb", "sha256:dd")})

    assert built.lock == "cowsay==6.1 \\\n    --hash=sha256:bb\n"
    assert "none of the hashes" in site.build("cowsay", hashes={"cowsay": ("sha256:ee",)}).problem


def test_constraints_on_airflows_packages_move_nothing():
    assert not_pinned(["requests==1.0", "Apache_Airflow==2.0", "numpy<2"]) == ["numpy<2"]


def test_what_kills_the_builder_is_told(site):
    asked = Build(recipe="r", file="requirements.txt", uploaded=3.0)

    give_up(site.objects, asked, "out of memory")

    built = Built.model_validate_json(site.objects.get(bucket_keys.built("r")))
    assert built.problem == "The builder died at it: out of memory\n"


def test_pins_hold_airflow():
    assert "apache-airflow==3.3.2" in pins.pins()
    assert {"apache-airflow", "boto3", "requests"} <= pins.names()
    assert "grpcio" not in pins.names()
    assert any(pin.startswith("grpcio==") for pin in pins.pins())


def test_forms_of_a_providers_connections_are_read_and_no_code_is_run(site):
    built = site.build("cowsay", "provider")

    [form] = json.loads(site.objects.get(bucket_keys.connection_forms(built.archive)))
    assert (form["connection_type"], form["hook_name"]) == ("moon", "moon")
    assert form["standard_fields"]["login"] == {"hidden": False, "title": "Crater", "placeholder": None}
    assert form["standard_fields"]["port"]["hidden"] is True


def test_an_environment_without_providers_has_no_forms(site):
    built = site.build("cowsay")

    assert not site.objects.exists(bucket_keys.connection_forms(built.archive))


def test_its_providers_are_listed_as_the_api_shows_them(site):
    built = site.build("cowsay", "provider")

    assert json.loads(site.objects.get(bucket_keys.providers(built.archive))) == [
        {
            "package_name": "apache-airflow-providers-moon",
            "description": "Moon https://moon.example.com",
            "version": "1.2",
            "documentation_url": "https://moon.example.com/docs",
        }
    ]


@pytest.mark.parametrize("writes", range(4))
def test_a_builder_that_dies_leaves_nothing_that_counts_and_the_next_one_builds(site, writes):
    """The archive, its providers and forms, the outcome: whichever write does not happen."""
    whole = site.objects
    site.objects = Dying(whole, after=1 + writes)  # the first one is the recipe's
    with pytest.raises(DiedError):
        site.build("cowsay", "provider")
    assert [key for key in whole.list("recipes/") if key.endswith(bucket_keys.BUILT)] == []

    site.objects = whole
    built = site.build("cowsay", "provider")

    assert built.problem is None
    with ZipFile(BytesIO(whole.get(bucket_keys.environment(built.archive)))) as archive:
        assert archive.testzip() is None
    assert whole.exists(bucket_keys.providers(built.archive))
    assert whole.exists(bucket_keys.connection_forms(built.archive))


def test_of_two_builders_of_one_recipe_the_failure_does_not_count(site):
    made = Recipe(sources="s", requirements=("impossible",), python="cpython 3.12 linux", pins=pins.digest())
    order = Build(recipe=made.id, file="requirements.txt", uploaded=3.0)
    other = Built(archive="a" * 64, packages={"cowsay": "6.1"})

    class Slow(Uv):
        def run(self, arguments, *, inside):
            site.objects.put(bucket_keys.built(made.id), other.model_dump_json().encode())
            raise Refused("The index does not answer")

    site.objects.put(bucket_keys.recipe(made.id), made.model_dump_json().encode())

    assert build(site.objects, order, Slow(patience=60), largest=10**6) == other
    assert give_up(site.objects, order, "out of memory") == other
    assert Built.model_validate_json(site.objects.get(bucket_keys.built(made.id))) == other


def test_what_takes_too_long_is_ended_and_told(site, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    site.uv = Uv(patience=0.2, command=str(slow))

    assert site.build("cowsay").problem == "It was not done within 0 seconds.\n"


def test_all_commands_share_one_patience(site, tmp_path):
    now = [0.0]
    site.uv = Uv(patience=100, command=site.uv.command, clock=lambda: now[0])
    site.fetch = lambda address: now.__setitem__(0, 101.0) or ""

    problem = site.build("cowsay", constraint_urls=("https://a.example.com/c.txt",)).problem

    assert problem == "It was not done within 100 seconds.\n"


def test_an_index_that_does_not_answer_is_told_as_uv_tells_it(site, tmp_path):
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho 'error: Request failed after 3 retries' >&2\nexit 2\n")
    silent.chmod(0o755)
    site.uv = Uv(patience=60, command=str(silent))

    assert site.build("cowsay").problem == "error: Request failed after 3 retries\n"
