"""Every relative link of every Markdown page leads to a file, and to a heading where it names one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[3]
LINK: Final = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
HEADING: Final = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
CODE: Final = re.compile(r"^(?:```.*?^```|(?: {4}|\t)[^\n]*)$", re.MULTILINE | re.DOTALL)
SPAN: Final = re.compile(r"`[^`\n]*`")


def pages() -> list[Path]:
    command = [shutil.which("git") or "git", "ls-files", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, env=of_a_user(), capture_output=True, text=True, check=True)  # noqa: S603
    return [ROOT / line for line in listed.stdout.splitlines()]


def links(page: Path) -> Iterator[str]:
    text = SPAN.sub("", CODE.sub("", page.read_text()))
    yield from (link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link))


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = HEADING.findall(CODE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_its_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_links_are_found() -> None:
    assert sum(len(list(links(page))) for page in pages()) > 50
