"""Parse DAG files, each in a child of its own, and put what they give into the bucket.

The function's own process imports Airflow once and neither runs nor reads a line of a bundle: a child reads
`.airflowignore` and the file's imports. The process stores the batch's `Progress` in the bucket file by file. If the
function dies all the same, the next invocation knows at which file; it gives that file an import error at the third
try, and parses the rest.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from gust import collector
from gust.airflow_bridge import compat, surroundings
from gust.airflow_bridge.bundle import BundleFolder, environments_of
from gust.airflow_bridge.child import run_in_child
from gust.airflow_bridge.event_file import read_event_file
from gust.airflow_bridge.footprint import Footprint
from gust.airflow_bridge.imports import bounded
from gust.airflow_bridge.questions import Questions
from gust.airflow_bridge.settings_reader import Find, ParserComms, SettingsOfFile, SettingsReader, nothing_stored
from gust.airflow_bridge.transport import Invoke
from gust.errors import NotFound, Unopenable
from gust.model import bounds, bucket_keys
from gust.model.bundle import PLUGINS_PREFIX
from gust.model.dag_spec import DagSpec, TaskSpec
from gust.model.deployment import ROUND, FileOutcome, ParsedDag, ParseWarning, Plan, Progress
from gust.model.event_rule import EventRule, is_events_file
from gust.model.same_parse import SameParse
from gust.ports.objects import Objects

log = logging.getLogger(__name__)

MOST_DEATHS: Final = 2
"""How often the function may die at a file before the file counts as the cause."""

NO_DAG_FILE: Final[dict[str, Any]] = {
    "dags": [],
    "import_errors": {},
    "warnings": [],
    "listeners": None,
    "touched": [],
    "imported": [],
    "has_assets": False,
    "modules": [],
    "tasks": 0,
}
"""A child's answer for a file that Airflow's search skips."""

GRACE: Final = 10.0
"""Seconds after `dagbag_import_timeout` for plugins, serialization and our spec."""

NO_TIMEOUT: Final = 240.0
"""Seconds, where `dagbag_import_timeout` is switched off."""

WORTH_WATCHING: Final = 20
"""Tasks of a file from which on it is parsed again under watch: a parse of fewer takes a child some 5 ms."""

WATCHED_FOR: Final = 5.0
"""Seconds that all files of a batch may be parsed again under watch. They hold up the deployment, which needs none of it."""

MOST_KEPT: Final = 16 * 1024 * 1024
"""Characters of specs from which on no more are kept for the watch."""

LARGEST_EVENT_FILE: Final = 256 * 1024 * 1024
"""Bytes of memory to read one."""

EVENT_FILE_TIMEOUT: Final = 5.0
"""Seconds to read one."""

LONGEST_FILE: Final = 60.0
"""Seconds that must remain to begin another file: Airflow's default timeout of 30 with `GRACE`, and some."""


def parse_batch(
    objects: Objects,
    plan_key: str,
    batch: int,
    *,
    give_up: bool = False,
    time_left: Callable[[], float] = lambda: math.inf,
    clock: Callable[[], float] = time.monotonic,
    folder: Path | None = None,
    invoke: Invoke | None = None,
) -> bool:
    """Parse a batch of a plan, within one round's time. Returns whether it is finished; called again, it continues.

    It stops early when `time_left()` (seconds) may not suffice for one more file. `give_up` runs nothing: files without
    an outcome get import errors. `invoke` reaches the execution API, for variables and connections; without it none
    exist. Raises Unopenable, also with `give_up`: a bundle that no worker can open must not become active.
    """
    plan = Plan.model_validate_json(objects.get(plan_key))
    key = bucket_keys.progress(plan_key, batch)
    progress = begun(objects, key)
    done = {outcome.relative_path for outcome in progress.outcomes}
    find = SettingsReader(invoke, objects, token_of(objects, plan_key)).find if invoke else nothing_stored
    bundles = BundleFolder(objects, folder) if folder else BundleFolder(objects)
    bundle = bundles.fetch(plan.bundle_version)
    longest = max(LONGEST_FILE, (told_import_timeout(bundle) or 0.0) + 2 * GRACE)
    finished = True
    specs = dict[str, str]()
    if not give_up:
        ready()
    began = clock()
    for number, path in enumerate(path for path in plan.batches[batch] if path not in done):
        if number > 0 and clock() - began > ROUND and not give_up:
            break  # the rest is the next plan's
        if number > 0 and time_left() < longest:
            finished = False
            break
        if give_up or progress.deaths.get(path, 0) >= MOST_DEATHS:
            outcome = lost(path)
        else:
            progress = progress.model_copy(update={"parsing": path})
            keep(objects, key, progress)
            outcome = parse_in_environment(bundles, bundle, path, plan.bundle_name, find, specs=specs)
        progress = progress.model_copy(update={"parsing": None, "outcomes": (*progress.outcomes, outcome)})
    if finished and not give_up and not progress.is_watched and time_left() > longest + WATCHED_FOR:
        progress = watched(bundles, bundle, progress, specs, keep=lambda begun: keep(objects, key, begun), clock=clock)
    keep(objects, key, progress)
    return finished


def watched(
    bundles: BundleFolder,
    bundle: Path,
    progress: Progress,
    specs: Mapping[str, str],
    *,
    keep: Callable[[Progress], object],
    clock: Callable[[], float],
) -> Progress:
    """Parse the files again under watch, for `WATCHED_FOR` at most; returns the progress with their proofs. If the function
    dies at that, the outcomes are kept, and it does not try again. `specs`: key → text, of the files that this process has
    parsed, for its role reads none; those that another one has parsed are not watched."""
    if not any(is_worth_watching(bundle, outcome, specs) for outcome in progress.outcomes):
        return progress
    progress = progress.model_copy(update={"is_watched": True})
    keep(progress)
    until = clock() + WATCHED_FOR
    outcomes = list(progress.outcomes)
    for number, outcome in enumerate(outcomes):
        if is_worth_watching(bundle, outcome, specs) and (seconds := until - clock()) > 0:
            try:
                outcomes[number] = with_proof(bundles, bundle, outcome, specs, timeout=seconds)
            except Exception:
                # The deployment needs no proof.
                log.warning("%s could not be watched; each task parses it", outcome.relative_path, exc_info=True)
    return progress.model_copy(update={"outcomes": tuple(outcomes)})


def is_worth_watching(bundle: Path, outcome: FileOutcome, specs: Mapping[str, str]) -> bool:
    from gust.airflow_bridge import parsed

    if any(dag.spec_key not in specs for dag in outcome.dags):
        return False
    is_fit = outcome.tasks >= WORTH_WATCHING and not outcome.import_errors and not outcome.settings
    return is_fit and parsed.is_wanted(surroundings.options_of(bundle))


def with_proof(
    bundles: BundleFolder, bundle: Path, outcome: FileOutcome, specs: Mapping[str, str], *, timeout: float = WATCHED_FOR
) -> FileOutcome:
    """The outcome of a parse; if the file may be parsed once for many tasks, its specs say so. `specs`: key → text, before;
    `timeout`: seconds."""
    path = outcome.relative_path
    try:
        environment = bundles.fetch_environment(bundle, path)
    except Unopenable:
        return outcome
    with surroundings.workspace("parse") as workspace:
        ended = run_in_child(
            lambda: proof_here(bundle, path, workspace, environment, outcome.modules),
            timeout=timeout,
            memory=memory_for_child(),
        )
    try:
        said = json.loads(ended.answer) if ended.answer is not None else ended.how
        proof = SameParse.model_validate(said) if not isinstance(said, str) else None
    except (ValueError, RecursionError):
        said, proof = "its process gave an answer that is none", None
    if proof is None or ended.output:
        log.info("Each task parses %s: %s", path, said if proof is None else "it prints, warns or logs")
        return outcome
    dags = [
        dag.model_copy(update={"spec_key": put_parsed(bundles.objects, "specs", json.dumps(data))})
        for dag in outcome.dags
        if (data := {**json.loads(specs[dag.spec_key]), "same_parse": proof.model_dump(mode="json")})
    ]
    return outcome.model_copy(update={"dags": tuple(dags)})


def told_import_timeout(bundle: Path) -> float | None:
    """Seconds, where the bundle's options say it; 0 or less: no limit."""
    told = surroundings.options_of(bundle).get("core.dagbag_import_timeout")
    return None if told is None else float(told)


def token_of(objects: Objects, plan_key: str) -> str:
    """The plan's token for the execution API; empty where an older Gust made the plan. A file's questions are then
    refused, and its import error says so."""
    try:
        return objects.get(bucket_keys.parser_token(plan_key)).decode()
    except NotFound:
        return ""


def keep(objects: Objects, key: str, progress: Progress) -> None:
    objects.put(key, progress.model_dump_json().encode(), content_type="application/json")


def begun(objects: Objects, key: str) -> Progress:
    """The progress of earlier invocations. A file that one began and did not end counts one death more. Progress that a
    DAG file has overwritten counts as none."""
    try:
        progress = Progress.model_validate_json(objects.get(key))
    except (NotFound, ValueError):
        return Progress()
    if progress.parsing is None:
        return progress
    deaths = {**progress.deaths, progress.parsing: progress.deaths.get(progress.parsing, 0) + 1}
    return progress.model_copy(update={"parsing": None, "deaths": deaths})


def lost(path: str) -> FileOutcome:
    return _unparsed(path, f"The function that parsed {path} died each time it tried: out of memory, or killed.\n")


def _unparsed(path: str, reason: str) -> FileOutcome:
    """Of a file whose code did not run."""
    return FileOutcome(
        relative_path=path,
        import_errors={path: reason},
        is_worth_another_try=True,
        parsed_at=datetime.now(UTC),
        parse_duration=0.0,
    )


def parse_in_environment(
    bundles: BundleFolder, bundle: Path, path: str, bundle_name: str, find: Find, *, specs: dict[str, str] | None = None
) -> FileOutcome:
    """`parse_file` with the packages that the bundle names for the file. Without them the outcome would differ: if they
    cannot be fetched, the file has no outcome."""
    if is_events_file(path):
        return parse_event_file(bundle, path)
    try:
        environment = bundles.fetch_environment(bundle, path)
    except Unopenable as error:
        return _unparsed(path, f"{path} could not be parsed. {error}\n")
    return parse_file(bundles.objects, bundle, path, bundle_name, find, environment=environment, specs=specs)


def parse_file(
    objects: Objects,
    bundle: Path,
    path: str,
    bundle_name: str,
    find: Find = nothing_stored,
    *,
    environment: Path | None = None,
    specs: dict[str, str] | None = None,
) -> FileOutcome:
    """Parse one file in a child; store specs, serialized DAGs and sources. Returns an outcome even if the child crashes.
    `find` answers its questions for variables and connections; `environment`: packages beside Airflow's own; `specs`: takes
    the texts of the specs of a file that may be worth watching, by their keys."""
    ready()
    started = time.monotonic()
    compat.mask_as_told(surroundings.options_of(bundle))
    told = told_import_timeout(bundle)
    limit = compat.import_timeout(bundle / path) if told is None else told
    timeout = limit + GRACE if limit > 0 else NO_TIMEOUT
    settings = SettingsOfFile(find)
    questions = Questions(settings.answer)
    with surroundings.workspace("parse") as workspace:
        ended = run_in_child(
            lambda: parse_here(bundle, path, bundle_name, workspace, questions.ask, environment=environment),
            timeout=timeout,
            memory=memory_for_child(),
            questions=questions,
        )
    duration = time.monotonic() - started
    output = settings.masked(ended.output)
    if settings.unanswered or ended.answer is None:
        problem = settings.unanswered or f"{ended.how}\n{output}"
        return FileOutcome(
            relative_path=path,
            import_errors={path: shown(f"{path} could not be parsed. {problem}", bundle)},
            is_worth_another_try=True,
            settings=settings.versions,
            parsed_at=datetime.now(UTC),
            parse_duration=duration,
        )
    try:
        answer = readable(json.loads(ended.answer))
        answer["import_errors"] = {name: settings.masked(trace) for name, trace in answer["import_errors"].items()}
        outcome = stored(objects, path, answer, duration).model_copy(update={"settings": settings.versions})
        outcome = outcome.model_copy(update={"tasks": int(answer["tasks"]), "modules": bounded(answer["modules"])})
        if specs is not None and outcome.tasks >= WORTH_WATCHING and sum(map(len, specs.values())) < MOST_KEPT:
            specs |= {bucket_keys.parsed("specs", dag["spec"].encode()): dag["spec"] for dag in answer["dags"]}
        imported, has_assets = {str(name) for name in answer["imported"]}, bool(answer["has_assets"])
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        message = (
            f"{path} could not be parsed. Its process gave an answer that is none: {type(error).__name__}.\n{output}"
        )
        return FileOutcome(
            relative_path=path,
            import_errors={path: shown(message, bundle)},
            parsed_at=datetime.now(UTC),
            parse_duration=duration,
        )
    compat.preimport(imported, asset_handlers=has_assets)
    if outcome.import_errors and 0 < limit <= duration:
        outcome = outcome.model_copy(update={"is_worth_another_try": True})
    log.log(logging.INFO if outcome.import_errors else logging.DEBUG, "output of %s:\n%s", path, output)
    return outcome


def parse_event_file(bundle: Path, path: str) -> FileOutcome:
    """Read an `events.yaml` in a child. Returns an outcome even if the child crashes."""
    started = time.monotonic()

    def read() -> bytes:
        found = read_event_file((bundle / path).read_text(errors="replace"), path)
        rules = [rule.model_dump() for rule in found.rules]
        return json.dumps({"rules": rules, "mistakes": found.mistakes}).encode()

    ended = run_in_child(read, timeout=EVENT_FILE_TIMEOUT, memory=LARGEST_EVENT_FILE, runs_foreign_code=False)
    mistakes = [f"{path} could not be read. {ended.how}"]
    rules: tuple[EventRule, ...] = ()
    if ended.answer is not None:
        answer = json.loads(ended.answer)
        mistakes, rules = answer["mistakes"], tuple(EventRule.model_validate(rule) for rule in answer["rules"])
    return FileOutcome(
        relative_path=path,
        import_errors={path: bounds.cut("".join(f"{line}\n" for line in mistakes))} if mistakes else {},
        event_rules=() if mistakes else rules,
        parsed_at=datetime.now(UTC),
        parse_duration=time.monotonic() - started,
    )


def readable(value: Any) -> Any:
    """A child's answer, with lone surrogates escaped: no store holds text that has no UTF-8."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case list():
            return [readable(part) for part in value]
        case dict():
            return {readable(name): readable(part) for name, part in value.items()}
    return value


def stored(objects: Objects, path: str, answer: dict[str, Any], duration: float) -> FileOutcome:
    """Store a child's answer under the hashes of its parts; returns the outcome with these keys."""
    import_errors = {name: bounds.cut(trace) for name, trace in answer["import_errors"].items()}
    dags: list[ParsedDag] = []
    for dag in answer["dags"]:
        if too_large := what_is_too_large(dag):
            message = f"{bounds.cut(dag['dag_id'], bounds.LONGEST_KEY)} is not activated: {too_large}\n"
            import_errors[path] = bounds.cut(import_errors.get(path, "") + message)
            continue
        dags.append(
            ParsedDag(
                dag_id=dag["dag_id"],
                spec_key=put_parsed(objects, "specs", dag["spec"]),
                serialized_key=put_parsed(objects, "serialized", dag["serialized"]),
                source_key=put_parsed(objects, "sources", dag["source"]),
                assets=dag["assets"],
                made_in=dag["made_in"],
            )
        )
    return FileOutcome(
        relative_path=path,
        dags=tuple(dags),
        import_errors=import_errors,
        warnings=tuple(ParseWarning(**warning) for warning in answer["warnings"]),
        touched=tuple(answer["touched"]),
        listeners=None if answer["listeners"] is None else tuple(n for n in answer["listeners"] if n in compat.HOOKS),
        parsed_at=datetime.now(UTC),
        parse_duration=duration,
    )


def what_is_too_large(dag: dict[str, Any]) -> str | None:
    """The first part that exceeds its limit, for a person to read: the scheduler keeps many specs in memory, the API
    returns sources."""
    for name, text, limit in (
        ("structure", dag["spec"], bounds.LARGEST_SPEC),
        ("serialized form", dag["serialized"], bounds.LARGEST_SERIALIZED),
        ("file", dag["source"], bounds.LARGEST_SPEC),
    ):
        if (size := len(text.encode())) > limit:
            return f"Its {name} takes {size:,} bytes; {limit:,} are possible."
    return None


def put_parsed(objects: Objects, kind: bucket_keys.Parsed, text: str) -> str:
    """Store it under its hash and return the key."""
    body = text.encode()
    key = bucket_keys.parsed(kind, body)
    objects.put_once(key, body, content_type="text/plain; charset=utf-8" if kind == "sources" else "application/json")
    return key


@cache
def ready() -> None:
    """Import Airflow, once per process."""
    collector.disable_gc()
    compat.prepare_environment()
    compat.import_airflow()
    compat.preload()
    import gust.airflow_bridge.crashes
    import gust.airflow_bridge.dag_spec
    import gust.airflow_bridge.parsed
    import gust.airflow_bridge.secrets_backend
    import gust.airflow_bridge.sensors

    if sys.version_info >= (3, 12):
        import gust.airflow_bridge.pure_calls  # noqa: F401

    collector.freeze_gc()


def memory_for_child() -> int:
    """Bytes for a child: the function's memory without 600 MB for Airflow, at least 256 MB."""
    megabytes = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"))
    return max(megabytes - 600, 256) * 1024 * 1024


# --- in the child -----------------------------------------------------------------------------------------------------


def parse_here(
    bundle: Path,
    path: str,
    bundle_name: str,
    workspace: Path,
    ask: Callable[[Any], Any],
    *,
    environment: Path | None = None,
) -> bytes:
    """Run the file in this process: the child's work. The answer is JSON for `stored`."""
    from gust.airflow_bridge import crashes, imports, sensors
    from gust.airflow_bridge.dag_spec import build_spec  # our last import: see `surroundings`

    compat.log_here()
    compat.ask_through(ParserComms(ask))
    surroundings.enter(bundle, workspace, environment)
    crashes.make_fatal()
    sensors.watch()
    known = compat.airflow_modules()
    size = environments_of(bundle).size_of_file(path)
    if not compat.is_dag_file(bundle, path, workspace):
        return json.dumps(NO_DAG_FILE).encode()
    places = {str(bundle): compat.DAGS_ROOT, str(workspace): surroundings.WORKSPACE}
    if environment is not None:
        places[str(environment)] = surroundings.ENVIRONMENT
    footprint = Footprint(bundle)
    recorder = imports.Recorder(surroundings.installed_for(bundle))
    file = bundle / path
    warning, error = compat.stability(file, bundle)
    if error is not None:
        dags: dict[str, Any] = {}
        made_in: dict[str, str] = {}
        import_errors = {path: error}
    else:
        dags, import_errors, made_in = compat.import_dags(file, bundle, bundle_name)
    all_modules = recorder.names()
    modules = recorder.names(below=environment) if environment is not None else ()
    to_spec = partial(build_spec, bundle_name=bundle_name, environment_size=size, modules=modules)
    parsed: list[dict[str, Any]] = []
    for dag in dags.values():
        try:
            form = parsed_dag(dag, places, to_spec)
            parsed.append({**form, "made_in": relative(made_in.get(dag.dag_id, ""), bundle)})
        except Exception:
            import_errors[path] = import_errors.get(path, "") + traceback.format_exc(limit=-compat.traceback_depth())
    return json.dumps(
        {
            "dags": parsed,
            "import_errors": {relative(name, bundle): shown(trace, bundle) for name, trace in import_errors.items()},
            "warnings": [{"warning_type": "runtime varying value", "message": warning}] if warning else [],
            "listeners": compat.listeners(),
            "touched": dependencies(footprint.touched(), path),
            "imported": sorted(compat.airflow_modules() - known),
            "has_assets": any(dag["assets"] for dag in parsed),
            "modules": all_modules,
            "tasks": sum(len(dag.task_dict) for dag in dags.values()),
        }
    ).encode()


def proof_here(bundle: Path, path: str, workspace: Path, environment: Path | None, modules: Sequence[str]) -> bytes:
    """Run the file under watch in this process: the child's work. The answer is JSON: a proof, or a reason."""
    from gust.airflow_bridge import parsed

    found = parsed.same_parse(bundle, path, workspace, environment, modules)
    return json.dumps(found if isinstance(found, str) else found.model_dump(mode="json")).encode()


def parsed_dag(dag: Any, places: Mapping[str, str], build_spec: Callable[[str], Any]) -> dict[str, Any]:
    data = compat.serialized(dag)
    data["dag"]["tasks"].sort(key=lambda task: task["__var"]["task_id"])
    # Params are checked in the order of the file, and an error quotes the schema as written.
    spec, assets = build_spec(placeless(json.dumps(data), places, dag.fileloc))
    return {
        "dag_id": dag.dag_id,
        "serialized": placeless(json.dumps(data, sort_keys=True), places, dag.fileloc),
        "spec": compact(spec),
        "source": source_text(Path(dag.fileloc)),
        "assets": [asset.model_dump(mode="json") for asset in assets],
    }


def compact(spec: DagSpec) -> str:
    """JSON of a spec without the tasks' default values: tasks are most of a spec, and mostly defaults."""
    data = spec.model_dump(mode="json")
    default = TaskSpec(task_id="").model_dump(mode="json")
    for task in data["tasks"].values():
        for name in [name for name, value in task.items() if value == default[name]]:
            del task[name]
    return json.dumps(data)


def placeless(text: str, places: Mapping[str, str], fileloc: str) -> str:
    """Replace the folders of this parse (the bundle's, the child's workspace) by constant names, also where Airflow has
    hashed one into the name of the file's module. Without this, every upload would make a new version of every DAG."""
    stable = fileloc
    for folder, name in places.items():
        stable = stable.replace(folder, name, 1)
    text = text.replace(compat.module_name_of(fileloc), compat.module_name_of(stable))
    for folder, name in places.items():
        text = text.replace(folder, name)
    return text


def source_text(file: Path) -> str:
    """The text of a file, also of one in a zip (`…/a.zip/b.py`)."""
    for parent in file.parents:
        if parent.suffix == ".zip" and parent.is_file():
            with zipfile.ZipFile(parent) as archive:
                return archive.read(file.relative_to(parent).as_posix()).decode(errors="replace")
    return file.read_text(errors="replace")


def shown(trace: str, bundle: Path) -> str:
    """A traceback for people: the bundle's files by their relative paths."""
    return trace.replace(f"{bundle}/", "").replace(str(bundle), compat.DAGS_ROOT)


def relative(name: str, bundle: Path) -> str:
    return name.removeprefix(f"{bundle}/")


def dependencies(touched: Iterable[str], path: str) -> list[str]:
    """Files other than `path` whose change means that `path` must be parsed again. Plugins, which concern every file,
    are left out."""
    return sorted({t for t in touched if t not in {path, ".airflowignore"} and not t.startswith(PLUGINS_PREFIX)})
