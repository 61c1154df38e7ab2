"""Reads a `requirements.txt` in pip's format: the lines that Gust builds from, and the lines that it refuses by name.

The file comes from a DAG author, and the builder runs with more rights than its author has. So the builder builds no
package from source, opens no path of its own disk, and reaches an index by https alone.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from posixpath import dirname, join, normpath
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gust.services.deployments.pins import normalized

Read = Callable[[str], str | None]
"""The text of a file by its path relative to the DAG folder; `None` where there is no such file."""

MWAA_DAGS: Final = "/usr/local/airflow/dags/"
"""How files written for MWAA name the DAG folder."""

MOST_FILES: Final = 20
LARGEST_TEXT: Final = 200_000
"""Characters, of all files together."""

_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_NAME: Final = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?=$|[<>=!~;@(])")
_VCS: Final = re.compile(r"(^|@\s*)(git|hg|svn|bzr)(\+|@|:)")
_HASH: Final = re.compile(r"\s--hash[=\s]\s*([a-z0-9]+:[0-9a-f]+)")
_OPTION: Final = re.compile(r"^(--[a-z-]+|-[a-zA-Z])(?:=|\s+|(?<=-[a-zA-Z]))\s*(.*)$", re.DOTALL)

NO_ADDRESS: Final = "this is no address."

_LONG: Final = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-i": "--index-url",
    "-f": "--find-links",
    "-e": "--editable",
}
_INDEXES: Final = frozenset({"--index-url", "--extra-index-url", "--find-links"})
_HARMLESS: Final = frozenset({"--prefer-binary", "--only-binary", "--require-hashes"})
"""Options that the builder sets in any case, or that have no effect on wheels."""


@dataclass(slots=True)
class Requirements:
    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    constraint_urls: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    hashes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """A sentence for each refused line."""
    texts: dict[str, str] = field(default_factory=dict)
    """The files that were read."""

    @property
    def sources(self) -> str:
        """Changes with any change of a file."""
        return sha256(repr(sorted(self.texts.items())).encode()).hexdigest()


def read_requirements(path: str, read: Read) -> Requirements:
    """The requirements of the file and of the files that it names. `path` is relative to the DAG folder."""
    found = Requirements()
    _read_into(found, path, read, as_constraints=False, named_by="")
    return found


def _read_into(found: Requirements, path: str, read: Read, *, as_constraints: bool, named_by: str) -> None:
    if path in found.texts:
        return
    text = read(path)
    if text is None:
        found.refused.append(f"{named_by} {path} is not in the folder.".strip())
        return
    found.texts[path] = text
    if len(found.texts) > MOST_FILES or sum(map(len, found.texts.values())) > LARGEST_TEXT:
        found.refused.append(
            f"{path}: at most {MOST_FILES} files with {LARGEST_TEXT:,} characters together can be read."
        )
        return
    for number, line in _lines(text):
        where = f"{path}:{number}: {line}:"
        if line.startswith("-"):
            _take_option(found, line, path, read, where=where, as_constraints=as_constraints)
        elif objection := why_not(line):
            found.refused.append(f"{where} {objection}")
        else:
            _take_requirement(found, line, as_constraints=as_constraints, where=where)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines without comments and empty lines; a line that ends in a backslash goes on in the next."""
    pending, began = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if not pending:
            began = number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            pending += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", pending + raw).strip()
        pending = ""
        if line:
            yield began, line.removeprefix("\ufeff")
    if line := _COMMENT.sub("", pending).strip():
        yield began, line


def _take_option(found: Requirements, line: str, path: str, read: Read, *, where: str, as_constraints: bool) -> None:
    matched = _OPTION.match(line)
    name = matched[1] if matched else line.split(maxsplit=1)[0]
    name = _LONG.get(name, name)
    try:
        value = " ".join(shlex.split(matched[2])) if matched else ""
    except ValueError as error:
        found.refused.append(f"{where} {error}.")
        return
    if name in ("--requirement", "--constraint"):
        is_constraint = as_constraints or name == "--constraint"
        if (address := _address(value)) is None:
            found.refused.append(f"{where} {NO_ADDRESS}")
        elif address.scheme == "https" and is_constraint:
            found.constraint_urls.append(value)
        elif "://" in value:
            found.refused.append(f"{where} only constraints can come from an address, and by https.")
        elif (file := inside(path, value)) is None:
            found.refused.append(f"{where} only files of the DAG folder can be named.")
        else:
            _read_into(found, file, read, as_constraints=is_constraint, named_by=where)
    elif name in _INDEXES:
        if (objection := _why_no_index(value)) is not None:
            found.refused.append(f"{where} {objection}")
        elif (option := f"{name} {value}") not in found.options:
            found.options.append(option)
    elif name == "--editable":
        found.refused.append(f"{where} there is nothing to edit where tasks run; put the code into the DAG folder.")
    elif name not in _HARMLESS:
        found.refused.append(f"{where} this option is not supported.")


def _why_no_index(value: str) -> str | None:
    if (address := _address(value)) is None:
        return NO_ADDRESS
    if address.scheme != "https":
        return "an index is reached by https alone."
    if re.search(r"\s", value):
        return "an index has one address."
    return None


def _address(text: str) -> SplitResult | None:
    """`None` where the text cannot be an address, such as one with `[your-host]` in it."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def why_not(line: str) -> str | None:
    """The reason to refuse a line that is no option; `None`: the builder finds out whether it can be installed."""
    if _VCS.search(line):
        return "packages are not built from version control; publish a wheel, or put the code into the DAG folder."
    _, at, address = line.partition("@") if _NAME.match(line) else ("", "://" in line, line)
    if at and "://" in address:
        split = _address(address.split(";")[0].split(" --hash")[0].strip())
        if split is None:
            return NO_ADDRESS
        if split.scheme == "https" and split.path.endswith(".whl"):
            return None
        return "only wheels (….whl) are installed from an address, and by https."
    if not _NAME.match(line):
        if line.startswith((".", "/", "~")) or line.split(maxsplit=1)[0].endswith((".whl", ".zip", ".tar.gz")):
            return "files are not installed from a path; put the code into the DAG folder."
        return None  # uv reports errors of syntax
    return None


def _take_requirement(found: Requirements, line: str, *, as_constraints: bool, where: str) -> None:
    hashes = tuple(_HASH.findall(line))
    line = _HASH.sub("", line).strip()
    if re.search(r"\s--[a-z]", line):
        found.refused.append(f"{where} of a requirement's own options, --hash alone is supported.")
        return
    if as_constraints:
        found.constraints.append(line)
        return
    if hashes and (named := _NAME.match(line)):
        found.hashes[normalized(named[1])] = hashes
    found.requirements.append(line)


def inside(path: str, named: str) -> str | None:
    """The file that `path` names, relative to the DAG folder; `None` where it lies elsewhere."""
    if named.startswith(MWAA_DAGS):
        return normpath(named.removeprefix(MWAA_DAGS))
    if named.startswith(("/", "~")):
        return None
    file = normpath(join(dirname(path), named))
    if file.startswith("../dags/"):
        return file.removeprefix("../dags/")
    return file if not file.startswith("../") or "/" not in file[3:] else None
