"""Airflow's own browser suite (Playwright), fetched when needed and never committed: its sdist holds it, its wheel does not.

    suite = fetch(cache)                               # once; some 10 s
    results = run(suite, url="http://127.0.0.1:8080")  # title of each test → how it ended

Only the configuration and the sign-in are ours (`gust.config.ts`, `gust_setup.ts`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.environment import of_a_user

HERE: Final = Path(__file__).parent

SDIST: Final = (
    "apache-airflow-core==3.3.2 --hash=sha256:53f38e7749a2689a1d67c6e661284ecddaa687c1f7f3cae2d76b2eca7758210f"
)
"""A line of a requirements file: the sdist of the Airflow that Gust pins."""

PACKAGES: Final = ("@playwright/test@1.65.1", "dayjs@1.11.23")
"""All that the suite imports. npm packages; neither needs another that is not pinned by it."""

UI: Final = "src/airflow/ui/"
OURS: Final = ("gust.config.ts", "gust_setup.ts")


@dataclass(frozen=True, slots=True)
class Ended:
    """How one test ended after its repetitions."""

    status: str
    """Playwright's: `expected`, `flaky`, `unexpected` or `skipped`."""
    message: str
    """The first error, without colours; empty where there was none."""
    seconds: float


def fetch(folder: Path) -> Path:
    """The suite with its packages in `folder`, made there if it is not. Raises CalledProcessError where the package index or
    npm does not answer."""
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _unpack(_download(folder / "sdist"), folder)
        _install_packages(folder)
        ready.touch()
    for name in OURS:
        shutil.copy(HERE / name, folder / name)
    return folder


def run(
    suite: Path, *, url: str, chromium: str, output: Path, known: Iterable[str] = (), specs: Iterable[str] = ()
) -> dict[str, Ended]:
    """Run the suite against the server at `url`. `known`: tests that fail for a known reason and are tried once only, by
    the names that this returns; `specs`: names of files to run instead of all. Screenshots of failures and results.json
    land in `output`. Returns how each test ended, by "file > describe > title"."""
    results = output / "results.json"
    environment = of_a_user() | {
        "AIRFLOW_UI_BASE_URL": url,
        "SUITE_CHROMIUM": chromium,
        "SUITE_OUTPUT": str(output / "failures"),
        "SUITE_RESULTS": str(results),
        "SUITE_KNOWN": "|".join(f"{re.escape(name.replace(' > ', ' '))}$" for name in known) or "^$",
    }
    node = ["node", str(suite / "node_modules/@playwright/test/cli.js"), "test", "--config", "gust.config.ts", *specs]
    subprocess.run(node, cwd=suite, env=environment, check=False)  # noqa: S603
    return dict(_tests(json.loads(results.read_text())))


def _download(folder: Path) -> Path:
    """pip and not a plain download: it knows where the package index is, and checks the hash."""
    folder.mkdir()
    wanted = folder / "wanted.txt"
    wanted.write_text(SDIST + "\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    of_what = ["--no-binary=apache-airflow-core", "--dest", folder, "--requirement", wanted]
    subprocess.run([*pip, *of_what], env=dict(os.environ), check=True)  # noqa: S603
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def _unpack(sdist: Path, folder: Path) -> None:
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            _, _, name = member.name.partition("/")
            if name.startswith((f"{UI}tests/e2e/", f"{UI}playwright.config.ts", f"{UI}tsconfig")):
                member.name = name.removeprefix(UI)
                archive.extract(member, folder, filter="data")


def _install_packages(folder: Path) -> None:
    (folder / "package.json").write_text(
        json.dumps({"name": "airflow-browser-suite", "private": True, "type": "module"})
    )
    npm = "npm install --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --silent"
    subprocess.run([*npm.split(), *PACKAGES], cwd=folder, env=dict(os.environ), check=True)  # noqa: S603


def _tests(results: dict[str, Any]) -> Iterator[tuple[str, Ended]]:
    def walk(suite: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Ended]]:
        path = (*above, suite["title"])
        for spec in suite.get("specs", ()):
            (test,) = spec["tests"]
            yield " > ".join((*path, spec["title"])), _ended(test)
        for inner in suite.get("suites", ()):
            yield from walk(inner, path)

    for suite in results["suites"]:
        yield from walk(suite, ())


def _ended(test: dict[str, Any]) -> Ended:
    errors = [error.get("message", "") for result in test["results"] for error in result.get("errors", ())]
    seconds = sum(result["duration"] for result in test["results"]) / 1000
    return Ended(test["status"], next(iter(errors), ""), seconds)
