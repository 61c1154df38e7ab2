"""Words that do not come back: each hides the agent of a sentence, or is no longer English that engineers write.

docs/glossary.md has the names to use instead.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[3]
SEARCHED: Final = (
    *(
        "shared",
        "functions",
        "statemachines",
        "docs",
        "benches",
        "examples",
        "gust",
        "template.yaml",
        "worker_group.yaml",
        "samconfig.toml",
    ),
    *("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
)
NOT_OURS: Final = (".json", ".lock", ".png", ".html", ".txt")
"""Data and recorded texts; `statemachines` alone is JSON that we write."""

INSTEAD: Final = {
    r"lest": "so that … not; in case",
    r"besides": "also, in addition to, other than",
    r"whoever": "name the agent: the scheduler, the worker, the API user (docs/glossary.md)",
    r"whom": "name the agent",
    r"somebody": "name the agent; a person, an API user",
    r"nobody|no one": "no agent, no function, no user; or turn the sentence round",
    r"(some|any|every)one|(any|every)body": "name the agent: a person, an attacker, every principal",
    r"(?-i:Those) (that|which|who)": "begin with the noun: messages that …, threads that …",
    r"any more": "no longer (but: any other, any further)",
    r"no more(?=[.,;:)\"]|$)": "no longer",
    r"those that there are": "the existing ones",
    r"be they": "whether …",
    r"ere|whence|thereof|wherein": "before, from where, of it, in which",
}
"""Word → what to write instead."""


def files() -> Iterator[Path]:
    command = [shutil.which("git") or "git", "ls-files", *SEARCHED]
    listed = subprocess.run(command, cwd=ROOT, env=of_a_user(), capture_output=True, text=True, check=True)  # noqa: S603
    for line in listed.stdout.splitlines():
        path = ROOT / line
        if path.exists() and (path.suffix not in NOT_OURS or line.startswith("statemachines/")):
            yield path


def test_the_words_do_not_come_back() -> None:
    rules = [(re.compile(rf"\b(?:{word})\b", re.IGNORECASE), instead) for word, instead in INSTEAD.items()]
    found = [
        f"{path.relative_to(ROOT)}:{number}: “{match.group()}” - write instead: {instead}"
        for path in files()
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for rule, instead in rules
        if (match := rule.search(line)) and not match.group().isupper()
    ]
    assert not found, f"{len(found)} lines use words that hide the agent:\n" + "\n".join(found)


def test_files_are_searched() -> None:
    assert len(list(files())) > 300
