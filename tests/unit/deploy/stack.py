"""A deployment in memory. Parsing is made up: a file's text says what parsing it gives, so that no Airflow is needed.

dag <dag_id> [schedule]      the file holds this DAG
imports <path>               and depended on this
asks <setting>               and asked for this variable, connection or list of keys (named as in settings/settings_read.py)
made-in <path> <dag_id>      and gives this DAG, which that file's code made
error <text>                 and gives this import error
error-of <path> <text>       and this one, of that file
large <field>                the next DAG has more in that field than an item holds
unreadable                   the next DAG's spec is none
elsewhere                    the next DAG's source is said to lie where parsers do not write
listens <hook>               (of the file of plugins) a listener implements this hook
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import Any
from zipfile import ZipFile

from gust.airflow_bridge.event_file import read_event_file
from gust.aws.cipher import FernetCipher
from gust.aws.memory import MemoryConfiguration, MemoryObjects, MemoryQueues
from gust.aws.tokens import JwtTokens
from gust.errors import NotFound
from gust.model import bucket_keys
from gust.model.architecture import MACHINES
from gust.model.dag import Dag
from gust.model.dag_spec import AssetRef, DagSpec, TaskSpec, TimetableSpec, WatcherSpec
from gust.model.deployment import FileOutcome, ParsedDag, ParseWarning, Plan, Progress
from gust.model.environment import Build, Built, Recipe
from gust.model.event_rule import is_events_file
from gust.model.workload import TellListeners
from gust.ports.clock import ManualClock
from gust.ports.event_bus import EventBus, NoEventBus
from gust.services.context import Services
from gust.services.deployments.activate_bundle import Activation, activate
from gust.services.deployments.deploy_bundle import Snapshot, snapshot
from gust.services.deployments.environments import interpreter
from gust.services.settings.settings_read import versions_now

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@dataclass
class Stack:
    clock: ManualClock
    store: Any
    objects: MemoryObjects
    parsed: list[str] = field(default_factory=list)
    """Files that were parsed, all deployments together."""
    built: list[str] = field(default_factory=list)
    """Files whose environments were built, in order."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Requirement → bytes, unpacked, that it takes."""
    queues: MemoryQueues = field(default_factory=MemoryQueues)
    are_paused_at_creation: bool = True
    event_bus: EventBus = field(default_factory=NoEventBus)
    configuration: MemoryConfiguration = field(default_factory=MemoryConfiguration)

    @property
    def services(self) -> Services:
        return Services(
            store=self.store,
            objects=self.objects,
            queues=self.queues,
            tokens=JwtTokens(lambda: "a key that is long enough for HMAC-SHA256"),
            clock=self.clock,
            logs=None,  # type: ignore[arg-type]
            cipher=FernetCipher(lambda: "a key of the stack"),
            event_bus=self.event_bus,
            configuration=self.configuration,
        )

    # --- the folder ---

    def upload(self, path: str, text: str = "") -> None:
        self.objects.put(f"dags/{path}", text.encode())

    def delete(self, path: str) -> None:
        self.objects.delete([f"dags/{path}"])

    # --- the state machine ---

    def deploy(self) -> list[str]:
        """From snapshot to activation, again where the activation was stale or files wait. Returns what was parsed."""
        before = len(self.parsed)
        while (taken := self.snapshot()).changed:
            for build in taken.builds:
                self.build(build)
            if taken.builds:
                continue
            self.parse(taken)
            if not self.activate(taken).stale and not self.plan_of(taken).waiting:
                break
        return sorted(self.parsed[before:])

    def snapshot(self) -> Snapshot:
        return snapshot(self.services, "test")

    def build(self, asked: Build) -> None:
        """Made up as parsing is: the archive is named by what is asked for, and on what; `impossible` is refused, and so is
        `no-wheel-for-ARCHITECTURE` there."""
        recipe = Recipe.model_validate_json(self.objects.get(bucket_keys.recipe(asked.recipe)))
        self.built.append(asked.file)
        refused = {"impossible", *(f"no-wheel-for-{a}" for a in MACHINES if interpreter(a) == recipe.python)}
        problem = "It cannot be.\n" if refused & {*recipe.requirements} else None
        where = "" if recipe.python == interpreter() else f" on {recipe.python}"
        built = Built(
            archive="" if problem else "+".join(recipe.requirements) + where,
            problem=problem,
            size=sum(self.sizes.get(each, 0) for each in recipe.requirements),
            built_at=self.clock.now().timestamp(),
            uploaded=asked.uploaded,
        )
        self.objects.put(bucket_keys.built(asked.recipe), built.model_dump_json().encode())

    def parse(self, taken: Snapshot, *, most: int | None = None) -> None:
        """`most`: so many files of each batch, then the round's time is up."""
        plan = self.plan_of(taken)
        with ZipFile(BytesIO(self.objects.get(bucket_keys.bundle(plan.bundle_version)))) as bundle:
            for number, batch in enumerate(plan.batches):
                outcomes = tuple(self.outcome(path, bundle.read(path).decode()) for path in batch[:most])
                outcomes = tuple(o.model_copy(update={"listeners": self.listeners(bundle)}) for o in outcomes)
                body = Progress(outcomes=outcomes).model_dump_json().encode()
                self.objects.put(bucket_keys.progress(taken.plan, number), body)

    def plan_of(self, taken: Snapshot) -> Plan:
        assert taken.plan is not None
        return Plan.model_validate_json(self.objects.get(taken.plan))

    def listeners(self, bundle: ZipFile) -> tuple[str, ...]:
        lines = [line.split() for path in bundle.namelist() for line in bundle.read(path).decode().splitlines()]
        return tuple(line[1] for line in lines if line[:1] == ["listens"])

    def told(self) -> list[tuple[str, str]]:
        """What listeners have been sent: hook, and of what."""
        return [(w.call.hook, w.call.about) for w, _ in self.queues.wakes if isinstance(w, TellListeners)]

    def activate(self, taken: Snapshot) -> Activation:
        assert taken.plan is not None
        return activate(self.services, taken.plan, "test", paused_at_creation=self.are_paused_at_creation)

    def outcome(self, path: str, text: str) -> FileOutcome:
        self.parsed.append(path)
        if is_events_file(path):
            return parsed_event_file(path, text, at=self.clock.now())
        said = [(*line.split(maxsplit=1), "")[:2] for line in text.splitlines() if line.strip()]
        errors = [rest for kind, rest in said if kind == "error"]
        return FileOutcome(
            relative_path=path,
            dags=tuple(self.dags_in(path, text, said)),
            import_errors=({path: errors[0]} if errors else {})
            | dict((rest.split(maxsplit=1)) for kind, rest in said if kind == "error-of"),
            touched=tuple(rest for kind, rest in said if kind == "imports"),
            settings=versions_now(self.store, [rest for kind, rest in said if kind == "asks"]),
            warnings=tuple(
                ParseWarning(warning_type="runtime varying value", message=rest)
                for kind, rest in said
                if kind == "warn"
            ),
            is_worth_another_try=any("time" in error for error in errors),
            parsed_at=self.clock.now(),
            parse_duration=0.5,
        )

    def dags_in(self, path: str, text: str, said: list[Any]) -> Iterator[ParsedDag]:
        large, odd = "", ""
        for kind, rest in said:
            match kind:
                case "large":
                    large = rest
                case "unreadable" | "elsewhere":
                    odd = kind
                case "made-in":
                    made_in, dag_id = rest.split()
                    yield self.dag_in(path, text, dag_id).model_copy(update={"made_in": made_in})
                case "dag":
                    parsed = self.dag_in(path, text, rest)
                    if large:
                        parsed = self.grown(parsed, large)
                    if odd == "unreadable":
                        parsed = parsed.model_copy(
                            update={"spec_key": self.keep("specs", '{"dag_id": "\\ud800"}', "json")}
                        )
                    elif odd == "elsewhere":
                        parsed = parsed.model_copy(update={"source_key": "xcom/secret"})
                    large, odd = "", ""
                    yield parsed

    def grown(self, parsed: ParsedDag, field: str) -> ParsedDag:
        spec = DagSpec.model_validate_json(self.objects.get(parsed.spec_key))
        huge = "d" * 500_000
        asset = parsed.assets[0]
        match field:
            case "description":
                spec = spec.model_copy(update={field: huge})
            case "tags" | "owners":
                spec = spec.model_copy(update={field: tuple(f"{n:09}" * 10 for n in range(5_000))})
            case "access_control":
                spec = spec.model_copy(update={field: {huge: ["can_read"]}})
            case "extra":
                asset = asset.model_copy(update={"extra": {"x": huge}})
            case "uri":
                asset = asset.model_copy(update={"uri": f"s3://{'u' * 1_000}"})
            case "schedule":
                parts = [{"asset": {"name": f"a{n}", "uri": f"s3://{n}", "group": "asset"}} for n in range(5_000)]
                timetable = spec.timetable.model_copy(update={"asset_expression": {"any": parts}})
                spec = spec.model_copy(update={"timetable": timetable})
            case "watcher":
                watcher = WatcherSpec(name="w", asset_name="a", asset_uri="a", classpath="c", kwargs={"x": huge})
                spec = spec.model_copy(update={"watchers": (watcher,)})
            case "modules":
                spec = spec.model_copy(update={field: tuple(f"m{n}" for n in range(5_000))})
            case "queue" | "executor":
                spec = spec.model_copy(update={"tasks": {"t": spec.tasks["t"].model_copy(update={field: huge})}})
            case "deadline":
                spec = spec.model_copy(update={field: [{"callback": huge}]})
            case "start_trigger_args":
                task = spec.tasks["t"].model_copy(update={field: {"trigger_kwargs": huge}})
                spec = spec.model_copy(update={"tasks": {"t": task}})
            case _:
                raise ValueError(field)
        spec_key = self.keep("specs", spec.model_dump_json(), "json")
        return parsed.model_copy(update={"spec_key": spec_key, "assets": (asset,)})

    def dag_in(self, path: str, text: str, rest: str) -> ParsedDag:
        dag_id, _, schedule = rest.partition(" ")
        timetable = TimetableSpec(type="airflow.timetables.simple.NullTimetable", can_be_scheduled=False)
        if schedule.startswith("custom"):
            timetable = TimetableSpec(type=f"plugins.{schedule}")
        elif schedule in {"orders", "watched"}:
            timetable = TimetableSpec(
                type="airflow.timetables.simple.AssetTriggeredTimetable",
                asset_expression={"asset": {"name": "orders", "uri": "orders", "group": "asset"}},
                periodic=False,
            )
        elif schedule:
            timetable = TimetableSpec(
                type="airflow.timetables.trigger.CronTriggerTimetable",
                data={"expression": schedule, "timezone": "UTC", "interval": 0.0, "run_immediately": False},
                summary=schedule,
            )
        watched = (WatcherSpec(name="w", asset_name="orders", asset_uri="orders", classpath="made.up.Trigger"),)
        spec = DagSpec(
            dag_id=dag_id,
            watchers=watched if schedule == "watched" else (),
            dag_display_name=dag_id,
            fileloc=f"/dags/{path}",
            relative_fileloc=path,
            start_date=datetime(2026, 3, 1, tzinfo=UTC),
            timetable=timetable,
            tags=("made-up",),
            access_control={"team-a": ["can_read"]},
            tasks={"t": TaskSpec(task_id="t", max_active_tis_per_dag=1)},
        )
        return ParsedDag(
            dag_id=dag_id,
            spec_key=self.keep("specs", spec.model_dump_json(), "json"),
            serialized_key=self.keep("serialized", json.dumps([dag_id, path, schedule]), "json"),
            source_key=self.keep("sources", text, "txt"),
            assets=(AssetRef(name=f"{dag_id}-asset", uri=f"s3://{dag_id}", extra={"by": path}),),
        )

    def keep(self, folder: str, text: str, suffix: str) -> str:
        key = f"{folder}/{sha256(text.encode()).hexdigest()}.{suffix}"
        self.objects.put_once(key, text.encode())
        return key

    # --- what one sees ---

    def dag(self, dag_id: str) -> Dag:
        found = self.store.get_dag(dag_id)
        if found is None:
            raise NotFound(dag_id)
        return found

    def fresh(self) -> dict[str, str]:
        """DAGs that are not stale, and the files they come from."""
        return {dag.dag_id: dag.relative_fileloc for dag in self.store.list_dags() if not dag.is_stale}

    def errors(self) -> dict[str, str]:
        return {problem.filename: problem.stack_trace for problem in self.store.list_import_problems()}

    def versions(self, dag_id: str) -> list[int]:
        return [version.version_number for version in self.store.list_versions(dag_id)]


def parsed_event_file(path: str, text: str, *, at: datetime) -> FileOutcome:
    """As the parser has it of its child."""
    read = read_event_file(text, path)
    return FileOutcome(
        relative_path=path,
        import_errors={path: "\n".join(read.mistakes)} if read.mistakes else {},
        event_rules=() if read.mistakes else tuple(read.rules),
        parsed_at=at,
        parse_duration=0.1,
    )


class DiedError(Exception):
    """The process ended here."""


class Dying:
    """A store, or a bucket, whose user dies at a certain write."""

    def __init__(self, of: Any, *, after: int) -> None:
        self._of = of
        self._left = after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._of, name)
        return self._dying(method) if name.startswith(("put", "delete", "activate", "set")) else method

    def _dying(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def dying(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise DiedError
            return write(*args, **kwargs)

        return dying
