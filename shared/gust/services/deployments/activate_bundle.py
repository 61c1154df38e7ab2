"""Last step of a deployment: makes the parse results visible to the scheduler and the API.

It decides which file each DAG comes from. Then it activates every DAG by itself, and writes each file's fingerprint
after the file's DAGs. Then it moves the DAGs of all other files to the new bundle, and makes the bundle active. Every
write may be repeated. After a crash, a missing fingerprint or the old active bundle makes the next activation repeat
the work, except for the files that were concluded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import accumulate
from posixpath import normpath
from typing import Any, Final, TypeVar

from gust.errors import AlreadyExists, Invalid, NotFound, Rejected, ServiceUnavailable, Stale, StaleDag
from gust.model import bucket_keys
from gust.model.access import access_control_of
from gust.model.airflow_options import is_true
from gust.model.asset import Asset, AssetAlias
from gust.model.bounds import LARGEST_LIST, LONGEST_KEY, cut, size_in_key, size_of
from gust.model.bundle import Bundle, DagWarning, ImportProblem, SourceFile
from gust.model.dag import Dag, DagVersion
from gust.model.dag_spec import DagSpec
from gust.model.deployment import FileOutcome, ParsedDag, Plan, Progress
from gust.model.environment import Environments
from gust.model.event_rule import is_events_file
from gust.model.listener import Hook
from gust.scheduling import timetable
from gust.services.assets.asset_references import aliases_of, change_references
from gust.services.assets.tell_listeners import tell_of_import_error, tell_of_new_assets
from gust.services.assets.watchers import change_watchers, wake_watchers
from gust.services.context import Services
from gust.services.deployments.check_dag import check_dag
from gust.services.deployments.deploy_bundle import (
    PARALLEL,
    WHOLE,
    common_fingerprint,
    fingerprint,
    fingerprint_of_refused,
    manifest_of,
)
from gust.services.deployments.deployment_turn import SignsOfLife, keep_turn
from gust.services.deployments.fail_deployment import THE_FOLDER
from gust.services.deployments.import_error_id import import_error_id
from gust.services.deployments.measure_import_errors import measure_import_errors
from gust.services.events.follow_events import follow_events, mistakes_in, put_event_rules
from gust.services.people.pause_dag import wake_runs
from gust.services.runs.load_past import last_automated_run
from gust.services.runs.next_run import with_next_run
from gust.services.settings.options import stored_options
from gust.services.settings.settings_read import note_read
from gust.services.specs import load_spec
from gust.services.wake import wake_for_assets, wake_timetable

log = logging.getLogger(__name__)

ATTEMPTS: Final = 10
"""How often a DAG's item is read and written anew because another writer changed it in between."""

LONGEST_TYPE: Final = 100
"""Bytes of a warning's type; a key holds it."""

MOST_PROBLEMS: Final = 200
"""Import errors that one file may have: a zip has one for each file in it."""

CAUSED_BY_A_FILE: Final = (Rejected, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
"""Errors caused by a file's content, which no retry mends. They become the file's import error, and the other files are
activated."""

T = TypeVar("T")
Change = Callable[[Dag], Dag]


@dataclass(frozen=True, slots=True)
class Activation:
    stale: bool = False
    """Another deployment was faster; snapshot again."""
    files: int = 0

    def to_event(self) -> dict[str, Any]:
        return {"stale": self.stale, "files": self.files}


def activate(services: Services, plan_key: str, deployment: str, *, paused_at_creation: bool = True) -> Activation:
    """Activate the outcomes of the plan's files and make its bundle active, if no other bundle has become active meanwhile.

    Files without an outcome are left to the next plan: their DAGs stay on the bundle of their last good version. DAGs
    without a file are looked for only when no such file is left, because they may have moved into one.
    """
    plan = Plan.model_validate_json(services.objects.get(plan_key))
    if (told := stored_options(services.store).get("core.dags_are_paused_at_creation")) is not None:
        paused_at_creation = is_true(told)
    active = services.store.active_bundle()
    if (active.version if active else None) != plan.replacing:
        return Activation(stale=True)
    outcomes = outcomes_of(services, plan, plan_key)
    keep_turn(services.store, deployment, services.clock.now())
    alive = SignsOfLife(services.store, deployment, services.clock)
    changes = Deployment.of(services, plan, outcomes, paused_at_creation, active, alive=alive)

    changes.tell_of_new_assets()
    left = [outcome for outcome in outcomes.values() if not changes.is_brought_in(outcome)]
    each(changes.bring_in, changes.dags_at_home(left))
    each(changes.conclude, [outcome for outcome in left if not is_events_file(outcome.relative_path)])
    for outcome in left:  # one after the other: each counts the patterns of the others
        if is_events_file(outcome.relative_path):
            changes.conclude(outcome)
    if not changes.pending:
        each(changes.make_stale, changes.without_a_file())
        each(changes.forget, plan.removed)
    each(changes.refuse, plan.refused.items())
    each(changes.move_to_bundle, changes.untouched())
    follow_events(services, [*outcomes, *plan.removed])
    try:
        services.store.activate_bundle(
            Bundle(
                name=plan.bundle_name,
                version=plan.bundle_version,
                created_at=changes.now,
                listeners=changes.listeners,
            ),
            replacing=active,
        )
    except Stale:
        return Activation(stale=True)
    services.store.set_alive("dag_processor", services.clock.now())
    services.store.delete_import_problem(THE_FOLDER)
    measure_import_errors(services)
    return Activation(files=len(outcomes))


def outcomes_of(services: Services, plan: Plan, plan_key: str) -> dict[str, FileOutcome]:
    """File → outcome, of the files that have one. Raises ServiceUnavailable if none has: parsing must come first."""
    bodies = each(lambda batch: services.objects.get(bucket_keys.progress(plan_key, batch)), range(len(plan.batches)))
    outcomes = {
        outcome.relative_path: outcome
        for body, batch in zip(bodies, plan.batches, strict=True)
        for outcome in read_progress(body).outcomes
        if outcome.relative_path in batch
    }
    planned = planned_in(plan)
    if planned and not outcomes:
        raise ServiceUnavailable(f"{len(planned)} files of {plan_key} have not been parsed, {min(planned)} among them")
    return dict(sorted(outcomes.items()))


def read_progress(body: bytes) -> Progress:
    """The progress of one batch. If it is not valid, a DAG file may have written it: then no outcome of the batch counts."""
    try:
        return Progress.model_validate_json(body)
    except ValueError:
        return Progress()


def planned_in(plan: Plan) -> frozenset[str]:
    return frozenset(path for batch in plan.batches for path in batch)


def pending_of(plan: Plan, outcomes: Mapping[str, FileOutcome]) -> frozenset[str]:
    """Files of the plan that were not parsed; the next plan has them."""
    return frozenset((planned_in(plan) - outcomes.keys()).union(plan.waiting))


def each(do: Callable[[Any], T], of: Iterable[Any]) -> list[T]:
    """Calls `do` for all, many at a time; raises the first failure after all have ended."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(do, of))


@dataclass(frozen=True, slots=True)
class Deployment:
    """One activation: the state before, the parse results, and the file that every DAG comes from now."""

    services: Services
    plan: Plan
    outcomes: Mapping[str, FileOutcome]
    paused_at_creation: bool
    now: datetime
    files: Mapping[str, str]
    common: str
    environments: Environments
    dags: Mapping[str, Dag]
    sources: Mapping[str, SourceFile]
    problems: frozenset[str]
    """Files that have an import error in the store."""
    warned: frozenset[str]
    """DAGs that have warnings in the store."""
    assets: Mapping[tuple[str, str], tuple[str, dict[str, Any]]]
    """(name, uri) → (group, extra) of the stored assets."""
    home: Mapping[str, str]
    """dag_id → the file it comes from. A DAG that is missing here no longer has a file."""
    of_file: Mapping[str, Sequence[str]]
    """The same, by file."""
    listeners: tuple[str, ...]
    """Hooks that the bundle's plugins implement."""
    pending: frozenset[str]
    """`pending_of` the plan."""
    alive: Callable[[], None]
    """To be called between two pieces of work."""
    failures: dict[str, str] = field(default_factory=dict)
    """dag_id → why it could not be activated."""

    @classmethod
    def of(
        cls,
        services: Services,
        plan: Plan,
        outcomes: Mapping[str, FileOutcome],
        paused_at_creation: bool,
        active: Bundle | None,
        *,
        alive: Callable[[], None],
    ) -> Deployment:
        store = services.store
        manifest = manifest_of(services.objects, plan.bundle_version)
        if manifest is None:
            raise NotFound(f"The manifest of bundle {plan.bundle_version} is gone")
        dags = {dag.dag_id: dag for dag in store.list_dags()}
        sources = {source.relative_path: source for source in store.list_source_files()}
        is_last = not pending_of(plan, outcomes)
        home = homes(dags, sources, outcomes, (*plan.removed, *plan.refused) if is_last else ())
        of_file: dict[str, list[str]] = {}
        for dag_id, path in home.items():
            of_file.setdefault(path, []).append(dag_id)
        return cls(
            services=services,
            plan=plan,
            outcomes=outcomes,
            paused_at_creation=paused_at_creation,
            now=services.clock.now(),
            files=manifest.files,
            common=common_fingerprint(manifest.files),
            environments=manifest.environments,
            dags=dags,
            sources=sources,
            problems=frozenset(problem.filename for problem in store.list_import_problems()),
            warned=frozenset(warning.dag_id for warning in store.list_warnings()),
            assets={(asset.name, asset.uri): (asset.group, asset.extra) for asset in store.list_assets()},
            home=home,
            of_file=of_file,
            listeners=listeners_of(outcomes.values(), active),
            pending=pending_of(plan, outcomes),
            alive=alive,
        )

    def tell_of_new_assets(self) -> None:
        """Send the listener calls for new assets before the assets are stored: after a crash in between they are sent again,
        so none is missed."""
        if not {Hook.ASSET_CREATED, Hook.ASSET_ALIAS_CREATED}.intersection(self.listeners):
            return
        assets: dict[tuple[str, str], Asset] = {}
        aliases: dict[str, AssetAlias] = {}
        known_aliases = {alias.name for alias in self.services.store.list_asset_aliases()}
        for path, outcome in self.outcomes.items():
            for parsed in outcome.dags:
                if self.home[parsed.dag_id] != path:
                    continue
                with suppress(*CAUSED_BY_A_FILE):  # reported with the file
                    spec = self.checked_spec(parsed, path)
                    aliases |= {alias.name: alias for alias in aliases_of(spec) if alias.name not in known_aliases}
                    found = [
                        Asset(name=r.name or "", uri=r.uri or "", group=r.group, extra=r.extra) for r in parsed.assets
                    ]
                    assets |= {asset.key: asset for asset in found if asset.key not in self.assets}
        tell_of_new_assets(
            self.services,
            assets.values(),
            aliases.values(),
            listeners=self.listeners,
            bundle_version=self.plan.bundle_version,
        )

    # --- one file ---

    def fingerprint(self, path: str, imports: Iterable[str]) -> str:
        return fingerprint(path, imports, self.files, self.common, self.environments.of_file(path))

    def is_brought_in(self, outcome: FileOutcome) -> bool:
        """Whether an earlier try of this activation did it: the file's fingerprint is written last."""
        known = self.sources.get(outcome.relative_path)
        return (
            known is not None
            and known.parsed_at == outcome.parsed_at
            and known.settings == noted(outcome.settings)
            and known.fingerprint == self.fingerprint(known.relative_path, known.imports)
        )

    def dags_at_home(self, outcomes: Iterable[FileOutcome]) -> Iterator[tuple[FileOutcome, ParsedDag]]:
        """The DAGs to activate, each with its file, without the DAGs whose ids do not fit into the file's item."""
        for outcome in outcomes:
            at_home = [parsed for parsed in outcome.dags if self.home[parsed.dag_id] == outcome.relative_path]
            others = set(self.of_file.get(outcome.relative_path, ())) - {parsed.dag_id for parsed in at_home}
            room = LARGEST_LIST - size_of(others)
            for parsed in at_home:
                room -= size_of([parsed.dag_id])
                if room < 0:
                    self.failures[parsed.dag_id] = (
                        f"The ids of its file's DAGs take more than {LARGEST_LIST:,} bytes together."
                    )
                else:
                    yield outcome, parsed

    def bring_in(self, one: tuple[FileOutcome, ParsedDag]) -> None:
        """Activate one DAG of a file. Notes an error caused by its data for `conclude`."""
        outcome, parsed = one
        try:
            spec = self.checked_spec(parsed, outcome.relative_path)
            self.put_assets(parsed)
            self.put_warnings(parsed, outcome)
            self.put_dag(parsed, spec, outcome)
        except CAUSED_BY_A_FILE as error:
            log.info("%s is not activated", parsed.dag_id, exc_info=True)
            self.failures[parsed.dag_id] = reason_of(error)
        self.alive()

    def mistakes_in_events(self, path: str, outcome: FileOutcome) -> list[str]:
        return mistakes_in(self.services, path, outcome.event_rules, gone=self.plan.removed)

    def conclude(self, outcome: FileOutcome) -> None:
        """After a file's DAGs: write its problems, and last its fingerprint."""
        path = outcome.relative_path
        errors = of_this_file(outcome.import_errors, path)
        if is_events_file(path) and not errors and (mistakes := self.mistakes_in_events(path, outcome)):
            errors[path] = "".join(f"{line}\n" for line in mistakes)
        at_home = [dag.dag_id for dag in outcome.dags if self.home[dag.dag_id] == path]
        for dag_id in at_home:
            if failure := self.failures.get(dag_id):
                errors[path] = f"{errors.get(path, '')}{dag_id} is not activated: {failure}\n"
        fresh = {dag_id for dag_id in at_home if dag_id not in self.failures}
        kept = [dag_id for dag_id in self.of_file.get(path, ()) if dag_id not in fresh and dag_id in self.dags]
        for dag_id in kept:
            self.change(dag_id, lambda dag: replace(dag, has_import_errors=True))

        rivals = {
            parsed.dag_id: home
            for parsed in outcome.dags
            if (home := self.home[parsed.dag_id]) != path and not holds(home, parsed.made_in)
        }
        self.put_problems(path, errors, rivals)
        imports = bounded({*outcome.touched, *rivals.values()})
        if is_events_file(path) and not errors:
            put_event_rules(self.services, path, outcome.event_rules)
        settings = noted(outcome.settings)
        note_read(self.services.store, settings)
        self.services.store.put_source_file(
            SourceFile(
                relative_path=path,
                bundle_name=self.plan.bundle_name,
                fingerprint=self.fingerprint(path, imports),
                imports=imports,
                settings=settings,
                dag_ids=tuple(sorted({*fresh, *kept})),
                made_in={dag.dag_id: made for dag in outcome.dags if dag.dag_id in fresh and (made := self.maker(dag))},
                is_worth_another_try=outcome.is_worth_another_try or (is_events_file(path) and path in errors),
                parsed_at=outcome.parsed_at,
                parse_duration=outcome.parse_duration,
            )
        )
        self.alive()

    def maker(self, parsed: ParsedDag) -> str | None:
        """The file whose code made the DAG, if it is not the file that the DAG comes from."""
        made_in = parsed.made_in
        return made_in if made_in in self.files and not holds(self.home[parsed.dag_id], made_in) else None

    def put_assets(self, parsed: ParsedDag) -> None:
        for ref in parsed.assets:
            asset = Asset(
                name=ref.name or "",
                uri=ref.uri or "",
                group=ref.group,
                extra=ref.extra,
                created_at=self.now,
                updated_at=self.now,
            )
            if self.assets.get((asset.name, asset.uri)) != (asset.group, asset.extra):
                self.services.store.put_asset(asset)

    def put_dag(self, parsed: ParsedDag, spec: DagSpec, outcome: FileOutcome) -> None:
        """Write the DAG as its file now defines it, with a new version if its serialized form has changed."""
        for _ in range(ATTEMPTS):
            before = self.services.store.get_dag(parsed.dag_id)
            number = self.version_number(before, parsed, spec)
            after = self.after_parse(before, number, parsed, spec, outcome)
            spec_before = self.spec_before(before)
            change_references(self.services, spec_before, spec, at=self.now)
            change_watchers(self.services, after.dag_id, spec_before, spec, bundle_version=self.plan.bundle_version)
            try:
                self.services.store.put_dag(before, after)
            except StaleDag:
                continue
            if before is not None and before.is_asset_triggered and not after.is_asset_triggered:
                self.services.store.unqueue(after.dag_id)  # As in Airflow: its queued events are dropped.
            if before is not None and not after.is_paused and lets_runs_go(before, after, spec):
                wake_runs(self.services, after, now=self.services.clock.now())
            wake_timetable(self.services, after, now=self.services.clock.now())
            wake_for_assets(self.services, after, now=self.services.clock.now())
            wake_watchers(self.services, after)
            return
        raise ServiceUnavailable(f"{parsed.dag_id} moved {ATTEMPTS} times while it was being activated")

    def checked_spec(self, parsed: ParsedDag, path: str) -> DagSpec:
        """The spec of a DAG of the file. The parser runs DAG authors' code, so the spec counts only if it matches its key
        and names this file: roles of tasks are given to files."""
        body = self.services.objects.get(parsed.spec_key)
        spec = DagSpec.model_validate_json(body)
        if parsed.spec_key != bucket_keys.parsed("specs", body) or spec.dag_id != parsed.dag_id:
            raise Invalid(f"{parsed.spec_key} is not the spec of {parsed.dag_id}")
        claimed = spec.relative_fileloc
        if not holds(path, claimed) or normpath(claimed) != claimed:
            raise Invalid(f"it says that its file is {cut(claimed, LONGEST_KEY)}, and its file is {path}")
        # The API shows these objects to users with the right to read the DAG: they must be no other object of the bucket.
        kinds: tuple[tuple[bucket_keys.Parsed, str], ...] = (
            ("serialized", parsed.serialized_key),
            ("sources", parsed.source_key),
        )
        for kind, key in kinds:
            if not bucket_keys.is_parsed(kind, key):
                raise Invalid(f"{cut(key, LONGEST_KEY)} is not a key under which a parser stores results")
        check_dag(spec, parsed.assets)
        return spec

    def version_number(self, before: Dag | None, parsed: ParsedDag, spec: DagSpec) -> int:
        """The number of the version with this serialized form: the newest one's, or the next, which is made."""
        if before is not None and before.serialized_key == parsed.serialized_key:
            return before.version_number
        number = before.version_number + 1 if before is not None else 1
        while True:
            version = DagVersion(
                dag_id=parsed.dag_id,
                version_number=number,
                created_at=self.now,
                bundle_name=self.plan.bundle_name,
                bundle_version=self.plan.bundle_version,
                **parsed.keys,
                dag_display_name=spec.dag_display_name,
            )
            try:
                self.services.store.put_version(version)
            except AlreadyExists:
                # Another deployment made it and died, or is ahead. It is ours if its content is equal; else take the
                # next number.
                taken = self.services.store.get_version(parsed.dag_id, number)
                if taken is None or taken.serialized_key != parsed.serialized_key:
                    number += 1
                    continue
            return number

    def after_parse(
        self, before: Dag | None, number: int, parsed: ParsedDag, spec: DagSpec, outcome: FileOutcome
    ) -> Dag:
        paused = spec.is_paused_upon_creation
        dag = replace(
            before or Dag(dag_id=spec.dag_id, is_paused=self.paused_at_creation if paused is None else paused),
            dag_display_name=spec.dag_display_name,
            description=spec.description,
            bundle_name=self.plan.bundle_name,
            bundle_version=self.plan.bundle_version,
            fileloc=spec.fileloc,
            relative_fileloc=spec.relative_fileloc,
            is_stale=False,
            has_import_errors=False,
            version_number=number,
            **parsed.keys,
            last_parsed_time=outcome.parsed_at,
            last_parse_duration=outcome.parse_duration,
            timetable_summary=spec.timetable.summary,
            timetable_description=spec.timetable.description,
            timetable_partitioned=spec.timetable.partitioned,
            timetable_periodic=spec.timetable.periodic,
            is_asset_triggered=spec.timetable.asset_expression is not None,
            has_watchers=bool(spec.watchers),
            tags=spec.tags,
            owners=spec.owners,
            max_active_runs=spec.max_active_runs,
            max_active_tasks=spec.max_active_tasks,
            max_consecutive_failed_dag_runs=spec.max_consecutive_failed_dag_runs,
            has_task_concurrency_limits=any(
                task.max_active_tis_per_dag is not None or task.max_active_tis_per_dagrun is not None
                for task in spec.tasks.values()
            ),
            allowed_run_types=spec.allowed_run_types,
            access_control=access_control_of(spec.access_control),
        )
        if self.is_scheduled_as_before(before, spec):
            return dag
        last = (
            last_automated_run(self.services, spec.dag_id, partitioned=spec.timetable.partitioned) if before else None
        )
        try:
            return with_next_run(self.services, dag, spec, last=last, now=self.now)
        except CAUSED_BY_A_FILE as problem:
            # One DAG's broken timetable must not stop the activation of the others; Airflow logs it, too.
            log.warning("%s is not scheduled: %s", spec.dag_id, problem)
            return replace(dag, next_run_after=None)

    def is_scheduled_as_before(self, before: Dag | None, spec: DagSpec) -> bool:
        """Whether the next-run fields still hold: then they stay, because a run may just be moving them."""
        old = self.spec_before(before)
        if old is None:
            return False
        same_dates = timetable.restriction_of(old) == timetable.restriction_of(spec)
        return same_dates and (old.timetable.type, old.timetable.data) == (spec.timetable.type, spec.timetable.data)

    def spec_before(self, before: Dag | None) -> DagSpec | None:
        """The DAG's spec until now; `None` for a new DAG or one that was gone."""
        if before is None or before.is_stale:
            return None
        try:
            return load_spec(self.services.objects, before.spec_key)
        except NotFound:
            return None

    def put_warnings(self, parsed: ParsedDag, outcome: FileOutcome) -> None:
        if parsed.dag_id in self.warned:
            self.services.store.delete_warnings(parsed.dag_id)
        for warning in outcome.warnings:
            self.services.store.put_warning(
                DagWarning(
                    dag_id=parsed.dag_id,
                    warning_type=cut(warning.warning_type, LONGEST_TYPE),
                    message=cut(warning.message),
                    timestamp=self.now,
                )
            )

    def put_problems(self, path: str, errors: dict[str, str], rivals: Mapping[str, str]) -> None:
        """Write the file's import errors, also for DAGs that another file defines, and delete its old ones."""
        ignored = "".join(
            f"AirflowDagDuplicatedIdException: Ignoring DAG {dag_id} from {path} - also found in {rival}\n"
            for dag_id, rival in sorted(rivals.items())
        )
        if ignored:
            errors[path] = errors.get(path, "") + ignored
        for filename, whole in errors.items():
            trace = cut(whole)
            tell_of_import_error(
                self.services,
                filename,
                trace,
                is_new=filename not in self.problems,
                listeners=self.listeners,
                bundle_version=self.plan.bundle_version,
            )
            self.services.store.put_import_problem(
                ImportProblem(
                    import_error_id=import_error_id(filename),
                    filename=filename,
                    bundle_name=self.plan.bundle_name,
                    stack_trace=trace,
                    timestamp=self.now,
                )
            )
        self.delete_problems(path, keeping=errors)

    def delete_problems(self, path: str, *, keeping: Iterable[str] = ()) -> None:
        """Delete the import errors of the file, and of the files in it if it is a zip."""
        for filename in self.problems - set(keeping):
            if filename == path or filename.startswith(f"{path}/"):
                self.services.store.delete_import_problem(filename)

    # --- the rest ---

    def without_a_file(self) -> list[str]:
        return [dag_id for dag_id, dag in self.dags.items() if not dag.is_stale and dag_id not in self.home]

    def make_stale(self, dag_id: str) -> None:
        spec_before = self.spec_before(self.dags[dag_id])
        change_references(self.services, spec_before, None, at=self.now)
        change_watchers(self.services, dag_id, spec_before, None)
        self.change(dag_id, lambda dag: replace(dag, is_stale=True))
        if dag_id in self.warned:
            self.services.store.delete_warnings(dag_id)

    def forget(self, path: str) -> None:
        """Delete the stored facts of a file that is gone."""
        self.delete_problems(path)
        if is_events_file(path):
            put_event_rules(self.services, path, ())
        self.services.store.delete_source_file(path)

    def refuse(self, refusal: tuple[str, str]) -> None:
        """Write the import error of a file that the bundle leaves out."""
        path, why = refusal
        self.put_problems(path, {path: why}, {})
        self.services.store.put_source_file(
            SourceFile(
                relative_path=path,
                bundle_name=self.plan.bundle_name,
                fingerprint=fingerprint_of_refused(why),
                parsed_at=self.now,
            )
        )

    def untouched(self) -> list[str]:
        """DAGs of files that were not parsed now. Their tasks may import a changed file, so their next runs load the new
        bundle; DAGs of broken files stay on the bundle with their last good version."""
        return [
            dag_id
            for dag_id, path in self.home.items()
            if path not in self.outcomes
            and path not in self.pending
            and (dag := self.dags.get(dag_id)) is not None
            and not dag.has_import_errors
            and dag.bundle_version != self.plan.bundle_version
        ]

    def move_to_bundle(self, dag_id: str) -> None:
        self.change(dag_id, partial(replace, bundle_version=self.plan.bundle_version))

    def change(self, dag_id: str, to: Change) -> None:
        """Write a change of a DAG's item, again if the item moved meanwhile."""
        for _ in range(ATTEMPTS):
            before = self.services.store.get_dag(dag_id)
            if before is None or to(before) == before:
                return
            try:
                self.services.store.put_dag(before, to(before))
            except StaleDag:
                continue
            return
        raise ServiceUnavailable(f"{dag_id} moved {ATTEMPTS} times while it was being activated")


def reason_of(error: Exception) -> str:
    """The error's text for the file's author: our own errors are sentences, others get their class name."""
    return str(error) if isinstance(error, Rejected) else f"{type(error).__name__}: {error}"


def of_this_file(import_errors: Mapping[str, str], path: str) -> dict[str, str]:
    """The errors by file: `path`, and for a zip the files in it. Any other name, or one too long for a key, comes from the
    file's own code; such an error is added to the file's."""
    errors: dict[str, str] = {}
    for filename, trace in sorted(import_errors.items()):
        is_fine = filename.startswith(f"{path}/") and size_in_key(filename) <= LONGEST_KEY
        name = filename if is_fine and len(errors) < MOST_PROBLEMS else path
        told_there = trace if name == filename else f"{cut(filename, LONGEST_KEY)}: {trace}"
        errors[name] = errors.get(name, "") + told_there
    return errors


def bounded(imports: Collection[str]) -> tuple[str, ...]:
    """The paths that a file depends on, sorted. If the list is too long for an item, whole folders (`folder/**`) replace
    files, the innermost first: the file is then parsed more often than necessary."""
    found = set(imports)
    while size_of(found) > LARGEST_LIST:
        deepest = max(depth_of(path) for path in found)
        found = {whole_folder(path) if depth_of(path) == deepest else path for path in found}
    return tuple(sorted(found))


def noted(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings read by the file, as its item holds them: without names that no setting can have, and cut off for a file
    that reads thousands."""
    possible = {name: version for name, version in settings.items() if size_in_key(name) <= LONGEST_KEY}
    sizes = accumulate(size_of([name, version]) for name, version in possible.items())
    return {name: possible[name] for name, size in zip(possible, sizes, strict=True) if size <= LARGEST_LIST}


def depth_of(path: str) -> int:
    return 0 if path == WHOLE else path.removesuffix(WHOLE).rstrip("/").count("/") + 1


def whole_folder(path: str) -> str:
    parent, separator, _ = path.removesuffix(WHOLE).rstrip("/").rpartition("/")
    return f"{parent}{separator}{WHOLE}"


def lets_runs_go(before: Dag, after: Dag, spec: DagSpec) -> bool:
    """Whether runs that stood still may continue now and must be woken: otherwise each is looked at within the hour."""
    has_room = after.max_active_runs > before.max_active_runs or after.max_active_tasks > before.max_active_tasks
    is_followed = spec.disable_bundle_versioning and after.version_number != before.version_number
    return before.is_stale or has_room or is_followed


def listeners_of(outcomes: Iterable[FileOutcome], active: Bundle | None) -> tuple[str, ...]:
    """The hooks that the bundle's listeners implement. A change of plugins makes all files be parsed anew, so all outcomes
    agree; if no file was parsed, the hooks of the bundle before."""
    stated = (outcome.listeners for outcome in outcomes if outcome.listeners is not None)
    return next(stated, active.listeners if active else ())


def homes(
    dags: Mapping[str, Dag],
    sources: Mapping[str, SourceFile],
    outcomes: Mapping[str, FileOutcome],
    removed: Iterable[str],
) -> dict[str, str]:
    """dag_id → the file it comes from. If several files define it: the present one, else the first by path.

    A DAG that a file only imports from another file, which defines it as well, comes from that other file.

    A file that cannot be parsed keeps the DAGs of its last good version, unless another file defines them.
    """
    gone = set(removed)
    good: dict[str, list[str]] = {}
    broken: dict[str, list[str]] = {}
    by_import: list[tuple[str, str, str]] = []
    for path, source in sources.items():
        if path not in outcomes and path not in gone:
            for dag_id in source.dag_ids:
                good.setdefault(dag_id, []).append(path)
            by_import.extend((dag_id, path, made_in) for dag_id, made_in in source.made_in.items())
    for path, outcome in outcomes.items():
        for parsed in outcome.dags:
            good.setdefault(parsed.dag_id, []).append(path)
            if not holds(path, parsed.made_in):
                by_import.append((parsed.dag_id, path, parsed.made_in))
        if outcome.import_errors and path in sources:
            for dag_id in sources[path].dag_ids:
                broken.setdefault(dag_id, []).append(path)
    for dag_id, path, made_in in by_import:
        if any(holds(claim, made_in) for claim in good[dag_id]):
            good[dag_id].remove(path)
    home: dict[str, str] = {}
    for dag_id in good.keys() | broken.keys():
        claims = good.get(dag_id) or broken[dag_id]
        present = dags[dag_id].relative_fileloc if dag_id in dags else None
        home[dag_id] = next((path for path in claims if holds(path, present)), min(claims))
    return home


def holds(path: str, fileloc: str | None) -> bool:
    """Whether a DAG's relative_fileloc is the file, or is inside it if it is a zip."""
    return fileloc is not None and (fileloc == path or fileloc.startswith(f"{path}/"))
