"""Airflow's database models and SQLAlchemy, imported when code first asks for them: a quarter of a worker's cold start.

A worker has no database. Airflow imports the models all the same, because modules that a task needs name them at their top:
the loader of DAG files, the settings, operators of the standard provider. While `binding`, each such name gets a stand-in.

Afterwards `sys.modules` lacks them, and no import or call shows it. The first import of one of them, by an author's file or
by Airflow, and the first use of a stand-in, imports them all, as Airflow would have, and puts the real objects in the place
of the stand-ins. A child whose code asks for them imports them itself and reports it, and the nursery has them for all later
children. So it has before the first child of a file whose text names them (`preparers`).
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from gust import collector
from gust.airflow_bridge import compat

ROOTS: Final = (
    "sqlalchemy",
    "airflow.assets",
    "airflow.callbacks",
    "airflow.executors.workloads",
    "airflow.models",
    "airflow.serialization.decoders",
    "airflow.serialization.definitions.baseoperator",
    "airflow.serialization.definitions.dag",
    "airflow.serialization.definitions.deadline",
    "airflow.serialization.definitions.operatorlink",
    "airflow.serialization.definitions.taskgroup",
    "airflow.serialization.definitions.xcom_arg",
    "airflow.serialization.encoders",
    "airflow.serialization.serialized_objects",
    "airflow.ti_deps",
    "airflow.timetables.simple",
    "airflow.utils.db",
    "airflow.utils.db_manager",
    "airflow.utils.retries",
    "airflow.utils.sqlalchemy",
)
"""Modules that come late, with all below them: the models, and those that import them and that they import in turn, which
must be imported in Airflow's order."""

_SPELLED: Final = (b"sqlalchemy", b"airflow.models")
"""What a file says that most likely imports some of them."""

_STARTS_THREAD: Final = ("_thread.start_new_thread", "_thread.start_joinable_thread")
"""What Python says to audit hooks before it starts one."""


def is_late(name: str) -> bool:
    return name.startswith(ROOTS) and any(name == root or name.startswith(f"{root}.") for root in ROOTS)


@contextmanager
def binding() -> Iterator[None]:
    """Meanwhile modules that are imported get stand-ins for the late ones, which must not be used yet. May be entered again.
    Does nothing where a late module is there."""
    late = _finder()
    if late is None:
        if any(root in sys.modules for root in ROOTS):
            yield
            return
        late = _Late()
        sys.meta_path.insert(0, late)
    late.is_bound = True
    try:
        yield
    finally:
        late.close()


def sleeps() -> bool:
    """Whether the late modules are still to come."""
    return _finder() is not None


def are_named_in(file: Path) -> bool:
    """Whether a DAG file's text names some of them. False where it cannot be read."""
    try:
        text = file.read_bytes()
    except OSError:
        return False
    return any(name in text for name in _SPELLED)


def wake() -> None:
    """Import the late modules, if they are not there. Does nothing the second time."""
    if (late := _finder()) is not None:
        late.wake()


def wake_before_threads() -> None:
    """Import them before this process starts its next thread, where they are not there by then. While two threads import
    them, each finds modules that the other has not finished: their circles can be imported in one order alone."""
    if sleeps():
        sys.addaudithook(_before_thread)


def _before_thread(event: str, args: tuple[Any, ...]) -> None:  # noqa: ARG001 - as Python calls it
    if event in _STARTS_THREAD:
        with suppress(Exception):  # an import of the author's raises it where it belongs
            wake()


def wake_for_children() -> None:
    """The same where children come from, which all find them then."""
    if sleeps():
        wake()
        collector.freeze_gc()


def _finder() -> _Late | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, _Late)), None)


class _Late(MetaPathFinder):
    """Finds the late modules: stand-ins while it is bound, then the real ones."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        """Of the modules asked for, in order."""
        self.is_bound = False
        self._wakes = self._answers = False
        self._path = list(sys.path)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not is_late(name):
            return None
        if self.is_bound:
            self.names[name] = None
            return ModuleSpec(name, _StandIns(self), is_package=True)
        # A DAG folder may have a module of that name: the one that a worker would have imported comes first.
        spec = PathFinder.find_spec(name, self._path if path is None else path, target)
        if spec is None:
            return None
        first = ModuleSpec(name, _First(self), origin=spec.origin)
        first.submodule_search_locations = spec.submodule_search_locations
        return first

    def close(self) -> None:
        """From now on the real modules are found."""
        self.is_bound = False
        self._answer_for(sys.modules.get("airflow"))
        for name, module in list(sys.modules.items()):
            if type(module) is _StandIn:
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                _names_in(sys.modules.get(parent, module)).pop(child, None)

    def _answer_for(self, airflow: ModuleType | None) -> None:
        """`import airflow` is enough for `airflow.models`, where Airflow has imported that."""
        if airflow is None or self._answers:
            return
        self._answers = True
        plain = airflow.__getattr__

        def attribute(name: str) -> Any:
            if f"airflow.{name}" not in ROOTS or self._wakes:
                return plain(name)
            self.wake()
            return getattr(airflow, name)

        vars(airflow)["__getattr__"] = attribute

    def leave(self) -> None:
        """The next import of a late module is nothing special."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self.close()

    def wake(self) -> None:
        if self._wakes:
            return
        self._wakes = True
        collects = gc.isenabled()
        gc.disable()
        try:
            self._import_all()
        finally:
            if collects:
                gc.enable()

    def _import_all(self) -> None:
        self.leave()
        for name in self.names:
            importlib.import_module(name)
        for module in list(sys.modules.values()):
            if issubclass(type(module), ModuleType):
                names = _names_in(module)
                for key, value in list(names.items()):
                    if type(value) in _OURS:
                        names[key] = value.real()
        compat.listen_to_models()


def _names_in(module: ModuleType) -> dict[str, Any]:
    """Without a question to the module itself: some load at the first (`importlib.util.LazyLoader`)."""
    names: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return names


class _First(Loader):
    """Loads the first late module, among the others in their order."""

    def __init__(self, late: _Late) -> None:
        self._late = late
        self._spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        self._late.wake()
        module = importlib.import_module(spec.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _StandIns(Loader):
    def __init__(self, late: _Late) -> None:
        self._late = late

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name, self._late)

    def exec_module(self, module: ModuleType) -> None: ...


class _StandIn(ModuleType):
    """Of a late module. Its attributes are stand-ins, too."""

    def __init__(self, name: str, late: _Late) -> None:
        super().__init__(name)
        self._late = late
        self._names: dict[str, _Name | _Exception] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self._names:
            is_exception = self.__name__.endswith(".exc")
            made = _exception(self.__name__, name) if is_exception else _Name(self._late, self.__name__, name)
            self._names[name] = made
        return self._names[name]

    def real(self) -> ModuleType:
        return importlib.import_module(self.__name__)


class _Name:
    """Of a late module's class, function or value."""

    __slots__ = ("__weakref__", "_attribute", "_late", "_module")

    def __init__(self, late: _Late, module: str, attribute: str) -> None:
        self._late, self._module, self._attribute = late, module, attribute

    @property  # type: ignore[misc]  # it has no setter
    def __class__(self) -> type:
        """Airflow looks whether the class of connections is one."""
        return type

    def real(self) -> Any:
        self._late.wake()
        try:
            return getattr(importlib.import_module(self._module), self._attribute)
        except AttributeError:
            return importlib.import_module(f"{self._module}.{self._attribute}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.real()(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.real()[key]

    def __or__(self, other: Any) -> Any:
        return self.real() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.real()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process may not have Gust."""
        return pkgutil.resolve_name, (f"{self._module}:{self._attribute}",)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.real(),)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, self.real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.real())


class _Exception(type):
    """Of a late module's exception: a class, because `except` takes nothing else. It catches nothing: what raises the real
    one has the late modules imported."""

    def real(cls) -> Any:
        wake()
        return getattr(importlib.import_module(cls.__module__), cls.__name__)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.real()(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.real())

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.real())


def _exception(module: str, name: str) -> _Exception:
    return _Exception(name, (Exception,), {"__module__": module})


_OURS: Final = (_StandIn, _Name, _Exception)
"""Types of all that stands in a namespace for what is to come."""
