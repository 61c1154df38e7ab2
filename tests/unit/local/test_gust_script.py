"""`./gust`, as a person types it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gust
from gust.cli.__main__ import COMMANDS

ROOT = Path(__file__).parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def said(*words: str, script: Path = ROOT / "gust", path: str | None = None) -> subprocess.CompletedProcess[str]:
    """In the script's folder, because uv takes the Python of a `.venv` in the working directory."""
    environment = {"PATH": path or os.environ["PATH"], "HOME": str(script.parent)}
    return subprocess.run(  # noqa: S603
        [str(script), *words],
        cwd=script.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The script in a checkout in which nothing is installed."""
    for name in ("shared", "pyproject.toml", "requirements", "samconfig.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    return Path(shutil.copy(ROOT / "gust", tmp_path / "gust"))


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with the tools that the script needs and without a Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in (
        "sh",
        "cat",
        "dirname",
        "readlink",
        "sed",
        "awk",
        "df",
        "cksum",
        "rm",
        "ls",
        "sort",
        "paste",
        "grep",
        "tail",
        "sleep",
    ):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


@pytest.mark.parametrize("word", ["--help", "-h", "help"])
def test_help_goes_to_stdout(word: str) -> None:
    told = said(word)
    assert told.returncode == 0
    assert told.stdout.startswith("usage: ./gust local")
    commands = " ".join(line.split("  ")[0] for line in re.findall(r"\./gust.*", told.stdout))
    assert [command for command in COMMANDS if f" {command} " not in f"{commands} "] == []
    assert told.stderr == ""


def test_an_unknown_command_is_called_one() -> None:
    told = said("lokal")
    assert told.returncode == 2
    assert told.stderr.startswith("gust: unknown command: lokal\n")
    assert told.stdout == ""


def test_the_version_stands_in_one_place(tmp_path: Path) -> None:
    assert said("--version").stdout == f"gust {VERSION}\n"
    assert gust.__version__ == VERSION


def test_a_layer_knows_its_version_without_pyproject(tmp_path: Path) -> None:
    """What `layers/build.sh` puts beside the package."""
    shutil.copytree(
        ROOT / "shared" / "gust", tmp_path / "gust", ignore=lambda _, names: [n for n in names if n != "__init__.py"]
    )
    (line,) = [line for line in (ROOT / "layers" / "build.sh").read_text().splitlines() if "/VERSION" in line]
    subprocess.run(["sh", "-c", line], env={"root": str(ROOT), "alone": str(tmp_path)} | os.environ, check=True)  # noqa: S603, S607
    told = subprocess.check_output(
        [sys.executable, "-c", "import gust; print(gust.__version__)"], cwd=tmp_path, env={}, text=True
    )
    assert told == f"{VERSION}\n"


@pytest.mark.parametrize("command", ["local", "deploy", "test", "login"])
def test_a_commands_help_installs_nothing(fresh: Path, command: str) -> None:
    path = f"{Path(sys.base_prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    told = said(command, "--help", script=fresh, path=path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(f"usage: gust {command}")
    assert not (fresh.parent / ".venv").exists()


def test_the_command_line_reads_its_arguments_without_any_package() -> None:
    """A checkout in which nothing is installed tells the help of a command with the machine's Python."""
    told = subprocess.run(
        [sys.executable, "-S", "-m", "gust.cli", "workers", "add", "--help"],
        env={"PYTHONPATH": str(ROOT / "shared")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert told.stderr == ""
    assert told.stdout.startswith("usage: gust workers add")


def test_a_python_that_airflow_does_not_run_on_is_named(fresh: Path, bin_folder: Path) -> None:
    newer = bin_folder / "python3"
    newer.write_text('#!/bin/sh\ncase "$2" in *print*) echo "Python 3.14.0" ;; *) exit 1 ;; esac\n')
    newer.chmod(0o755)
    told = said("local", script=fresh, path=str(bin_folder))
    assert told.returncode == 1
    assert "needs Python 3.11, 3.12 or 3.13, and found Python 3.14.0. Install Python 3.12" in told.stderr


def test_the_installers_words_go_into_a_file_and_its_last_ones_are_shown_when_it_fails(
    fresh: Path, bin_folder: Path
) -> None:
    """A stand-in for Python whose pip says much and fails."""
    python = bin_folder / "python3.12"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f'    "-m venv "*) mkdir -p "$3/bin" && cp "{python}" "$3/bin/python" ;;\n'
        "    *layer-builder.txt) exit 1 ;;\n"  # no wheel of uv for this machine
        '    *"pip install"*) for n in 1 2 3 4 5; do for m in a b c d e f; do echo "Collecting $n$m"; done; done\n'
        '        echo "ERROR: no room"; exit 1 ;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    for name in ("mkdir", "cp"):
        (bin_folder / name).symlink_to(str(shutil.which(name)))
    told = said("local", script=fresh, path=str(bin_folder))
    assert told.returncode == 1
    log = fresh.parent / ".venv-install.log"
    assert log.read_text().count("Collecting") == 30
    assert told.stderr.count("Collecting") == 14
    assert "ERROR: no room" in told.stderr
    assert f"the lines above are the last ones of {log}" in told.stderr


@pytest.mark.parametrize("finds_all", [True, False])
def test_pip_brings_the_locks_uv_where_the_machine_has_none(fresh: Path, bin_folder: Path, finds_all: bool) -> None:
    """A stand-in for Python whose pip installs a stand-in for uv. Behind a mirror that pip alone knows, uv finds nothing."""
    python, its_uv, venv = bin_folder / "python3.12", bin_folder / "its_uv", fresh.parent / ".venv"
    python.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        f'    "-m venv "*) mkdir -p "$3/bin" && cp "{python}" "$3/bin/python" ;;\n'
        f'    *"--require-hashes -r "*/layer-builder.txt) cp "{its_uv}" "{venv}/bin/uv" ;;\n'
        '    *"pip install"*) echo "pip installs all" ;;\n'
        "esac\n"
    )
    its_uv.write_text(f'#!/bin/sh\n[ "$1" = --version ] || {{ echo "uv installs: $*"; exit {int(not finds_all)}; }}\n')
    for stand_in in (python, its_uv):
        stand_in.chmod(0o755)
    for name in ("mkdir", "cp"):
        (bin_folder / name).symlink_to(str(shutil.which(name)))

    said("local", script=fresh, path=str(bin_folder))

    log = (fresh.parent / ".venv-install.log").read_text()
    assert log.startswith("uv installs: pip sync --compile-bytecode --python")
    assert "--require-hashes" in log
    assert ("pip installs all" in log) is not finds_all


def test_what_follows_test_reaches_pytest_in_its_order() -> None:
    told = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "gust.cli", "test", "-k", "no_such_test", "--co", __file__],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "shared")},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "deselected" in told.stdout, told.stdout + told.stderr


def test_the_script_knows_every_command() -> None:
    script = (ROOT / "gust").read_text()
    known = script[script.index("case ") : script.index("unknown command")]
    assert [name for name in COMMANDS if not re.search(rf"(^|[\s|]){re.escape(name)}[\s|)]", known)] == []
