"""Airflow's configuration options: which have an effect in Gust, which are accepted without one, and which are refused.

This is the only table: it checks documents, and `tests/unit/docs/test_configuration_page.py` compares docs/configuration.md
with it.
Names are `section.option`, as in MWAA's `AirflowConfigurationOptions`.
"""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from gust.model.secrets_backend import SERVICES, problems_of

NAMES: Final = Path(__file__).with_name("airflow_options.json")
"""Section → option → type, of the pinned Airflow and its providers here; a test compares it with the wheels."""

PREFIX: Final = "AIRFLOW__"
"""Of the environment variables with which Airflow reads options: `AIRFLOW__SECTION__OPTION`."""

LARGEST: Final = 8192
"""Characters of a document: as many as a parameter of SSM holds."""

LONGEST_IMPORT: Final = 200
"""Seconds for the import of one DAG file: the parser's function has 300 for all that it does."""

HONOURED: Final[Mapping[str, str]] = {
    "core.default_timezone": "time zone of dates without one",
    "core.default_task_retries": "`retries` of a task that names none",
    "core.default_task_retry_delay": "`retry_delay` of a task that names none, in seconds",
    "core.max_task_retry_delay": "the longest delay of a retry with backoff, in seconds; a day at most",
    "core.default_task_execution_timeout": "`execution_timeout` of a task that names none, in seconds",
    "core.default_task_weight_rule": "`weight_rule` of a task that names none",
    "core.max_active_tasks_per_dag": "`max_active_tasks` of a DAG that names none",
    "core.max_active_runs_per_dag": "`max_active_runs` of a DAG that names none",
    "core.max_consecutive_failed_dag_runs_per_dag": "the same of a DAG that names none",
    "core.xcom_backend": "class in `plugins/`, the DAG folder or an environment; runs in the task's process",
    "core.max_templated_field_length": "characters of a rendered field that the UI shows",
    "core.allowed_deserialization_classes": "classes that XComs may hold",
    "core.allowed_deserialization_classes_regexp": "the same, as patterns",
    "core.dagbag_import_timeout": "seconds that a DAG file's import may take",
    "core.dagbag_import_error_tracebacks": "whether import errors have tracebacks",
    "core.dagbag_import_error_traceback_depth": "their depth",
    "core.dag_discovery_safe_mode": "whether only files that mention a DAG and Airflow are parsed",
    "core.dag_ignore_file_syntax": "of `.airflowignore`: glob or regexp",
    "core.might_contain_dag_callable": "decides whether a file is parsed, in the parser's child",
    "core.hide_sensitive_var_conn_fields": "masks in logs and answers",
    "core.sensitive_var_conn_names": "further names whose values are masked, in logs and answers",
    "core.default_pool_task_slot_count": "first size of the default pool; without it, that pool is unlimited",
    "core.max_map_length": "the most instances of a mapped task",
    "core.dags_are_paused_at_creation": "whether a new DAG is paused; wins over the stack's parameter",
    "scheduler.catchup_by_default": "`catchup` of a DAG that names none",
    "scheduler.create_cron_data_intervals": "which timetable a cron expression gives",
    "scheduler.create_delta_data_intervals": "which timetable a timedelta gives",
    "sensors.default_timeout": "`timeout` of a sensor that names none, in seconds",
    "operators.default_owner": "`owner` of a task that names none",
    "operators.default_queue": "`queue` of a task that names none; it must be one of the stack's",
    "dag_processor.disable_bundle_versioning": "whether runs follow the newest version",
    "dag_processor.dag_version_inflation_check_level": "how the parser treats values that change with each parse",
    "email.email_backend": "function that sends mails, in the task's process",
    "email.email_conn_id": "connection of a mail backend",
    "email.from_email": "sender of mails",
    "email.subject_template": "file with the subject of a failure mail",
    "email.html_content_template": "file with its text",
    "email.default_email_on_failure": "`email_on_failure` of a task that names none",
    "email.default_email_on_retry": "`email_on_retry` of a task that names none",
    "email.ssl_context": "how a mail backend checks certificates",
    "smtp.smtp_host": "server of `airflow.utils.email`",
    "smtp.smtp_port": "its port",
    "smtp.smtp_starttls": "whether it speaks STARTTLS",
    "smtp.smtp_ssl": "whether it speaks TLS",
    "smtp.smtp_mail_from": "sender of `airflow.utils.email`",
    "smtp.smtp_timeout": "seconds",
    "smtp.smtp_retry_limit": "tries",
    "secrets.backend": "class: the amazon provider's two are asked by the execution API, others run in the task's process",
    "secrets.backend_kwargs": "its arguments, a JSON object",
    "secrets.use_cache": "with `cache_ttl_seconds`; without it the execution API remembers an answer for a minute",
    "secrets.cache_ttl_seconds": "how long the execution API remembers an answer, if `use_cache` is true",
    "state_store.clear_on_success": "whether a task's state store is emptied by its success",
    "state_store.default_retention_days": "days that an entry of a task's state store is kept",
    "state_store.max_value_storage_bytes": "the largest value that an API user may store",
    "standard.venv_install_method": "how PythonVirtualenvOperator installs packages",
    "common.io.xcom_objectstorage_path": "where `XComObjectStorageBackend` keeps large XComs; tasks need a right to it",
    "common.io.xcom_objectstorage_threshold": "bytes from which it does",
    "common.io.xcom_objectstorage_compression": "how it packs them",
    "aws.session_factory": "class that makes boto3 sessions of hooks",
}
"""Option → its effect. Airflow's own words for the rest: its configuration reference."""

_PLACES: Final = "Gust unpacks each version of the folder in a place of its own."
_WORKERS: Final = "it belongs to Gust's own workers."
_BELONGS_TO_STACK: Final = "it is the stack's parameter {}."

REFUSED: Final[Mapping[str, str]] = {
    "core.dags_folder": _PLACES,
    "core.plugins_folder": "plugins are in plugins/ of the DAG folder, or in plugins.zip.",
    "core.load_examples": "only uploaded files are there.",
    "core.executor": "tasks name their place themselves (docs/workers.md).",
    "core.hostname_callable": _WORKERS,
    "core.task_success_overtime": _WORKERS,
    "core.execution_api_server_url": _WORKERS,
    "core.mp_start_method": _WORKERS,
    "core.mp_forkserver_preload": _WORKERS,
    "core.execute_tasks_new_python_interpreter": _WORKERS,
    "core.unit_test_mode": "it switches Airflow's safeguards off.",
    "core.multi_team": "a team has a stack of its own.",
    "core.fernet_key": "Gust has encryption keys of its own (./gust reencrypt).",
    "core.auth_manager": "sign-in and roles are in docs/access.md.",
    "core.simple_auth_manager_users": "sign-in and roles are in docs/access.md.",
    "core.simple_auth_manager_all_admins": "sign-in and roles are in docs/access.md.",
    "core.simple_auth_manager_passwords_file": "sign-in and roles are in docs/access.md.",
    "core.default_impersonation": "a worker has one user.",
    "core.lazy_load_plugins": _WORKERS,
    "core.lazy_discover_providers": _WORKERS,
    "core.test_connection": _BELONGS_TO_STACK.format("TestConnection"),
    "operators.default_deferrable": _BELONGS_TO_STACK.format("DefaultDeferrable"),
    "api.base_url": _BELONGS_TO_STACK.format("BaseUrl"),
    "api.expose_config": _BELONGS_TO_STACK.format("ExposeConfig"),
    "scheduler.task_instance_heartbeat_timeout": _WORKERS,
    "logging.colored_console_log": _WORKERS,
    "logging.remote_logging": "logs of tasks are in CloudWatch Logs.",
    "logging.remote_log_conn_id": "logs of tasks are in CloudWatch Logs.",
    "logging.remote_base_log_folder": "logs of tasks are in CloudWatch Logs.",
    "logging.logging_config_class": "logs of tasks are in CloudWatch Logs.",
    "logging.secret_mask_adapter": "a supervisor masks lines of tasks as well, and runs no code of authors.",
    "dag_processor.dag_bundle_config_list": _PLACES,
    "dag_processor.dag_bundle_storage_path": _PLACES,
    "state_store.backend": "state stores are in the stack's table.",
}
"""Option → why, and what to write instead."""

REFUSED_SECTIONS: Final[Mapping[str, str]] = {
    "database": "there is no database.",
    "api_auth": "Gust signs its tokens with keys of its own (docs/access.md).",
    "execution_api": "Gust signs its tokens with keys of its own (docs/access.md).",
    "sdk": _WORKERS,
}

REFUSED_IF_TRUE: Final[Mapping[str, str]] = {
    "traces.otel_on": "no process of Gust sends Airflow's spans; the stack's parameter Tracing traces its functions."
}
"""Option → why it may be false alone. A person who turns it on would look for what never comes."""

OF_REFUSED_SECTION: Final[Mapping[str, str]] = {
    "workers.secrets_backend": "as `secrets.backend`, for tasks alone; a class that runs in the task's process",
    "workers.secrets_backend_kwargs": "its arguments",
    "workers.state_store_backend": "class that runs in the task's process",
}
"""Honoured options of sections where all others have no effect; part of `HONOURED`'s table."""

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "core": "limits and habits of processes that Gust does not have",
    "logging": "lines of tasks are JSON, in CloudWatch Logs",
    "metrics": "the parameter `Metrics` says what goes to CloudWatch; a task's process may publish its own few",
    "traces": "`otel_on = true` is refused, as no process of Gust sends Airflow's spans; the parameter `Tracing` traces "
    "the functions in X-Ray",
    "api": "the web UI and the REST API have Airflow's defaults",
    "workers": "Gust's own workers",
    "lineage": "Airflow's defaults hold",
    "operators": "no worker has such sizes; docs/workers.md says how a task asks for memory and CPU",
    "sentry": "Gust's functions do not report to Sentry",
    "scheduler": "there is no scheduler process; nothing polls",
    "connection_test": "a test has 60 seconds; there are as many at once as there are workers",
    "triggerer": "there is no triggerer process; a trigger that sleeps runs nowhere",
    "kerberos": "no worker renews tickets",
    "dag_processor": "a file is parsed when it, or something that it reads, changes",
    "state_store": "expired entries go by themselves",
    "profiling": "there is no process to profile",
    "callbacks": "a callback has a function's time",
    "common.io": "state stores are in the stack's table",
    "aws_auth_manager": "sign-in and roles are in docs/access.md",
    "aws_batch_executor": "a task names its place itself (docs/workers.md)",
    "aws_ecs_executor": "a task names its place itself (docs/workers.md)",
    "aws_eks_executor": "a task names its place itself (docs/workers.md)",
    "aws_lambda_executor": "a task names its place itself (docs/workers.md)",
    "aws": "handlers of logs that Gust does not use",
}
"""Section → why its other options change nothing. Tasks read them with `conf.get` all the same."""

OTHER_SECTIONS: Final = "a section of a provider or of your own: tasks, DAG files and triggers read it with `conf.get`"


@dataclass(frozen=True, slots=True)
class Checked:
    options: Mapping[str, str] = field(default_factory=dict)
    """`section.option` → value, as Airflow reads it."""
    problems: tuple[str, ...] = ()
    """Sentences for a person. With any of them, no option counts."""
    ignored: tuple[str, ...] = ()
    """Names of options without effect."""

    def except_for(self, name: str) -> Checked:
        return replace(self, options={other: value for other, value in self.options.items() if other != name})


def is_true(value: str) -> bool:
    """As Airflow reads a boolean."""
    return value.strip().lower() in ("t", "true", "1")


def environment_of(options: Mapping[str, str]) -> dict[str, str]:
    return {variable_of(name): value for name, value in options.items()}


def variable_of(name: str) -> str:
    """`core.default_timezone` → `AIRFLOW__CORE__DEFAULT_TIMEZONE`."""
    section, _, option = name.rpartition(".")
    return f"{PREFIX}{section.replace('.', '_').upper()}__{option.upper()}"


def name_of(variable: str) -> str | None:
    """The other way; None for a variable that holds no option."""
    section, separator, option = variable.removeprefix(PREFIX).partition("__")
    if not variable.startswith(PREFIX) or not separator or not section or not option:
        return None
    section = section.lower()
    dotted = {known_one.replace(".", "_"): known_one for known_one in known()}
    return f"{dotted.get(section, section)}.{option.lower()}"


def read_document(text: str) -> Checked:
    """Check a document: a JSON object `{"section.option": value}`, as in MWAA, or lines of an airflow.cfg. Empty: none."""
    if len(text) > LARGEST:
        return Checked(problems=(f"The document has {len(text):,} characters, {LARGEST:,} are possible.",))
    try:
        given = _entries(text)
    except (ValueError, RecursionError, configparser.Error) as error:
        return Checked(problems=(f"The document is neither a JSON object nor an airflow.cfg: {error}",))
    return check(given)


def check(given: Mapping[str, Any]) -> Checked:
    """Check options by name."""
    options: dict[str, str] = {}
    problems: list[str] = []
    for given_name, raw in given.items():
        name = given_name.strip().lower()
        value = _text(raw)
        problem = _problem(name, value)
        if problem is None and name in options and options[name] != value:
            problem = "is given twice."
        if problem is not None:
            problems.append(f"{given_name}: {problem}")
        options[name] = value or ""
    problems += _problems_together(options) if not problems else []
    if problems:
        return Checked(problems=tuple(problems))
    return Checked(options, (), tuple(name for name in options if has_no_effect(name)))


def refusal_of(name: str) -> str | None:
    """Why Gust refuses the option, whatever its value; None: it does not."""
    return REFUSED.get(name) or REFUSED_SECTIONS.get(name.rpartition(".")[0])


def has_no_effect(name: str) -> bool:
    section, _, _ = name.rpartition(".")
    return section in known() and name not in HONOURED and name not in OF_REFUSED_SECTION


@cache
def known() -> Mapping[str, Mapping[str, str]]:
    """Section → option → type."""
    found: dict[str, dict[str, str]] = json.loads(NAMES.read_text())
    return found


# --- one option ---------------------------------------------------------------------------------------------------------


def _problem(name: str, value: str | None) -> str | None:
    section, dot, option = name.rpartition(".")
    if not dot or not section or not option:
        return "options are named section.option, e.g. core.default_timezone."
    if not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in (section, option)):
        return "a section and an option are letters, digits and underscores."
    if value is None:
        return "a value is a text, a number, true or false."
    if "\0" in value:
        return "a value holds no null character."
    if (problem := problem_of_name(name)) is not None or section not in known():
        return problem
    return _problem_of_value(name, known()[section][option], value)


def problem_of_name(name: str) -> str | None:
    """Why no value of the option counts: Gust refuses it, or Airflow has no such option."""
    section, _, option = name.rpartition(".")
    if (why := refusal_of(name)) is not None:
        return f"cannot be set: {why}"
    if section not in known():
        near = get_close_matches(section, known(), n=1, cutoff=0.8)
        return f"Airflow has no section [{section}]; did you mean [{near[0]}]?" if near else None
    if option not in known()[section]:
        if option.endswith(("_cmd", "_secret")) and option.rsplit("_", 1)[0] in known()[section]:
            return "write the value itself; a password belongs into a connection."
        return f"Airflow has no such option{_suggestion(name)}"
    return None


def _suggestion(name: str) -> str:
    section, _, option = name.rpartition(".")
    elsewhere = [f"{other}.{option}" for other, options in known().items() if option in options]
    near = get_close_matches(option, known()[section], n=1)
    found = elsewhere or [f"{section}.{each}" for each in near]
    return f"; did you mean {found[0]}?" if found else "."


_KINDS: Final[Mapping[str, tuple[Any, str]]] = {
    "integer": (int, "a whole number"),
    "float": (float, "a number"),
}
_TRUE: Final = frozenset({"t", "true", "1"})
_BOOLEANS: Final = _TRUE | {"f", "false", "0"}
"""As Airflow reads them."""
_OFTEN_EMPTY: Final = frozenset({"core.default_task_execution_timeout"})


def _problem_of_value(name: str, kind: str, value: str) -> str | None:
    if not value.strip() and (name in _OFTEN_EMPTY or kind == "string"):
        return None
    if kind == "boolean" or name in _BOOLEAN_TEXTS:
        if value.strip().lower() not in _BOOLEANS:
            return f"{value!r} is neither true nor false."
        is_true = value.strip().lower() in _TRUE
        return f"cannot be true: {REFUSED_IF_TRUE[name]}" if is_true and name in REFUSED_IF_TRUE else None
    if kind in _KINDS:
        read, called = _KINDS[kind]
        try:
            read(value)
        except ValueError:
            return f"{value!r} is not {called}."
        if name in _NOT_NEGATIVE and read(value) < 0:
            return f"{value!r} is negative."
        if name in _DURATIONS and read(value) > LONGEST_DURATION[_DURATIONS[name]]:
            return f"{value!r} {_DURATIONS[name]} are more than a hundred years."
        if name == "core.dagbag_import_timeout" and float(value) > LONGEST_IMPORT:
            return f"a parser has {LONGEST_IMPORT} seconds at most for one file."
        return None
    if name in _CHOICES and value.strip() not in _CHOICES[name]:
        return f"{value!r} is none of {', '.join(_CHOICES[name])}."
    if name == "core.default_timezone" and not _is_time_zone(value):
        return f"there is no time zone {value!r}."
    if name in _CLASSES and not all(part.isidentifier() for part in value.strip().split(".")):
        return f"{value!r} is no path of a class, package.module.Class."
    if name in _JSON_OBJECTS:
        return _problem_of_object(value)
    return None


def _is_time_zone(value: str) -> bool:
    try:
        return value == "system" or bool(ZoneInfo(value).key)
    except (KeyError, ValueError, OSError):  # a name that is none, a path, a folder
        return False


_BOOLEAN_TEXTS: Final = frozenset(
    {"core.dags_are_paused_at_creation", "core.dag_discovery_safe_mode", "core.dag_run_conf_overrides_params"}
)
"""Booleans that Airflow's own description calls strings."""

_NOT_NEGATIVE: Final = frozenset(
    {
        "core.default_task_retries",
        "core.default_task_retry_delay",
        "core.max_task_retry_delay",
        "core.default_task_execution_timeout",
        "core.max_active_runs_per_dag",
        "core.max_map_length",
        "secrets.cache_ttl_seconds",
        "state_store.default_retention_days",
        "state_store.max_value_storage_bytes",
    }
)
_DURATIONS: Final[Mapping[str, str]] = {
    "core.default_task_retry_delay": "seconds",
    "core.max_task_retry_delay": "seconds",
    "core.default_task_execution_timeout": "seconds",
    "secrets.cache_ttl_seconds": "seconds",
    "state_store.default_retention_days": "days",
}
LONGEST_DURATION: Final[Mapping[str, int]] = {"seconds": 36_500 * 86_400, "days": 36_500}
"""A moment plus a longer duration may be none that Python can express."""

_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "core.default_task_weight_rule": ("downstream", "upstream", "absolute"),
    "core.dag_ignore_file_syntax": ("glob", "regexp"),
    "dag_processor.dag_version_inflation_check_level": ("off", "warning", "error"),
    "standard.venv_install_method": ("auto", "pip", "uv"),
}
_CLASSES: Final = frozenset(
    {
        "core.xcom_backend",
        "core.might_contain_dag_callable",
        "email.email_backend",
        "secrets.backend",
        "workers.secrets_backend",
        "workers.state_store_backend",
        "aws.session_factory",
    }
)
_JSON_OBJECTS: Final = frozenset({"secrets.backend_kwargs", "workers.secrets_backend_kwargs"})


def _problem_of_object(value: str) -> str | None:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        return f"no JSON: {error}"
    return None if isinstance(found, dict) else "no JSON object."


# --- several options --------------------------------------------------------------------------------------------------


def _problems_together(options: Mapping[str, str]) -> list[str]:
    if options.get("workers.secrets_backend", "").strip() in SERVICES:
        return ["workers.secrets_backend: name the class in secrets.backend; the execution API asks it."]
    backend = options.get("secrets.backend", "").strip()
    if backend not in SERVICES:
        return []
    given = json.loads(options.get("secrets.backend_kwargs") or "{}")
    return [f"secrets.backend_kwargs: {problem}" for problem in problems_of(backend, given)]


# --- a document -------------------------------------------------------------------------------------------------------


def _entries(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    if text.lstrip().startswith("{"):
        found = json.loads(text, object_pairs_hook=_once)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return {str(name): value for name, value in found.items()}
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    if parser.defaults():
        raise ValueError("options stand below a [section]")
    return {f"{section}.{option}": value for section in parser.sections() for option, value in parser[section].items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is given twice")
    return dict(pairs)


def _text(value: Any) -> str | None:
    """A value as Airflow reads it; None where it cannot be one."""
    match value:
        case bool():
            return "True" if value else "False"
        case str() | int() | float():
            return str(value)
        case dict():
            return json.dumps(value)
        case _:
            return None
