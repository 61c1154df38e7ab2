"""Reads a `requirements.txt` in pip's format: the lines that Gust builds from, and the lines that it refuses by name.

The file comes from a DAG author, and the builder runs with more rights than its author has. So the builder builds no
package from source, opens no path of its own disk, and reaches an index by https alone.
"""

from __future__ import annotations

import codecs
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

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, and the encoding that each stands for. Editors on Windows write them."""

_COMMENT: Final = re.compile(r"(^|\s+)#.*$")
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_NAME: Final = re.compile(r"^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?=$|[<>=!~;@(])")
_VCS: Final = re.compile(r"(^|@\s*)(git|hg|svn|bzr)(\+|@|:)")
_HASH: Final = re.compile(r"\s--hash[=\s]\s*([a-z0-9]+:[0-9a-f]+)")
_OPTION: Final = re.compile(r"^(?:(--[a-z-]+)(?:=(.*))?|(-[a-zA-Z])=?(.*))$", re.DOTALL)

_FILES: Final = (".whl", ".zip", ".tar.gz", ".tar.bz2", ".tgz", ".egg")

NO_ADDRESS: Final = "this is no address."

_LONG: Final = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-i": "--index-url",
    "-f": "--find-links",
    "-e": "--editable",
}
_INDEXES: Final = frozenset({"--index-url", "--extra-index-url", "--find-links"})
_HARMLESS: Final = {"--prefer-binary": False, "--only-binary": True, "--require-hashes": False}
"""Options that the builder sets in any case, or that have no effect on wheels; whether they have a value."""


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
    taken: set[tuple[str, bool]] = field(default_factory=set)
    """The files whose lines were taken, and whether as constraints. A file may be both, and may name itself."""

    @property
    def sources(self) -> str:
        """Changes with any change of a file. The same texts elsewhere have the same."""
        return sha256(repr(list(self.texts.values())).encode()).hexdigest()


def read_requirements(path: str, read: Read) -> Requirements:
    """The requirements of the file and of the files that it names. `path` is relative to the DAG folder."""
    found = Requirements()
    _read_into(found, path, read, as_constraints=False, named_by="")
    return found


def _read_into(found: Requirements, path: str, read: Read, *, as_constraints: bool, named_by: str) -> None:
    if (path, as_constraints) in found.taken:
        return
    text = found.texts[path] if path in found.texts else read(path)
    if text is None:
        found.refused.append(f"{named_by} {path} is not in the folder.".strip())
        return
    found.texts[path] = text
    found.taken.add((path, as_constraints))
    if len(found.texts) > MOST_FILES or sum(map(len, found.texts.values())) > LARGEST_TEXT:
        found.refused.append(
            f"{path}: at most {MOST_FILES} files with {LARGEST_TEXT:,} characters together can be read."
        )
        return
    for number, line in _lines(text):
        where = f"{path}:{number}: {_printable(line)}:"
        if _NO_TEXT.search(line):
            found.refused.append(f"{where} it has characters that are no text. Save the file as UTF-8.")
        elif line.startswith("-"):
            _take_options(found, line, path, read, where=where, as_constraints=as_constraints)
        elif objection := why_not(line):
            found.refused.append(f"{where} {objection}")
        else:
            _take_requirement(found, line, as_constraints=as_constraints, where=where)


def text_of(body: bytes) -> str:
    """The text of a file in UTF-8, or in the encoding that its byte order mark names. Bytes that are no text in it become
    replacement characters."""
    mark, encoding = next(((mark, name) for mark, name in _MARKS if body.startswith(mark)), (b"", "utf-8"))
    return body[len(mark) :].decode(encoding, errors="replace")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines without comments and empty lines; a line that ends in a backslash goes on in the next. As in pip, a
    comment ends such a line."""
    pending, began = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        if not pending:
            began = number
        is_comment = raw.lstrip().startswith("#")
        if raw.endswith("\\") and not is_comment:
            pending += raw[:-1]
            continue
        line = _COMMENT.sub("", pending if is_comment else pending + raw).strip()
        pending = ""
        if line:
            yield began, line
    if line := _COMMENT.sub("", pending).strip():
        yield began, line


def _printable(line: str) -> str:
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", line)


def _take_options(found: Requirements, line: str, path: str, read: Read, *, where: str, as_constraints: bool) -> None:
    """A line may have several options, as in pip."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        found.refused.append(f"{where} {error}.")
        return
    while words:
        matched = _OPTION.match(words.pop(0))
        if matched is None:
            found.refused.append(f"{where} this option is not supported.")
            return
        name = matched[1] or _LONG.get(matched[3], matched[3])
        value = matched[2] if matched[1] else matched[4] or None
        if value is None and words and _HARMLESS.get(name, True) and not words[0].startswith("-"):
            value = words.pop(0)
        before = len(found.refused)
        _take_option(found, name, value or "", path, read, where=where, as_constraints=as_constraints)
        if len(found.refused) > before:
            return


def _take_option(
    found: Requirements, name: str, value: str, path: str, read: Read, *, where: str, as_constraints: bool
) -> None:
    if name in ("--requirement", "--constraint"):
        is_constraint = as_constraints or name == "--constraint"
        if not value:
            found.refused.append(f"{where} it names no file.")
        elif (address := _address(value)) is None:
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
    first = line.split(maxsplit=1)[0]
    is_file = first.endswith(_FILES) and not re.search(r"[=<>!~@]", first)
    if is_file or first.startswith((".", "/", "~", "file:")) or re.match(r"[\w.]*:?\\", first):
        return "files are not installed from a path; put the code into the DAG folder."
    return None  # uv reports errors of syntax


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
        # A package may have a line for each of several markers, each with its own hashes.
        name = normalized(named[1])
        found.hashes[name] = tuple(dict.fromkeys((*found.hashes.get(name, ()), *hashes)))
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
