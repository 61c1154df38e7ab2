"""Environments: the packages that a `requirements.txt` adds to Airflow's own, archived under the hash of their content."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from posixpath import dirname
from typing import Final

from pydantic import BaseModel, ConfigDict

from gust.errors import Unopenable
from gust.model.architecture import ARM64

REQUIREMENTS: Final = "requirements.txt"

OUTSIDE: Final = ".."
"""The folder above the DAG folder, the bucket's root. Its files apply where no nearer folder has its own."""

OURS: Final = ".gust/"
"""The bundle's folder for the files that Gust adds."""

SMALLEST_STORAGE: Final = 2048
"""Megabytes of the smallest disk (parameter TaskStorage) that a worker can have."""

ENVIRONMENTS_FILE: Final = f"{OURS}environments.json"

VARIABLES_FILE: Final = f"{OURS}variables.json"
"""A JSON object: the variables that a `startup.sh` exports, for the processes that run a DAG author's code."""

OPTIONS_FILE: Final = f"{OURS}options.json"
"""A JSON object: Airflow's options, `section.option` → value, for the same processes."""

GLIBC: Final = 2, 28
"""Of the oldest systems on which packages for another architecture than the stack's own run."""

STARTUP: Final = "startup.sh"
PLUGINS_ZIP: Final = "plugins.zip"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


def room(storage: int) -> int:
    """Megabytes that an environment may take, unpacked, on a disk of so many. The disk also holds the archive, a bundle, and
    the files that the task writes."""
    return storage * 2 // 5


class Environments(_Document):
    """The environments that a bundle names. Lies in the bundle, and so never changes under a run."""

    architecture: str = ARM64
    """Of the stack's own functions."""
    of: dict[str, str] = {}
    """Folder with a `requirements.txt` (`""`: the DAG folder, `OUTSIDE`: the one above) → hash of its archive for the
    stack's own functions. Empty: it needs no package that Airflow does not bring."""
    on: dict[str, dict[str, str | None]] = {}
    """Another architecture that workers have → the same for these; `None`: there is no archive for it."""
    sizes: dict[str, int] = {}
    """Archive → bytes, unpacked; of the archives for which not every worker has room."""

    def of_file(self, path: str, architecture: str = "") -> str | None:
        """Hash of the archive for a DAG file, by its relative path: the nearest folder upwards decides. `architecture`: of
        the worker; empty for the stack's own. Raises Unopenable where the bundle names none for it, and the file needs
        one."""
        folder = dirname(path)
        if architecture in ("", self.architecture):
            return self.of_folder(folder)
        if architecture not in self.on:  # a bundle from before the stack had such workers
            needs, found = self.of_folder(folder) is not None, None
        else:
            found = _nearest(self.on[architecture], folder)
            needs = found is None and _has_any(self.on[architecture], folder)
        if needs:
            raise Unopenable(
                f"This version of the DAGs has no packages of requirements.txt for {architecture}, which this worker is. If "
                "they cannot be built for it, the import error of that requirements.txt says why; else a new run has them."
            )
        return found or None

    def size_of_file(self, path: str) -> int:
        """Megabytes that a DAG file's environment takes, rounded up to hundreds; 0 where every worker has room for it."""
        return -(-self.sizes.get(self.of_file(path) or "", 0) // 100_000_000) * 100

    def of_folder(self, folder: str) -> str | None:
        return _nearest(self.of, folder) or None

    def last_on(self, architecture: str, folder: str) -> str | None:
        """As `on`: what a folder keeps whose new environment cannot be built."""
        return _nearest(self.on.get(architecture, {}), folder)


def _nearest(of: Mapping[str, str | None], folder: str) -> str | None:
    return next((of[each] for each in upwards(folder) if each in of), None)


def _has_any(of: Mapping[str, str | None], folder: str) -> bool:
    return any(each in of for each in upwards(folder))


def upwards(folder: str) -> Iterator[str]:
    """The folder, its parents, the DAG folder and the one above."""
    if folder == OUTSIDE:
        yield OUTSIDE
        return
    while folder:
        yield folder
        folder = dirname(folder)
    yield ""
    yield OUTSIDE


class Recipe(_Document):
    """The inputs of an environment's build. The builder builds a recipe once: the same recipe gives the same
    environment from then on, even if an index offers newer versions."""

    sources: str
    """Hash of the files' texts. A changed comment is another recipe, and so resolves anew."""
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    constraint_urls: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    """Lines that say where packages are looked for, `--index-url …`."""
    hashes: dict[str, tuple[str, ...]] = {}
    """Package → the hashes that its author allows."""
    python: str
    """Version and platform of the interpreter that runs tasks: `cpython 3.12 linux-aarch64`."""
    pins: str
    """Hash of the versions that Airflow's packages have here."""

    @property
    def id(self) -> str:
        return sha256(self.model_dump_json().encode()).hexdigest()


class Build(_Document):
    """A request to the builder."""

    recipe: str
    """Its id."""
    file: str
    """The `requirements.txt` that needs it, relative to the DAG folder; for people."""
    uploaded: float = 0.0
    """Time of its upload, in seconds since 1970; with several files, the latest."""
    like: str = ""
    """The same recipe for the stack's own functions. Where that one is built, this one has its versions, as far as they
    exist for this one's architecture."""


class Built(_Document):
    """The outcome of a build. The deployer has a failed recipe built again after a new upload of the file, or five
    minutes later."""

    archive: str = ""
    """Hash of the archive's content; empty where there is nothing to add."""
    problem: str | None = None
    """The error of uv or of the builder, if the build failed."""
    packages: dict[str, str] = {}
    """Name → version, of what the archive holds."""
    lock: str = ""
    """The archive's packages with their hashes, as a requirements file."""
    size: int = 0
    """Bytes, unpacked."""
    file: str = ""
    built_at: float = 0.0
    uploaded: float = 0.0
    """As in the `Build`."""
