"""Calls of Airflow that a release may change, and settings to make before it is imported. Written against Airflow
3.3.2.

Only this module and `supervisor` use private names of Airflow (`tests/unit/test_airflow_seam.py`). Most of Airflow that
the rest of `airflow_bridge` uses is undocumented all the same: ARCHITECTURE.md says what an upgrade touches. This
module is imported before Airflow is configured, so each function imports what it needs.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from gust.model.airflow_options import is_true
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.keys import TASK_INSTANCE_NAMESPACE
from gust.model.listener import Hook
from gust.model.watched_stream import KINESIS_TRIGGER
from gust.model.workload import HookCall
from gust.scheduling.placement import is_known_executor

log = logging.getLogger(__name__)

DAGS_ROOT: Final = "/dags"
"""Where a bundle seems to lie, in everything that is stored. It is extracted under another path by every function and
for every version; were that path stored, each upload would make a new version of every DAG."""


def prepare_environment() -> None:
    """Set Airflow's configuration for a function that has no metadata database. Before the first import of `airflow`.

    What the environment sets already stays: a deployment configures Airflow with Airflow's own variables.
    """
    home = os.environ.setdefault("AIRFLOW_HOME", str(Path(tempfile.gettempdir()) / "airflow"))
    for name, value in {
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": DAGS_ROOT,
        "AIRFLOW__CORE__PLUGINS_FOLDER": f"{home}/plugins",
        # Nothing ever connects; Airflow wants to see an address.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unused.db",
        # Secrets are looked up as a worker does it, not as the scheduler does it (which reads the database).
        "_AIRFLOW_PROCESS_CONTEXT": "client",
    }.items():
        os.environ.setdefault(name, value)


def import_airflow() -> None:
    """Import Airflow's SDK without libcst, which takes a tenth of a worker's cold start. Airflow imports it for a verb that
    only tasks in another interpreter call (`remove_task_decorator`); that verb's first call imports it. After
    `prepare_environment`. Does nothing the second time, nor where libcst is there already."""
    if "libcst" in sys.modules or _DECORATORS in sys.modules:
        return
    sys.modules["libcst"] = _LibcstAtFirstCall("libcst")
    try:
        importlib.import_module(_DECORATORS)
    finally:
        del sys.modules["libcst"]  # what imports it from here on gets the real one


def know_metrics() -> None:
    """Have Airflow read its table of metrics, which the first of a process's tasks does otherwise, and in C: PyYAML's own
    parser takes 50 ms."""
    import yaml
    from airflow.sdk._shared.observability.metrics import stats

    plain, names = yaml.SafeLoader, vars(yaml)
    names["SafeLoader"] = getattr(yaml, "CSafeLoader", plain)
    try:
        stats._get_registry()
    finally:
        names["SafeLoader"] = plain


@contextlib.contextmanager
def without_engine() -> Iterator[None]:
    """Meanwhile Airflow, if it is imported, makes no engine for its metadata database: a worker's child would take it away
    before it calls a DAG author's code. Airflow makes none in a process that it starts for a user to run as."""
    if "airflow" in sys.modules or _STARTED_AGAIN in os.environ:
        yield
        return
    os.environ[_STARTED_AGAIN] = "1"
    try:
        yield
    finally:
        del os.environ[_STARTED_AGAIN]
    from airflow.configuration import conf

    conf.mask_secrets()  # which Airflow does together with the engine


def listen_to_models() -> None:
    """What Airflow sets up together with its engine: the first object of a model has all models imported, because they name
    each other."""
    from airflow.utils.orm_event_handlers import setup_event_handlers
    from sqlalchemy import create_engine

    setup_event_handlers(create_engine("sqlite://"))


_STARTED_AGAIN: Final = "_AIRFLOW__REEXECUTED_PROCESS"

_DECORATORS: Final = "airflow.sdk.definitions._internal.decorators"
"""Airflow's only module that imports libcst."""


class _LibcstAtFirstCall(ModuleType):
    """Stands for libcst in the namespace of Airflow's module of decorators."""

    CSTTransformer = object
    """The base of a class that the reload makes anew."""

    @staticmethod
    def parse_module(source: str) -> Any:
        # Made anew in the same namespace, which is the caller's: the rest of the call finds the real libcst.
        return importlib.reload(sys.modules[_DECORATORS]).cst.parse_module(source)


def log_here() -> None:
    """Have Airflow log to this process's stderr, whatever the process it was forked from logged to."""
    from airflow.sdk.log import configure_logging

    configure_logging(output=sys.stderr.buffer)


def use_dags_folder(folder: Path) -> None:
    """Make it Airflow's DAGS_FOLDER in this process: DAG files locate files beside them by it."""
    from airflow import settings

    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = settings.DAGS_FOLDER = str(folder)


def use_plugins_of(bundle: Path) -> None:
    """Make `plugins/` of an extracted bundle Airflow's PLUGINS_FOLDER, in this process, before plugins are looked up.

    Airflow keeps loaded plugins for the life of a process: call it in a child made for one bundle. Plugins that the
    parent may have looked up are forgotten.
    """
    from airflow import settings

    folder = str(bundle / PLUGINS_PREFIX.rstrip("/"))
    settings.PLUGINS_FOLDER = folder
    os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = folder
    if folder not in sys.path:
        sys.path.append(folder)
    if (sdk_settings := sys.modules.get("airflow.sdk.plugins_manager")) is not None and hasattr(
        sdk_settings, "settings"
    ):
        sdk_settings.settings.PLUGINS_FOLDER = folder
    for name in (
        "airflow.plugins_manager",
        "airflow.sdk.plugins_manager",
        "airflow.listeners.listener",
        "airflow.sdk.listener",
    ):
        for lookup in vars(sys.modules.get(name, object)).values():
            if hasattr(lookup, "cache_clear"):
                lookup.cache_clear()


def use_environment(folder: Path) -> None:
    """Make a folder on `sys.path` known to the caches that this process, or its parent, has filled before: packages that
    share a name with imported ones (Airflow's providers), and entry points."""
    import pkgutil
    import site

    import airflow

    importlib.invalidate_caches()
    airflow.__path__ = pkgutil.extend_path(airflow.__path__, airflow.__name__)
    for lines in sorted(folder.glob("*.pth")):
        site.addpackage(str(folder), lines.name, set())
    if folder in _known_environments:
        return
    for name in ("airflow._shared.module_loading", "airflow.sdk._shared.module_loading"):
        for lookup in vars(sys.modules.get(name, object)).values():
            if hasattr(lookup, "cache_clear"):
                lookup.cache_clear()
    for module, manager in (
        ("airflow.providers_manager", "ProvidersManager"),
        ("airflow.sdk.providers_manager_runtime", "ProvidersManagerTaskRuntime"),
    ):
        if (known := getattr(sys.modules.get(module), manager, None)) is not None:
            known._initialized = False
            known._instance = None


_known_environments: Final[set[Path]] = set()
"""Of this process and of the processes that it is a fork of: at most one."""


def know_environment(folder: Path) -> None:
    """Have Airflow look which providers and plugins are in the environment that this process uses. Each process does that at
    its first `@task`, which takes 40 ms; forks of this one find what it has found."""
    _know_decorators()
    _known_environments.add(folder)


def knows_environment(folder: Path) -> bool:
    return folder in _known_environments


def preload() -> None:
    """Import what nearly every DAG file imports, so that children forked from here need not."""
    import airflow.dag_processing.dagbag
    import airflow.dag_processing.importers
    import airflow.models.dagwarning
    import airflow.providers.standard.decorators.bash
    import airflow.providers.standard.decorators.branch_python
    import airflow.providers.standard.decorators.python
    import airflow.providers.standard.decorators.sensor
    import airflow.providers.standard.decorators.short_circuit
    import airflow.providers.standard.operators.bash
    import airflow.providers.standard.operators.empty
    import airflow.providers.standard.operators.latest_only
    import airflow.providers.standard.operators.python
    import airflow.providers.standard.operators.trigger_dagrun
    import airflow.sdk
    import airflow.sdk.execution_time.supervisor
    import airflow.serialization.serialized_objects
    import airflow.utils.dag_version_inflation_checker

    know_executors(airflow.dag_processing.dagbag)
    _know_decorators()
    _know_frames()
    _track_no_bundles()


def _know_frames() -> None:
    """Have msgspec look what a reply of the supervisor consists of, as it does at a type's first decoder."""
    import msgspec
    from airflow.sdk.execution_time import comms

    msgspec.msgpack.Decoder(comms._ResponseFrame)


def _track_no_bundles() -> None:
    """Airflow writes a file for each try, and locks it, so that no worker removes a bundle in use. Gust's bundles
    are removed by `BundleFolder`, which knows which one its worker uses."""
    from airflow.dag_processing.bundles.base import BundleVersionLock

    BundleVersionLock.acquire = lambda _: None


def _know_decorators() -> None:
    """Have Airflow look which providers bring a decorator, as each process does at its first `@task`."""
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    _ = ProvidersManagerTaskRuntime().taskflow_decorators


def know_executors(dagbag: Any) -> None:
    """Have Airflow accept files whose tasks name one of AWS's executors, even if `[core] executor` does not list them:
    in Gust those names select Lambda or Fargate. Does nothing the second time."""
    exists = dagbag._executor_exists
    if getattr(exists, "knows_executors", False):
        return

    def exists_or_is_known(executor_name: str, team_name: str | None) -> bool:
        return is_known_executor(executor_name) or exists(executor_name, team_name)

    exists_or_is_known.knows_executors = True  # type: ignore[attr-defined]
    dagbag._executor_exists = exists_or_is_known


def airflow_version() -> str:
    from airflow.version import version

    return str(version)


def airflow_modules() -> frozenset[str]:
    """Airflow's modules, providers among them, that this process has imported."""
    return frozenset(name for name in list(sys.modules) if name.startswith("airflow."))


def preimport(modules: Iterable[str], *, asset_handlers: bool) -> None:
    """Import modules of Airflow's that a DAG file imported, so that later children have them already. This does not
    read the file itself; the child imports modules of packages that are not installed here."""

    if asset_handlers:
        # The first asset of a process imports every provider that knows a scheme of URIs: a second, boto3 among it.
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

        _ = ProvidersManagerTaskRuntime().asset_uri_handlers

    for module in sorted(modules):
        if module in sys.modules or not all(part.isidentifier() for part in module.split(".")):
            continue
        try:
            importlib.import_module(module)
        except Exception as error:
            # The child meets the same error, and reports it as the file's own.
            log.debug("%s cannot be imported: %s", module, error)


def is_dag_file(bundle: Path, path: str, place: Path) -> bool:
    """Whether Airflow's own search finds the file, with `.airflowignore`, zips and safe mode. The search sees an empty
    folder below `place` with links to this file and to the `.airflowignore` files above it."""
    from airflow.configuration import conf
    from airflow.dag_processing.importers import get_importer_registry

    shadow = place / "searched"
    file = shadow / path
    file.parent.mkdir(parents=True)
    file.symlink_to(bundle / path)
    for folder in Path(path).parents:
        if (ignore := bundle / folder / ".airflowignore").is_file():
            (shadow / folder / ".airflowignore").symlink_to(ignore)
    safe_mode = conf.getboolean("core", "dag_discovery_safe_mode")
    found = get_importer_registry().list_dag_files(shadow, safe_mode=safe_mode)
    return any(Path(one) == file for one in found)


def import_timeout(file: Path) -> float:
    """Seconds that Airflow lets the import of this file take; 0 or less: no limit."""
    from airflow import settings

    return float(settings.get_dagbag_import_timeout(str(file)))


def module_name_of(path: str) -> str:
    """The name under which Airflow imports a DAG file. It contains a hash of the path."""
    from airflow.utils.file import get_unique_dag_module_name

    return str(get_unique_dag_module_name(path))


def import_dags(file: Path, bundle: Path, bundle_name: str) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """DAG objects by dag_id, Airflow's import errors by file, and by dag_id the file whose code made the DAG: a file
    gives those of modules that it imports, too, under its own name."""
    from airflow.dag_processing.dagbag import BundleDagBag

    with _places_noted() as made_in:
        bag = BundleDagBag(dag_folder=str(file), bundle_path=bundle, bundle_name=bundle_name, load_op_links=False)
    return dict(bag.dags), dict(bag.import_errors), made_in


@contextlib.contextmanager
def _places_noted() -> Iterator[dict[str, str]]:
    """Note where DAGs say that they were made, before Airflow's importer writes the parsed file's name over it."""
    from airflow.dag_processing.importers.python_importer import PythonDagImporter
    from airflow.sdk import DAG
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    made_in: dict[str, str] = {}
    process_modules = PythonDagImporter._process_modules

    def noting(self: Any, filepath: str, mods: list[Any], *args: Any, **kwargs: Any) -> Any:
        named = (thing for mod in mods for thing in vars(mod).values() if isinstance(thing, DAG))
        for dag in (*named, *(dag for dag, _ in DagContext.autoregistered_dags)):
            made_in[dag.dag_id] = dag.fileloc
        return process_modules(self, filepath, mods, *args, **kwargs)

    PythonDagImporter._process_modules = noting
    try:
        yield made_in
    finally:
        PythonDagImporter._process_modules = process_modules


def serialized(dag: Any) -> dict[str, Any]:
    """Airflow's serialized form of a DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    data: dict[str, Any] = DagSerialization.to_dict(dag)
    return data


def deserialized(data: dict[str, Any]) -> Any:
    """Airflow's SerializedDAG. Takes the dict apart: give it one of its own."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(data)


def expand_input_of_group(group: Any) -> Any:
    """What a mapped task group of a SerializedDAG is expanded over."""
    return group._expand_input


def expand_input_of_task(task: Any) -> Any:
    """What a mapped task of a SerializedDAG is expanded over."""
    return task._get_specified_expand_input()


def module_of_operator(task: Any) -> str:
    """The module of the operator's class; empty where the DAG does not tell."""
    return task._task_module or ""


def encoded_weight_rule(rule: Any) -> str:
    """A priority weight strategy as the serialized DAG names it."""
    from airflow.serialization.serialized_objects import _encode_priority_weight_strategy

    encoded = _encode_priority_weight_strategy(rule)
    return str(getattr(encoded, "value", encoded))


def decoded_timetable(data: dict[str, Any]) -> Any:
    """A timetable from Airflow's encoding; a plugin's must have been made known by `use_plugins_of`."""
    from airflow.serialization.decoders import decode_timetable

    return decode_timetable(data)


def decoded_partition_mapper(data: dict[str, Any]) -> Any:
    """As `decoded_timetable`."""
    from airflow.serialization.decoders import decode_partition_mapper

    return decode_partition_mapper(data)


def is_partition_satisfied(mapper: Any, key: str, received: set[str]) -> bool:
    """As Airflow's scheduler decides: a mapper that rolls nothing up is satisfied by its first event."""
    if not mapper.is_rollup:
        return True
    expected = mapper.to_upstream(key)
    return bool(mapper.wait_policy.is_satisfied_by_keys(matched=received, expected=expected).satisfied)


def next_run(
    timetable: Any, *, last: dict[str, str | None] | None, earliest: str | None, latest: str | None, catchup: bool
) -> dict[str, str | None] | None:
    """What the timetable answers, moments as ISO 8601, and how it names the run."""
    from airflow.timetables.base import TimeRestriction

    info = timetable.next_dagrun_info_v2(
        last_dagrun_info=_run_info(last) if last else None,
        restriction=TimeRestriction(
            earliest=_moment(earliest) if earliest else None,
            latest=_moment(latest) if latest else None,
            catchup=catchup,
        ),
    )
    if info is None:
        return None
    return {**_written(info), "run_id": _run_id(timetable, "scheduled", info)}


def runs_between(timetable: Any, *, earliest: str, latest: str) -> list[dict[str, str | None]]:
    """All that the timetable makes of the stretch, whatever the DAG's own dates say."""
    from airflow.timetables.base import TimeRestriction

    first, end = _moment(earliest), _moment(latest)
    if timetable.partitioned:
        return [_written(info) for info in timetable.iter_partition_dagrun_infos(earliest=first, latest=end)]
    within = TimeRestriction(first, end, catchup=True)
    found: list[dict[str, str | None]] = []
    last = None
    try:
        while (last := timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=within)) is not None:
            found.append(_written(last))
    except Exception:
        # As Airflow has it: what a timetable raises ends its list.
        log.exception("%s has no run after %s", timetable.summary, last)
    return found


def manual_interval(timetable: Any, run_after: str) -> dict[str, str]:
    return _interval(timetable.infer_manual_data_interval(run_after=_moment(run_after)))


def deadline_moment(reference: dict[str, Any], *, dag_id: str, run_id: str) -> str | None:
    """What a plugin's deadline reference answers, as ISO 8601. There is no database behind `session`: a reference that
    wants one fails."""
    from airflow.serialization.decoders import decode_deadline_reference

    found = decode_deadline_reference(reference)
    wanted = {"dag_id": dag_id, "run_id": run_id}
    required: set[str] = getattr(found.inner_ref, "required_kwargs", set())
    if missing := required - wanted.keys():
        raise ValueError(f"{found.reference_name} is missing required parameters: {', '.join(sorted(missing))}")
    moment = found._evaluate_with(session=None, **{name: wanted[name] for name in required})
    return None if moment is None else str(moment.isoformat())


def _interval(interval: Any) -> dict[str, str]:
    return {"start": interval.start.isoformat(), "end": interval.end.isoformat()}


def run_id(timetable: Any, run_type: str, run: dict[str, str | None]) -> str:
    """How the timetable names a run."""
    return _run_id(timetable, run_type, _run_info(run))


def _run_id(timetable: Any, run_type: str, info: Any) -> str:
    from airflow.utils.types import DagRunType

    return str(
        timetable.generate_run_id(
            run_type=DagRunType(run_type),
            run_after=info.run_after,
            data_interval=info.data_interval,
            partition_key=info.partition_key,
        )
    )


def has_own_run_ids(timetable: Any) -> bool:
    """Whether the timetable names its runs otherwise than Airflow's do."""
    from airflow.timetables.base import Timetable

    return type(timetable).generate_run_id is not Timetable.generate_run_id


def _run_info(run: dict[str, str | None]) -> Any:
    from airflow.timetables.base import DagRunInfo, DataInterval

    moments = {name: _moment(run[name]) if run[name] else None for name in ("run_after", "start", "end")}
    covered = DataInterval(moments["start"], moments["end"]) if moments["start"] else None
    date = run["partition_date"]
    return DagRunInfo(moments["run_after"], covered, _moment(date) if date else None, run["partition_key"])


def _written(info: Any) -> dict[str, str | None]:
    covered = info.data_interval
    return {
        "run_after": info.run_after.isoformat(),
        "start": covered.start.isoformat() if covered else None,
        "end": covered.end.isoformat() if covered else None,
        "partition_date": info.partition_date.isoformat() if info.partition_date else None,
        "partition_key": info.partition_key,
    }


def _moment(text: Any) -> Any:
    """A pendulum datetime: timetables may use its additional methods."""
    import pendulum

    return pendulum.parse(text)


def ask_through(comms: Any) -> None:
    """Have Airflow ask for variables and connections through `comms`, in this process, as it does in a task."""
    from airflow.sdk.execution_time import task_runner

    task_runner.SUPERVISOR_COMMS = comms


def way_to_supervisor() -> tuple[Any, str]:
    """Module and name under which Airflow puts a child's way to ask its supervisor."""
    from airflow.sdk.execution_time import task_runner

    return task_runner, "SUPERVISOR_COMMS"


@contextlib.contextmanager
def questions_counted() -> Iterator[Callable[[], int]]:
    """In a process without a supervisor: meanwhile each question to one counts, and fails."""
    from airflow.sdk.execution_time import task_runner

    refuses = _Refuses()
    task_runner.SUPERVISOR_COMMS = refuses
    try:
        yield lambda: refuses.questions
    finally:
        del task_runner.SUPERVISOR_COMMS


class _Refuses:
    def __init__(self) -> None:
        self.questions = 0

    def __getattr__(self, name: str) -> Any:
        self.questions += 1
        raise AttributeError(f"{name}: this process has no supervisor")


def read_options_again(options: Collection[str]) -> None:
    """Have those of the options count in this process that Airflow has read while it was imported: the parent imported it
    without the options of a bundle."""
    for names, read_again in (
        (_OF_TIME_ZONE, _read_time_zone_again),
        (_OF_MASKS, _read_masks_again),
        (_OF_XCOM_VALUES, _forget_classes_of_xcoms),
        (_OF_OPERATORS, _read_defaults_of_operators_again),
        (_OF_XCOM, _read_xcom_backend_again),
    ):
        if not names.isdisjoint(options):
            read_again()


_OF_TIME_ZONE: Final = frozenset({"core.default_timezone"})
_OF_MASKS: Final = frozenset(
    {"core.hide_sensitive_var_conn_fields", "core.sensitive_var_conn_names", "logging.min_length_masked_secret"}
)
_OF_XCOM_VALUES: Final = frozenset(
    {"core.allowed_deserialization_classes", "core.allowed_deserialization_classes_regexp"}
)
_OF_OPERATORS: Final = frozenset(
    {
        *("operators.default_owner", "operators.default_queue"),
        *("core.default_task_retries", "core.default_task_retry_delay", "core.default_task_weight_rule"),
        "core.default_task_execution_timeout",
        *("email.default_email_on_failure", "email.default_email_on_retry"),
    }
)
_OF_XCOM: Final = frozenset({"core.xcom_backend"})


def _read_time_zone_again() -> None:
    from airflow import settings
    from airflow._shared.timezones import timezone as of_core
    from airflow.configuration import conf
    from airflow.sdk._shared.timezones import timezone as of_sdk

    zone = conf.get_mandatory_value("core", "default_timezone")
    for timezones in (of_core, of_sdk):
        timezones.initialize(zone)
    settings.TIMEZONE = of_core.local_timezone() if zone == "system" else of_core.parse_timezone(zone)


def _read_masks_again() -> None:
    from airflow import settings

    settings._configure_secrets_masker()


def mask_as_told(options: Mapping[str, str]) -> None:
    """Have this process, a child's parent, mask the values of names that a bundle's options call secret: it masks the lines
    that the child prints. Names of an earlier bundle no longer count."""
    from airflow._shared.secrets_masker import DEFAULT_SENSITIVE_FIELDS, _secrets_masker
    from airflow.configuration import conf
    from airflow.sdk._shared.secrets_masker import _secrets_masker as of_sdk

    more = options.get("core.sensitive_var_conn_names", conf.get("core", "sensitive_var_conn_names", fallback=""))
    names = [*DEFAULT_SENSITIVE_FIELDS, *(name.strip() for name in more.split(",") if name.strip())]
    told = options.get("core.hide_sensitive_var_conn_fields")
    hides = conf.getboolean("core", "hide_sensitive_var_conn_fields") if told is None else is_true(told)
    for masker in (_secrets_masker(), of_sdk()):
        if (masker.sensitive_variables_fields, masker.hide_sensitive_var_conn_fields) != (names, hides):
            masker.sensitive_variables_fields = names
            masker.hide_sensitive_var_conn_fields = hides
            vars(masker).pop("should_hide_value_for_key", None)
        if "should_hide_value_for_key" not in vars(masker):
            # The same ten names come with each line of a log.
            masker.should_hide_value_for_key = _remembering(masker.should_hide_value_for_key)


def _remembering(hides: Callable[[Any], bool]) -> Callable[[Any], bool]:
    known = lru_cache(maxsize=512)(hides)
    return lambda name: known(name) if isinstance(name, str) and len(name) <= 100 else hides(name)


def _forget_classes_of_xcoms() -> None:
    from airflow.sdk import serde

    for cached in (serde._match_glob, serde._match_regexp, serde._get_patterns, serde._get_regexp_patterns):
        cached.cache_clear()


def _read_defaults_of_operators_again() -> None:
    import inspect
    from datetime import timedelta

    from airflow.configuration import conf
    from airflow.sdk import WeightRule
    from airflow.sdk.bases import operator
    from airflow.sdk.definitions import mappedoperator
    from airflow.sdk.definitions._internal import abstractoperator

    defaults = {
        "owner": conf.get_mandatory_value("operators", "default_owner"),
        "queue": conf.get_mandatory_value("operators", "default_queue"),
        "retries": conf.getint("core", "default_task_retries"),
        "retry_delay": timedelta(seconds=conf.getint("core", "default_task_retry_delay")),
        "weight_rule": WeightRule(conf.get_mandatory_value("core", "default_task_weight_rule")),
        "execution_timeout": conf.gettimedelta("core", "default_task_execution_timeout"),
        "email_on_failure": conf.getboolean("email", "default_email_on_failure"),
        "email_on_retry": conf.getboolean("email", "default_email_on_retry"),
    }
    constants = {"execution_timeout": "DEFAULT_TASK_EXECUTION_TIMEOUT"}
    operator.OPERATOR_DEFAULTS.update(defaults)
    inspect.unwrap(operator.BaseOperator.__init__).__kwdefaults__.update(defaults)
    for name, value in defaults.items():
        setattr(operator.BaseOperator, name, value)
        for module in (abstractoperator, operator, mappedoperator):
            constant = constants.get(name, f"DEFAULT_{name.upper()}")
            if hasattr(module, constant):
                setattr(module, constant, value)


def _read_xcom_backend_again() -> None:
    from airflow.sdk.execution_time import xcom

    before = xcom.XCom
    try:
        xcom.XCom = xcom.resolve_xcom_backend()
    except Exception as error:  # a DAG author's module may raise anything
        xcom.XCom = _unloadable_xcom_backend(f"{type(error).__name__}: {error}")
    for module in [module for name, module in list(sys.modules.items()) if name.startswith("airflow.")]:
        if vars(module).get("XCom") is before:
            vars(module)["XCom"] = xcom.XCom


def _unloadable_xcom_backend(problem: str) -> Any:
    """A class that raises with the problem when a task uses an XCom: DAG files can be parsed without one."""
    from airflow.configuration import AirflowConfigException
    from airflow.sdk.bases.xcom import BaseXCom

    def refuse(*args: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - stands for several methods
        raise AirflowConfigException(f"The class that [core] xcom_backend names cannot be used. {problem}")

    methods = ("set", "get_one", "get_value", "get_all", "delete", "serialize_value", "deserialize_value")
    return type("UnloadableXCom", (BaseXCom,), {name: staticmethod(refuse) for name in methods})


def use_secrets_of_execution_api() -> None:
    """Make the execution API this process's secrets backend: asked first, before the environment, as in Airflow."""
    from airflow.configuration import AirflowConfigParser
    from airflow.sdk.configuration import AirflowSDKConfigParser

    from gust.airflow_bridge.secrets_backend import ExecutionApiSecrets

    backend = ExecutionApiSecrets()
    for parser in (AirflowConfigParser, AirflowSDKConfigParser):
        parser._get_custom_secret_backend = lambda self, worker_mode=None: backend  # noqa: ARG005 - Airflow's signature


def secrets_in(value: str) -> list[str]:
    """Password and extra of a connection as a secrets backend holds it; the whole value where it is no connection."""
    from gust.airflow_bridge.secrets_backend import ExecutionApiSecrets

    try:
        connection = ExecutionApiSecrets().deserialize_connection("unnamed", value)
    except Exception:  # Airflow's and its URL parser's, of several kinds
        return [value]
    return [secret for secret in (connection.password, connection.extra) if secret]


def masked(text: str, secrets: Iterable[tuple[Any, str | None]]) -> str:
    """The text with `***` for values that Airflow hides: those without a name, and those whose name marks a secret."""
    from airflow.sdk._shared.secrets_masker import SecretsMasker, _secrets_masker

    configured, masker = _secrets_masker(), SecretsMasker()
    masker.min_length_to_mask = configured.min_length_to_mask
    masker.sensitive_variables_fields = configured.sensitive_variables_fields
    masker.secret_mask_adapter = configured.secret_mask_adapter
    masker.hide_sensitive_var_conn_fields = configured.hide_sensitive_var_conn_fields
    for value, name in secrets:
        masker.add_mask(value, name)
    return str(masker.redact(text))


# --- triggers -----------------------------------------------------------------------------------------------------------


def trigger_arguments(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger's arguments for its constructor: values that were serialized one by one, decoded."""
    if not _is_encoded(kwargs):
        return dict(kwargs)
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    return {name: smart_decode_trigger_kwargs(value) for name, value in kwargs.items()}


def _is_encoded(value: Any) -> bool:
    """Whether Airflow's decoder, which imports its database models, has anything to do."""
    if isinstance(value, Mapping):
        return any(str(key) in _TYPE for key in value) or any(map(_is_encoded, value.values()))
    return isinstance(value, list) and any(map(_is_encoded, value))


_TYPE: Final = ("__type", "Encoding.TYPE")
"""The key of an encoded value's type, as it is and as some versions of Airflow have written it."""


def needs_models(definition: Mapping[str, Any]) -> bool:
    """Whether a child that makes this trigger needs Airflow's database models: for its template, or to decode arguments."""
    text = json.dumps(definition)
    return bool(definition.get("template")) or any(name in text for name in _TYPE)


def decoded_values(encoded: Any) -> Any:
    """Values in the encoding of the serialized DAG, which is older than serde's."""
    from airflow.serialization.serialized_objects import BaseSerialization

    return BaseSerialization.deserialize(encoded)


def render_trigger(trigger: Any, ti: Any, template: Mapping[str, Any]) -> None:
    """Render a trigger's template fields as a worker would have: its arguments came from the DAG file by way of the
    scheduler, which renders nothing. `ti` is the Task SDK's instance."""
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time import task_runner

    task = deserialized(dict(template["serialized_dag"])).get_task(ti.task_id)
    context = TIRunContext.model_construct(
        dag_run=DagRun.model_validate(template["dag_run"]), max_tries=template["max_tries"]
    )
    runtime_ti = task_runner.RuntimeTaskInstance.model_construct(
        **ti.model_dump(exclude_unset=True), task=task, _ti_context_from_server=context
    )
    trigger.task_instance = runtime_ti
    trigger.render_template_fields(context=runtime_ti.get_template_context())


def state_stores_of(assets: Iterable[Mapping[str, str]]) -> Any:
    """Access to the state stores of these assets (`name`, `uri`), as a watcher's trigger is given it."""
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    return AssetStateStoreAccessors(inlets=[Asset(name=asset["name"], uri=asset["uri"]) for asset in assets])


KINESIS_MARGIN: Final = timedelta(seconds=2)
"""How far the clocks of Gust and of Kinesis may differ. A record within it may be read twice, if the trigger can keep no
checkpoint."""

EMPTY_ANSWERS: Final = 50
"""How many empty answers of a shard that is behind one look follows at most."""

BETWEEN_READS: Final = 0.2
"""Seconds. AWS allows five reads a second and shard."""


@dataclass(slots=True)
class KinesisLook:
    """How far a life of a watcher has read its stream. Of other watchers it knows nothing."""

    unread: set[str] = field(default_factory=set)
    """Shards that this life has not yet read up to records or to the end."""
    on_the_way: set[str] = field(default_factory=set)
    """Shards whose last answer was empty though they go on."""
    has_begun: bool = False
    owes_checkpoint: bool = False
    """Records are read, and the trigger has not yet come to storing its place."""

    @property
    def is_on_the_way(self) -> bool:
        return bool(self.on_the_way)

    @property
    def is_complete(self) -> bool:
        """Whether this life has read all that came before it began: of each shard either records, after which its
        checkpoint goes on, or the end."""
        return self.has_begun and not self.unread and not self.owes_checkpoint


def read_kinesis_on(trigger: Any, *, looked_at: datetime | None, woken_at: datetime) -> KinesisLook:
    """Have a watcher's `KinesisTrigger` miss nothing between its lives; returns how far it reads. Other triggers stay as
    they are.

    A shard without a checkpoint, which is one without a record so far, is read from `LATEST` on: in Airflow once, as the
    trigger runs on; in a parked watcher at each of its lives, so that it would hear only of records that come within one.
    Here it is read from `looked_at` on, when the last life began whose look was complete. So is a shard whose checkpoint
    is of a stream that was since made anew. Without `looked_at` it is the look before the sleep that ended at `woken_at`.

    GetRecords may answer with no records on the way to the next record. Airflow's trigger goes on from there at its next
    look; a parked watcher forgets how far it came. Here a look reads on until it has records or all of the shard, for
    `EMPTY_ANSWERS` answers at most, and a watcher that `is_on_the_way` then is not to be parked at its sleep."""
    look = KinesisLook()
    if KINESIS_TRIGGER not in {f"{kind.__module__}.{kind.__qualname__}" for kind in type(trigger).__mro__}:
        return look
    since = (looked_at or woken_at - timedelta(seconds=trigger.waiter_delay)) - KINESIS_MARGIN
    otherwise, read, save = trigger._get_shard_iterator, trigger._get_records, trigger._save_checkpoint

    async def iterator(client: Any, shard_id: str, after: str | None, fallback: str) -> str:
        look.has_begun = True
        look.unread.add(shard_id)
        if fallback != "LATEST":
            return str(await otherwise(client, shard_id, after, fallback))
        place = {"StreamName": trigger.stream_name, "ShardId": shard_id}
        if after:
            try:
                return str((await client.get_shard_iterator(**place, **_after(after)))["ShardIterator"])
            except client.exceptions.InvalidArgumentException:
                trigger.log.warning("The checkpoint of shard %s is no longer valid", shard_id)
        answer = await client.get_shard_iterator(**place, ShardIteratorType="AT_TIMESTAMP", Timestamp=since)
        return str(answer["ShardIterator"])

    async def records(client: Any, shard_id: str, at: str, after: str | None, fallback: str) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = await read(client, shard_id, at, after, fallback)
        for _ in range(EMPTY_ANSWERS):
            if not _is_on_the_way(answer):
                break
            # In a task of its own: a sleep of the trigger's own would count as one of its sleeps (`pace`).
            await asyncio.create_task(asyncio.sleep(BETWEEN_READS))
            try:
                answer = await read(client, shard_id, answer["NextShardIterator"], after, fallback)
            except client.exceptions.ProvisionedThroughputExceededException:
                break
        look.on_the_way.discard(shard_id)
        if _is_on_the_way(answer):
            look.on_the_way.add(shard_id)
        else:
            look.unread.discard(shard_id)
        if answer.get("Records"):
            look.owes_checkpoint = True
        return answer

    async def checkpoint(sequence_numbers: dict[str, str]) -> None:
        await save(sequence_numbers)
        look.owes_checkpoint = False

    trigger._get_shard_iterator, trigger._get_records, trigger._save_checkpoint = iterator, records, checkpoint
    return look


def _after(sequence_number: str) -> dict[str, str]:
    return {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence_number}


def _is_on_the_way(answer: Mapping[str, Any]) -> bool:
    """Whether GetRecords found no records but has not come to the end of the shard."""
    return not answer.get("Records") and bool(answer.get("MillisBehindLatest") and answer.get("NextShardIterator"))


# --- parsing ------------------------------------------------------------------------------------------------------------


def traceback_depth() -> int:
    from airflow.configuration import conf

    return int(conf.getint("core", "dagbag_import_error_traceback_depth"))


def stability(file: Path, bundle: Path) -> tuple[str | None, str | None]:
    """Airflow's check for values that change at every parse: (warning, error), as the configured level makes it."""
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    result = check_dag_file_stability(str(file))
    errors = result.get_error_format_dict(str(file), str(bundle))
    if errors:
        return None, next(iter(errors.values()))
    warnings = result.get_formatted_warnings(["-"])
    return (warnings[0]["message"] if warnings else None), None


RUN_HOOKS: Final = ("on_dag_run_running", "on_dag_run_success", "on_dag_run_failed")
HOOKS: Final = (*RUN_HOOKS, *Hook)


def listeners() -> tuple[str, ...]:
    """Hooks that listeners of this process's plugins implement, but those about tries: a try's own process calls
    them."""
    from airflow.listeners.listener import get_listener_manager

    manager = get_listener_manager()
    if not manager.has_listeners:
        return ()
    return tuple(name for name in HOOKS if getattr(manager.hook, name).get_hookimpls())


# --- callbacks: Airflow's own code of its dag processor, triggerer and scheduler, without their database -----------------


def prepare_callbacks() -> None:
    """Import the modules for callbacks, once, before a child is forked: most workers never run a callback."""
    import airflow.callbacks.callback_requests
    import airflow.dag_processing.processor
    import airflow.sdk.execution_time.callback_supervisor  # noqa: F401


def run_dag_callbacks(file: Path, bundle: Path, bundle_name: str, callback: Mapping[str, Any], log: Any) -> None:
    """`on_success_callback` or `on_failure_callback` of the DAG, with the context that Airflow gives it."""
    from airflow.api_fastapi.execution_api.datamodels import taskinstance as datamodels
    from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext
    from airflow.dag_processing import processor

    run = callback["dag_run"]
    request = DagCallbackRequest(
        filepath=str(file.relative_to(bundle)),
        bundle_name=bundle_name,
        bundle_version=callback["bundle_version"],
        dag_id=run["dag_id"],
        run_id=run["run_id"],
        context_from_server=DagRunContext(
            dag_run=datamodels.DagRun.model_validate(run), last_ti=_datamodel_of_try(callback)
        ),
        is_failure_callback=callback["event"] == "failure",
        msg=callback["reason"],
    )
    processor._execute_dag_callbacks(_dag_bag(file, bundle, bundle_name), request, log)


def run_task_callbacks(file: Path, bundle: Path, bundle_name: str, callback: Mapping[str, Any], log: Any) -> None:
    """`on_failure_callback` or `on_retry_callback` of a task whose try ended without its worker, and its e-mail: both
    with a context of their own, as in Airflow."""
    from airflow.api_fastapi.execution_api.datamodels import taskinstance as datamodels
    from airflow.callbacks.callback_requests import EmailRequest, TaskCallbackRequest
    from airflow.dag_processing import processor
    from airflow.utils.state import TaskInstanceState

    bag = _dag_bag(file, bundle, bundle_name)
    request: dict[str, Any] = {
        "filepath": str(file.relative_to(bundle)),
        "bundle_name": bundle_name,
        "bundle_version": callback["bundle_version"],
        "msg": callback["reason"],
        "ti": _datamodel_of_try(callback),
        "context_from_server": datamodels.TIRunContext(
            dag_run=datamodels.DagRun.model_validate(callback["dag_run"]), max_tries=callback["ti"]["max_tries"]
        ),
    }
    owed = callback["definition"]
    if owed.get("callback", True):
        of = TaskInstanceState.UP_FOR_RETRY if callback["event"] == "retry" else TaskInstanceState.FAILED
        processor._execute_task_callbacks(bag, TaskCallbackRequest(**request, task_callback_type=of), log)
    if owed.get("email", False):
        processor._execute_email_callbacks(bag, EmailRequest(**request, email_type=callback["event"]), log)


def tell_listeners_of_run(callback: Mapping[str, Any], log: Any) -> None:
    """Call one of `on_dag_run_running`, `…_success`, `…_failed` of the plugins' listeners."""
    from airflow.listeners.listener import get_listener_manager

    try:
        getattr(get_listener_manager().hook, callback["event"])(dag_run=_run_of_model(callback), msg=callback["reason"])
    except Exception:
        log.exception("Error while calling listener")


def call_hook(call: HookCall, bundle: Path, log: Any) -> None:
    """Call a hook about an asset or an import error, with what Airflow gives it."""
    from airflow.listeners.listener import get_listener_manager

    try:
        getattr(get_listener_manager().hook, call.hook)(**_arguments(Hook(call.hook), call.arguments, bundle))
    except Exception:
        log.exception("error calling listener")


def _arguments(hook: Hook, given: Mapping[str, Any], bundle: Path) -> dict[str, Any]:
    match hook:
        case Hook.ASSET_CREATED | Hook.ASSET_CHANGED:
            return {"asset": _asset(given)}
        case Hook.ASSET_ALIAS_CREATED:
            return {"asset_alias": _asset_alias(given)}
        case Hook.ASSET_EVENT_EMITTED:
            return {"asset_event": _asset_event(given)}
        case Hook.NEW_IMPORT_ERROR | Hook.EXISTING_IMPORT_ERROR:
            return {"filename": str(bundle / given["filename"]), "stacktrace": given["stacktrace"]}


def _asset(given: Mapping[str, Any]) -> Any:
    from airflow.serialization.definitions.assets import SerializedAsset

    return SerializedAsset(**given, watchers=[])


def _asset_alias(given: Mapping[str, Any]) -> Any:
    from airflow.serialization.definitions.assets import SerializedAssetAlias

    return SerializedAssetAlias(**given)


def _asset_event(given: Mapping[str, Any]) -> Any:
    import pendulum
    from airflow.listeners.types import AssetEvent

    date = given["partition_date"]
    return AssetEvent(
        **{
            **given,
            "asset": _asset(given["asset"]),
            "source_aliases": [_asset_alias(alias) for alias in given["source_aliases"]],
            "partition_date": pendulum.parse(date) if date else None,
        }
    )


def run_deadline_callback(callback: Mapping[str, Any], dag_rel_path: str, bundle: Path, log: Any) -> str | None:
    """Call a deadline alert's callback; returns its error."""
    import pendulum
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.execution_time.callback_supervisor import execute_callback
    from airflow.sdk.serde import deserialize

    definition = deserialize(callback["definition"])
    context = dict(callback["deadline"])
    context["deadline"] = {**context["deadline"], "deadline_time": pendulum.parse(context["deadline"]["deadline_time"])}
    kwargs = {**definition.kwargs, "context": context}
    if isinstance(definition, AsyncCallback):
        return _await_callback(definition.path, kwargs, log)
    is_done, error = execute_callback(definition.path, kwargs, Path(dag_rel_path), bundle, log)
    return None if is_done else error


def _await_callback(path: str, kwargs: dict[str, Any], log: Any) -> str | None:
    """As Airflow's `CallbackTrigger` does, which has the callback to itself here."""
    from airflow.triggers.callback import PAYLOAD_BODY_KEY, PAYLOAD_STATUS_KEY, CallbackTrigger

    async def last_event() -> Mapping[str, Any]:
        payload: Mapping[str, Any] = {}
        async for event in CallbackTrigger(path, kwargs).run():
            payload = event.payload
        return payload

    payload = asyncio.run(last_event())
    if payload.get(PAYLOAD_STATUS_KEY) == "success":
        log.info("Callback executed successfully", callback_path=path)
        return None
    return str(payload.get(PAYLOAD_BODY_KEY))


def _dag_bag(file: Path, bundle: Path, bundle_name: str) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(dag_folder=str(file), bundle_path=bundle, bundle_name=bundle_name, load_op_links=False)


def _datamodel_of_try(callback: Mapping[str, Any]) -> Any:
    """`None` where the context shows no try."""
    from airflow.api_fastapi.execution_api.datamodels import taskinstance as datamodels

    ti = callback["ti"]
    if ti is None:
        return None
    return datamodels.TaskInstance(
        id=ti["id"],
        task_id=ti["task_id"],
        dag_id=callback["dag_run"]["dag_id"],
        run_id=callback["dag_run"]["run_id"],
        try_number=ti["try_number"],
        map_index=ti["map_index"],
        hostname=ti["hostname"],
        dag_version_id=TASK_INSTANCE_NAMESPACE,
    )


def _run_of_model(callback: Mapping[str, Any]) -> Any:
    """The DagRun that listeners are given: Airflow's model, which here has no database behind it."""
    import pendulum
    from airflow.models.dagrun import DagRun
    from airflow.utils.types import DagRunType

    run = callback["dag_run"]

    def at(name: str) -> Any:
        return pendulum.parse(run[name]) if run.get(name) else None

    interval = (at("data_interval_start"), at("data_interval_end"))
    made = DagRun(
        dag_id=run["dag_id"],
        run_id=run["run_id"],
        logical_date=at("logical_date"),
        run_after=at("run_after"),
        start_date=at("start_date"),
        conf=run["conf"],
        state=run["state"],
        run_type=DagRunType(run["run_type"]),
        data_interval=interval if all(interval) else None,
        triggering_user_name=run.get("triggering_user_name"),
        partition_key=run.get("partition_key"),
    )
    made.start_date, made.end_date = at("start_date"), at("end_date")
    made.clear_number, made.bundle_version = run["clear_number"], callback["bundle_version"]
    return made


# --- the inventory ----------------------------------------------------------------------------------------------------


def plugins() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Plugins as the REST API shows them, by name; and what kept others from being loaded, by where they come from."""
    from airflow import plugins_manager
    from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
    from pydantic import ValidationError

    found = []
    for info in sorted(plugins_manager.get_plugin_info(), key=lambda plugin: plugin["name"]):
        with contextlib.suppress(ValidationError):  # Airflow leaves out what has no such shape
            found.append(PluginResponse.model_validate(info).model_dump(mode="json"))
    return found, dict(plugins_manager.get_import_errors())


def providers() -> list[dict[str, Any]]:
    from airflow.api_fastapi.core_api.services.public.providers import _provider_mapper
    from airflow.providers_manager import ProvidersManager

    found = [_provider_mapper(provider).model_dump(mode="json") for provider in ProvidersManager().providers.values()]
    return sorted(found, key=lambda provider: str(provider["package_name"]))


def configuration() -> dict[str, dict[str, str]]:
    """Section → option → value. Airflow hides what it takes for secret; an empty secret is hidden here too, as Airflow
    does when it is asked for that option alone."""
    from airflow.api_fastapi.core_api.services.public.config import _mask_per_key_sensitive_options
    from airflow.configuration import conf

    sections = conf.as_dict(display_source=False, display_sensitive=False)
    _mask_per_key_sensitive_options(sections)
    for section, option in conf.sensitive_config_values:
        if option in sections.get(section, {}):
            sections[section][option] = "< hidden >"
    return {section: {option: str(value) for option, value in options.items()} for section, options in sections.items()}


# --- a worker's rehearsal -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def around_the_task(*, before: Callable[[], object], after: Callable[[Any, float, Any], object]) -> Iterator[None]:
    """Have Airflow's task runner call `before` between the parse of the DAG file and the task, and `after` with the task,
    the seconds that it took, and its logger. Tracebacks of the task show none of it."""
    from airflow.sdk.execution_time import task_runner

    run = task_runner.run

    def run_between(ti: Any, context: Any, log: Any) -> Any:
        before()
        began = time.monotonic()
        try:
            return run(ti, context, log)
        finally:
            after(ti.task, time.monotonic() - began, log)

    task_runner.run = run_between
    try:
        yield
    finally:
        task_runner.run = run


def bag_of(bundle: Path, file: str, *, bundle_name: str) -> Any:
    """Parse a DAG file as Airflow's task runner does; returns what it keeps the DAGs in. It logs nothing but mistakes."""
    from airflow.dag_processing import dagbag

    class Quiet(dagbag.BundleDagBag):  # type: ignore[misc]  # untyped to us
        log = _BagLog()

    bag = Quiet(
        dag_folder=str(bundle / file), safe_mode=False, load_op_links=False, bundle_path=bundle, bundle_name=bundle_name
    )
    bag.__class__ = dagbag.BundleDagBag
    return bag


class _BagLog:
    """Leaves out what Airflow says of each parse. `bag_in_place` has it said."""

    def info(self, *_: object) -> None: ...

    def debug(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


OF_FIRST_STEPS: Final = (
    *(
        "airflow.configuration",
        "airflow.dag_processing",
        "airflow.settings",
        "airflow.sdk.api",
        "airflow.sdk.configuration",
    ),
    *("airflow.sdk.execution_time", "airflow.sdk.listener", "airflow.sdk.log", "airflow.sdk.plugins_manager"),
    *("airflow.sdk._shared.configuration", "airflow.sdk._shared.logging", "airflow._shared.configuration"),
)
"""Airflow's modules, with all below them, that a child's first steps use, up to its parse."""

LEFT_BY_PARSE: Final = frozenset(
    {
        ("airflow.sdk.definitions._internal.contextmanager", "DagContext", "current_autoregister_module_name"),
        ("airflow.sdk.definitions._internal.contextmanager", "DagContext", "previous_dag"),
    }
)
"""Attributes of classes that each parse leaves changed."""


def is_whole(bag: Any) -> bool:
    """Whether a parse has found DAGs, without mistakes or warnings."""
    return bool(bag.dags) and not bag.import_errors and not bag.captured_warnings


@contextlib.contextmanager
def bag_in_place(bag: Any) -> Iterator[None]:
    """Until Airflow's task runner parses the file of `bag`: it finds that parsed already. Airflow then says what it says of
    a parse, and looks whether the file is still the one that was parsed."""
    from airflow._shared.timezones import timezone
    from airflow.dag_processing import dagbag

    plain = dagbag.BundleDagBag

    def find(*args: Any, **kwargs: Any) -> Any:
        dagbag.BundleDagBag = plain
        wanted = kwargs.get("dag_folder"), kwargs.get("bundle_path"), kwargs.get("bundle_name")
        if args or wanted != (bag.dag_folder, bag.bundle_path, bag.bundle_name):
            return plain(*args, **kwargs)
        bag.collect_dags(bag.dag_folder, safe_mode=False)
        for dag in bag.dags.values():
            dag.last_loaded = timezone.utcnow()
        return bag

    dagbag.BundleDagBag = find
    try:
        yield
    finally:
        dagbag.BundleDagBag = plain


def close_database() -> None:
    """As Airflow does in each child before it calls a DAG author's code."""
    from airflow.sdk.execution_time import supervisor

    supervisor.block_orm_access()


def says_what_it_parses() -> bool:
    """Whether Airflow or a library would log more than usual while a DAG file is parsed."""
    from airflow.configuration import conf

    level = conf.get("logging", "logging_level", fallback="INFO").upper()
    return level not in ("INFO", "WARNING", "ERROR", "CRITICAL") or bool(
        conf.get("logging", "namespace_levels", fallback="")
    )


@contextlib.contextmanager
def without_code_of_a_deployment() -> Iterator[None]:
    """Meanwhile Airflow finds no plugins, listeners or cluster policies; afterwards it looks for them anew."""
    from airflow import settings
    from airflow.sdk import listener, plugins_manager

    plugins, policies = plugins_manager._get_plugins, settings.get_policy_plugin_manager
    of_airflow = policies.__wrapped__()
    plugins_manager._get_plugins = lambda: ([], {})
    settings.get_policy_plugin_manager = lambda: of_airflow
    try:
        yield
    finally:
        plugins_manager._get_plugins, settings.get_policy_plugin_manager = plugins, policies
        plugins_manager.integrate_macros_plugins.cache_clear()
        listener.get_listener_manager.cache_clear()
