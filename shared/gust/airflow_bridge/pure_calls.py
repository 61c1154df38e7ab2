"""Stops Python code before it calls native code that is not known to be without effects and of no moment.

What a DAG file does while it is parsed can be known only where it leaves Python: a clock, a random number, a file, a
process and a socket are all behind a native function. `only` lets the native functions and types listed here pass, and
raises `Impure` before any other call, wherever it stands: in the file, in a helper's module, in an installed package or in
Airflow. A native function that is not listed counts as impure, so an oversight costs time and nothing else.

What Airflow itself asks at each parse is listed with the function that asks (`_ASKED_BY_AIRFLOW`). Files may be read and
looked for in the folders given. Python tells of calls (`sys.monitoring`) and, as a second net, of events
(`sys.addaudithook`).
"""

from __future__ import annotations

import collections
import contextvars
import datetime
import decimal
import fractions
import functools
import hashlib
import io
import itertools
import json.encoder
import json.scanner
import operator
import os
import re
import sys
import threading
import types
import typing
import weakref
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn


class Impure(BaseException):
    """The code is about to do what its result may depend on, or what another process may notice."""


TOOL: Final = 4
"""One of the numbers of `sys.monitoring` that no known tool uses."""

_LRU_CACHE: Final = type(functools.cache(lambda: None))

_ITERATED: Final[tuple[Any, ...]] = ((), [], {}, {}.values(), {}.items(), set(), "", "ü", b"", range(1), range(2**70))

PURE_TYPES: Final[frozenset[Any]] = frozenset(
    {
        # Python's own
        *(object, type, super, property, classmethod, staticmethod, bool, int, float, complex, str, bytes, bytearray),
        *(memoryview, list, tuple, dict, set, frozenset, range, slice, enumerate, zip, map, filter, reversed),
        *(BaseException, BaseExceptionGroup),
        *(each for each in vars(types).values() if isinstance(each, type) and each is not types.FrameType),
        *(type(iter(each)) for each in _ITERATED),
        *(type({}.keys()), type({}.values()), type({}.items()), type(iter(int, 0))),
        # its library's
        *(each for each in vars(itertools).values() if isinstance(each, type)),
        *(operator.attrgetter, operator.itemgetter),
        *(collections.deque, collections.OrderedDict, collections.defaultdict, functools.partial, _LRU_CACHE),
        *(type(iter(collections.OrderedDict().keys())), type(collections.OrderedDict().items())),
        *(re.Pattern, re.Match, type(re.compile("").scanner(""))),  # type: ignore[attr-defined]
        *(datetime.timedelta, datetime.date, datetime.time, datetime.datetime, datetime.timezone, datetime.tzinfo),
        *(zoneinfo.ZoneInfo, decimal.Decimal, decimal.Context, fractions.Fraction),
        *(weakref.ReferenceType, weakref.ProxyType, weakref.CallableProxyType),
        *(
            contextvars.Context,
            typing.Generic,
            typing.TypeVar,
            typing.ParamSpec,
            typing.TypeVarTuple,
            typing.TypeAliasType,
        ),
        *(type(hashlib.new(name)) for name in ("sha1", "blake2b", "blake2s", "sha3_256", "shake_128")),
        *(json.encoder.c_make_encoder, json.scanner.c_make_scanner),  # type: ignore[attr-defined]
        *(type(threading.Lock()), type(threading.RLock())),
        *(io.BytesIO, io.StringIO, io.BufferedReader, io.TextIOWrapper, io.IncrementalNewlineDecoder, io.FileIO),
        *(each for of in (io.BufferedReader, io.TextIOWrapper, io.FileIO) for each in of.__mro__),
    }
)
"""Their constructors and methods."""

_PURE_IDS: Final = frozenset(map(id, PURE_TYPES))

PURE_PACKAGES: Final = frozenset({"rpds"})
"""All native types of these packages: data structures."""

_OF_MOMENT: Final = frozenset({"now", "utcnow", "today", "__subclasses__"})
"""Methods of the types above that are not pure."""

_OF_DICTS: Final = frozenset({"items", "keys", "values"})
"""What a `methodcaller` may call: it calls the method of a native object unseen."""

_MODULES: Final = frozenset(
    {
        *("math", "cmath", "_operator", "_functools", "_collections", "_json", "_sre", "_string", "_codecs", "_bisect"),
        *("_heapq", "_hashlib", "_sha1", "_sha2", "_sha3", "_md5", "_blake2", "_struct", "binascii", "_stat", "_abc"),
        *("_weakref", "_typing", "itertools", "zlib", "_decimal", "_statistics", "_csv", "unicodedata", "_tokenize"),
    }
)
"""All functions of these."""

_FUNCTIONS: Final = frozenset(
    {
        "builtins": (
            "__build_class__ __import__ abs all any ascii bin callable chr compile delattr dir divmod eval exec format"
            " getattr globals hasattr hash hex id isinstance issubclass iter len locals max min next oct ord pow repr round"
            " setattr sorted sum vars"
        ),
        "sys": "intern exc_info exception getdefaultencoding getfilesystemencoding getrecursionlimit getsizeof"
        " _getframemodulename getfilesystemencodeerrors is_finalizing",
        "_imp": "acquire_lock release_lock lock_held is_builtin is_frozen is_frozen_package find_frozen get_frozen_object"
        " _fix_co_filename source_hash extension_suffixes",
        "_thread": "allocate_lock allocate_lock get_ident",
        "_warnings": "_filters_mutated",
        "_asyncio": "_get_running_loop get_running_loop current_task",
        "_io": "text_encoding",
        "marshal": "loads",
        "posix": "fspath _path_normpath _path_splitroot _path_splitroot_ex getcwd fstat",
    }.items()
)
_NAMES: Final = frozenset((module, name) for module, names in _FUNCTIONS for name in names.split())
"""Module and name of the functions of other modules."""

_OF_FILES: Final = frozenset(
    {
        *(("posix", name) for name in ("stat", "lstat", "listdir", "scandir", "readlink", "access")),
        *((module, name) for module in ("_io", "io") for name in ("open", "open_code")),
    }
)
"""Their first argument is a path."""

_ASKED_BY_AIRFLOW: Final = {
    ("datetime", "now"): {
        "/airflow/sdk/definitions/timetables/_delta.py:DeltaMixin.validate",
        "/airflow/_shared/timezones/timezone.py:utcnow < /airflow/dag_processing/dagbag.py:DagBag.collect_dags",
        "/airflow/_shared/timezones/timezone.py:utcnow < /airflow/dag_processing/dagbag.py:DagBag.bag_dag",
    },
    ("time", "time"): {
        "/croniter/croniter.py:croniter.__init__ < /airflow/sdk/definitions/timetables/_cron.py:CronMixin.validate",
    },
    ("time", "perf_counter"): {
        "/providers_discovery/providers_discovery.py:"
        "provider_info_cache.<locals>.provider_info_cache_decorator.<locals>.wrapped_function",
    },
    ("posix", "getpid"): {"/airflow/dag_processing/importers/python_importer.py:_timeout"},
    ("_signal", "setitimer"): {"/airflow/dag_processing/importers/python_importer.py:_timeout"},
    ("_signal", "signal"): {
        "/signal.py:signal < /airflow/dag_processing/importers/python_importer.py:_timeout",
        "/signal.py:signal < /airflow/dag_processing/importers/python_importer.py:"
        "PythonDagImporter._load_modules_from_file",
        "/signal.py:signal < /gust/airflow_bridge/crashes.py:handle",
    },
    ("faulthandler", "enable"): {"/gust/airflow_bridge/crashes.py:handle"},
    ("faulthandler", "disable"): {"/gust/airflow_bridge/crashes.py:handle"},
    ("sys", "_getframe"): {
        "/airflow/sdk/definitions/dag.py:_default_fileloc",
        "/airflow/sdk/definitions/dag.py:dag.<locals>.wrapper.<locals>.factory",
        "/enum.py:",
        "/inspect.py:currentframe < /airflow/sdk/",
    },
}
"""Function → the ends of the places that may call it, and of what may call these: what it answers there leaves no trace in
a DAG, or `parsed` gives each task its own."""

_EVENTS: Final = frozenset(
    {
        *("import", "exec", "compile", "open", "os.listdir", "os.scandir", "marshal.loads", "builtins.id"),
        *("object.__getattr__", "object.__setattr__", "object.__delattr__", "code.__new__", "function.__new__"),
        *("sys._getframe", "sys._getframemodulename", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob"),
        *("signal.signal", "sys.addaudithook", "sys.monitoring.register_callback", "_thread.allocate_lock"),
        *("cpython._PySys_ClearAuditHooks", "gc.get_objects"),
    }
)
"""Audit events that pass. `open` and the listings only for the folders."""

_SPECIAL: Final = frozenset(
    {
        *(name for kind in (object, str, int, float, set) for name in vars(kind) if name.startswith("__")),
        *("__bool__", "__call__", "__enter__", "__exit__", "__fspath__", "__setitem__", "__delitem__", "__iter__"),
        *(
            "__reversed__",
            "__complex__",
            "__bytes__",
            "__next__",
            "__await__",
            "__aiter__",
            "__matmul__",
            "__rmatmul__",
        ),
        *(
            "__ior__",
            "__iadd__",
            "__imul__",
            "__get__",
            "__set__",
            "__set_name__",
            "__mro_entries__",
            "__length_hint__",
        ),
        *("__instancecheck__", "__subclasscheck__"),
    }
    - {"__new__", "__init__", "__init_subclass__", "__class__", "__doc__"}
)
"""Methods that Python looks for in an object's class."""

_GENERICPATH: Final = os.path.exists.__code__.co_filename
_OF_TIMES: Final = frozenset({"getmtime", "getatime", "getctime"})
_LOOKS_AT_PARENTS: Final = frozenset({_GENERICPATH, os.path.realpath.__code__.co_filename})

_Key = tuple[str, str]


@contextmanager
def only(watch: Watch) -> Iterator[None]:
    """Meanwhile `Impure` is raised before each call that is not known to be pure."""
    monitoring = sys.monitoring
    monitoring.use_tool_id(TOOL, "gust")
    monitoring.register_callback(TOOL, monitoring.events.CALL, watch.called)
    sys.addaudithook(watch.heard)
    watch.is_on = True
    monitoring.set_events(TOOL, monitoring.events.CALL)
    try:
        yield
    finally:
        watch.is_on = False
        monitoring.set_events(TOOL, monitoring.events.NO_EVENTS)
        monitoring.free_tool_id(TOOL)


class Watch:
    def __init__(self, folders: Sequence[str]) -> None:
        """`folders`: where files may be read, with a slash at the end."""
        self.first: str | None = None
        """What was called first that is not pure, in words."""
        self.opened = set[str]()
        """Files that were read."""
        self.is_on = False
        self._folders = tuple(folders)
        self._parents = {each[:end] or "/" for each in folders for end in range(len(each)) if each[end] == "/"}
        streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
        self._guarded = {id(each): (each, "it uses stdin, stdout or stderr") for each in streams if each is not None}
        """By id: what no native function may get, and what code does that gives it one."""
        self._caller: types.CodeType | None = None
        self._fine: dict[int, object] = {}
        """By id: functions and types that pass, unless they get a native function."""

    def stand_in(self, what: str, passes: Mapping[str, Callable[..., object]] = types.MappingProxyType({})) -> Any:
        """Returns an object for the place of one that differs from one task to the next: Python makes no call that is seen
        where code reads an attribute, or uses an operator. `what`: the code does, in words, that does more with it than to
        ask whether it is there. `passes`: special methods that may be used."""

        def refused(*_: object) -> NoReturn:
            self.refuse(what)

        made = type("StandIn", (), {**dict.fromkeys(_SPECIAL, refused), **passes})()
        self._guarded[id(made)] = made, what
        return made

    def refuse(self, reason: str) -> NoReturn:
        """Raise `Impure`, and keep the reason: the code may catch it."""
        self.first = self.first or reason
        raise Impure(reason)

    # --- called by Python -----------------------------------------------------------------------------------------

    def called(self, code: types.CodeType, offset: int, target: Any, first: Any) -> None:  # noqa: ARG002
        kind = type(target)
        if kind is types.FunctionType or not self.is_on:
            return
        self._caller = code
        if code.co_filename == _GENERICPATH and code.co_name in _OF_TIMES and not _is_airflow(sys._getframe(2)):
            self.refuse("it asks for the time of a file")
        if id(first) in self._guarded and not self._is_asked_by_airflow(self.impure(target, None)):
            self.refuse(self._guarded[id(first)][1])
        if id(target) in self._fine and type(first) not in _NATIVE:
            return
        if (key := self.impure(target, first)) is None:
            if (
                kind in _DESCRIPTORS
                or (isinstance(target, type) and target is not operator.methodcaller)
                or (kind is types.BuiltinFunctionType and _is_plain(target))
            ):
                self._fine[id(target)] = target
        elif not self._is_asked_by_airflow(key):
            self.refuse(f"it calls {'.'.join(key)}")

    def heard(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        if event not in _EVENTS:
            self.refuse(f"it does {event}")
        elif event == "open":
            path, _, flags = args
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or not self._may_look_at(path):
                self.refuse(f"it opens {path}")
            if not isinstance(path, int):
                self.opened.add(os.fsdecode(path))
        elif event in ("os.listdir", "os.scandir") and not self._may_look_at(args[0]):
            self.refuse(f"it lists {args[0]}")

    # --- what passes ----------------------------------------------------------------------------------------------

    def impure(self, target: Any, first: Any) -> _Key | None:
        """Module and name of what is called, or of what it will call; None if that is pure."""
        kind = type(target)
        if kind is types.FunctionType:
            return None
        if kind is types.MethodType:
            return self.impure(target.__func__, target.__self__)
        if target is operator.methodcaller:
            return None if type(first) is str and first in _OF_DICTS else ("operator", "methodcaller")
        if kind is operator.methodcaller:
            return self.impure(kind, target.__reduce__()[1][0])
        if isinstance(target, type):
            return self._of_type(target, first)
        if kind is types.BuiltinFunctionType:
            return self._of_function(target, first)
        if kind in _DESCRIPTORS:
            owner, name = target.__objclass__, target.__name__
            return self._of_first(first) if self._is_pure_method(owner, name) else (owner.__module__, name)
        if kind is types.MethodWrapperType:
            owner, name = target.__objclass__, target.__name__
            return None if self._is_pure_method(owner, name) else (owner.__module__, name)
        if kind is functools.partial:
            return self.impure(target.func, target.args[0] if target.args else first)
        if kind is _LRU_CACHE:
            return self.impure(target.__wrapped__, first)
        called = _found(kind, "__call__")
        if isinstance(called, types.FunctionType):
            return None
        return None if self._is_pure_type(_owner(kind, "__call__")) else (kind.__module__, kind.__qualname__)

    def _of_type(self, target: type, first: Any) -> _Key | None:
        for what in ("__new__", "__init__"):
            owner = _owner(target, what)
            found = vars(owner)[what]
            if isinstance(getattr(found, "__func__", found), types.FunctionType):
                continue
            if not self._is_pure_type(owner):
                return owner.__module__, owner.__qualname__
            if owner is io.FileIO:
                return owner.__module__, owner.__qualname__
        return self._of_first(first)

    def _of_first(self, first: Any) -> _Key | None:
        """Of a function that a pure one may call unseen, as it gets it: `map(time.time, …)`."""
        return self.impure(first, None) if type(first) in _NATIVE else None

    def _of_function(self, target: Any, first: Any) -> _Key | None:
        name, bound = target.__name__, target.__self__
        if bound is None or isinstance(bound, types.ModuleType):
            key = (target.__module__ or "", name)
            if key in _OF_FILES:
                return None if self._may_look_at(first) else key
            if key not in _NAMES and key[0] not in _MODULES:
                return key
            return None if key[1] in _LOOK_AT_FUNCTIONS else self._of_first(first)
        if id(bound) in self._guarded:
            return "os", "environ"
        is_of_type = isinstance(bound, type) and any(name in vars(each) for each in bound.__mro__)
        owner = _owner(bound if is_of_type else type(bound), name, is_native=True)
        return self._of_first(first) if self._is_pure_method(owner, name) else (owner.__module__, name)

    def _is_pure_method(self, owner: type, name: str) -> bool:
        return self._is_pure_type(owner) and name not in _OF_MOMENT

    @staticmethod
    def _is_pure_type(owner: type) -> bool:
        if id(owner) in _PURE_IDS or owner.__module__.partition(".")[0] in PURE_PACKAGES:
            return True
        return owner.__module__ == "builtins" and issubclass(owner, BaseException)

    def _may_look_at(self, path: Any) -> bool:
        if isinstance(path, int):
            return not isinstance(path, bool) and path > 2
        try:
            named = os.fspath(path)
        except TypeError:
            return False
        named = named.decode(errors="replace") if isinstance(named, bytes) else named
        if not named.startswith("/") or "/.." in named:
            return False
        if named.startswith(self._folders) or f"{named}/" in self._folders:
            return True
        # Others change what lies above, and when: only whether it is there may be asked.
        return named in self._parents and self._caller is not None and self._caller.co_filename in _LOOKS_AT_PARENTS

    @staticmethod
    def _is_asked_by_airflow(key: _Key | None) -> bool:
        places = None if key is None else _ASKED_BY_AIRFLOW.get(key)
        if places is None:
            return False
        frame: types.FrameType | None = sys._getframe(2)
        names = list[str]()
        while frame is not None and len(names) < 2:
            names.append(f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}")
            frame = frame.f_back
        return any(_stands(place, names) for place in places)


def _stands(place: str, names: Sequence[str]) -> bool:
    """Whether a place of `_ASKED_BY_AIRFLOW` is that of the innermost calls. One that ends with `:` or `/` means all in
    it."""
    for wanted, name in zip(place.split(" < "), names, strict=False):
        is_in = wanted in name if wanted.endswith((":", "/")) else name.endswith(wanted)
        if not is_in or not name.startswith(_INSTALLED):
            return False
    return True


_INSTALLED: Final = tuple(
    {
        f"{os.path.dirname(os.path.dirname(file))}/"
        for module in ("airflow", "gust")
        if (file := getattr(sys.modules.get(module), "__file__", None))
    }
    | {f"{os.path.dirname(os.__file__)}/"}
)


def _is_airflow(frame: types.FrameType) -> bool:
    return frame.f_code.co_filename.startswith(tuple(f"{each}airflow/dag_processing/" for each in _INSTALLED))


_DESCRIPTORS: Final = frozenset(
    {types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType}
)
_NATIVE: Final = frozenset({types.BuiltinFunctionType, functools.partial, operator.methodcaller, *_DESCRIPTORS})
"""Kinds of functions that a pure one may call unseen when it gets them first."""

_LOOK_AT_FUNCTIONS: Final = frozenset({"getattr", "hasattr", "isinstance", "callable", "id", "hash", "repr", "dir"})
"""They may have native functions, which they do not call."""


def is_impure(function: object) -> bool:
    """Of a native function that stands in a class: Python calls it unseen for an operator, `__hash__ = os.getpid`."""
    return type(function) in _NATIVE and _JUDGE.impure(function, None) is not None


def _is_plain(function: types.BuiltinFunctionType) -> bool:
    """Whether it is a module's, and passes without a look at a path."""
    of_module = function.__self__ is None or isinstance(function.__self__, types.ModuleType)
    return of_module and (function.__module__, function.__name__) not in _OF_FILES


def _owner(kind: type, name: str, *, is_native: bool = False) -> type:
    """The class that defines it for the instances of `kind`. `is_native`: one that is written in Python does not count."""
    mro: tuple[type, ...] = type.__getattribute__(kind, "__mro__")
    for each in mro:
        if name in vars(each) and not (is_native and isinstance(vars(each)[name], types.FunctionType)):
            return each
    return object


def _found(kind: type, name: str) -> object:
    return vars(_owner(kind, name)).get(name)


_JUDGE: Final = Watch(())
