"""The terminal's messages while the folder is parsed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gust.aws.memory import MemoryObjects
from gust.local.parsing import BEGINS_WITHIN, QUIET_FOR, ParseProgress, in_a_line
from gust.model import bucket_keys
from gust.model.bundle import DeploymentTurn, ImportProblem
from gust.model.deployment import FileOutcome, ParsedDag, Plan, Progress
from gust.store.memory import MemoryStore

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TRACE = """Traceback (most recent call last):
  File "/venv/lib/python3.12/importlib/__init__.py", line 90, in import_module
  File "team/etl.py", line 7, in <module>
    from helper import shout
  File "helper.py", line 3, in <module>
NameError: name 'x' is not defined
"""


class Terminal:
    """A folder's deployments as the steps of the state machine leave them, and what is told of them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.objects = MemoryObjects()
        self.lines: list[str] = []
        self.seconds = 0.0
        self.progress = ParseProgress(self.store, self.objects, self.lines.append, clock=lambda: self.seconds)

    def given_plan(self, *files: str, deployment: str = "upload-1", refused: dict[str, str] | None = None) -> str:
        plan = Plan(bundle_version="v", replacing=None, batches=(files,), refused=refused or {})
        key = bucket_keys.plan(plan, deployment)
        self.objects.put(key, plan.model_dump_json().encode())
        turn = DeploymentTurn(holder=deployment, again=False, until=NOW + timedelta(seconds=30))
        self.store.move_deployment_turn(self.store.deployment_turn(), turn)
        return key

    def parsed(self, plan: str, *outcomes: FileOutcome, at: str | None = None) -> None:
        progress = Progress(outcomes=outcomes, parsing=at)
        self.objects.put(bucket_keys.progress(plan, 0), progress.model_dump_json().encode())

    def told(self, *, after: float = 1.0) -> list[str]:
        """What the next look says."""
        self.seconds += after
        self.lines.clear()
        self.progress.look()
        return list(self.lines)


def outcome(path: str, *dag_ids: str, trace: str = "") -> FileOutcome:
    return FileOutcome(
        relative_path=path,
        dags=tuple(ParsedDag(dag_id=d, spec_key="", serialized_key="", source_key="") for d in dag_ids),
        import_errors={path: trace} if trace else {},
        parsed_at=NOW,
        parse_duration=0.1,
    )


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_what_the_bundle_does_not_hold_is_told_with_its_reason(terminal: Terminal) -> None:
    terminal.progress.expect()
    terminal.given_plan("a.py", refused={"team/requirements.txt": "error: No solution found\n  cause: Because x\n"})
    assert terminal.told() == ["import error: team/requirements.txt: error: No solution found cause: Because x"]
    assert terminal.told() == []


def test_files_are_counted_and_the_slow_one_is_named(terminal: Terminal) -> None:
    terminal.progress.expect()
    plan = terminal.given_plan("a.py", "b.py", "c.py")
    assert terminal.told() == []
    terminal.parsed(plan, outcome("a.py", "a"), at="b.py")
    assert terminal.told(after=5) == ["parsed 1 of 3 files; at b.py"]
    assert terminal.told() == []
    terminal.parsed(plan, outcome("a.py", "a"), outcome("b.py"), outcome("c.py", "c", "d"))
    assert terminal.told(after=60) == ["parsed 3 files in 66 s: 3 DAGs"]
    assert terminal.told() == []


def test_an_error_is_told_at_once_and_once_with_its_file_and_line(terminal: Terminal) -> None:
    terminal.progress.expect()
    plan = terminal.given_plan("a.py", "broken.py")
    terminal.parsed(plan, outcome("broken.py", trace='  File "broken.py", line 4\nSyntaxError: invalid syntax'))
    assert terminal.told() == ["import error: broken.py:4: SyntaxError: invalid syntax"]
    terminal.parsed(
        plan,
        outcome("a.py", "a"),
        outcome("broken.py", trace='  File "broken.py", line 4\nSyntaxError: invalid syntax'),
    )
    assert terminal.told() == ["parsed 2 files in 1 s: 1 DAG, 1 import error"]


def test_an_edit_is_told_by_its_name(terminal: Terminal) -> None:
    terminal.parsed(terminal.given_plan("a.py", "b.py"), outcome("a.py"), outcome("b.py"))
    terminal.progress.look()
    terminal.progress.expect()
    terminal.parsed(terminal.given_plan("a.py", deployment="upload-2"), outcome("a.py", "a"))
    assert "parsed a.py: 1 DAG" in terminal.told()


def test_what_a_round_leaves_is_told_with_the_next_plan(terminal: Terminal) -> None:
    terminal.progress.expect()
    terminal.parsed(terminal.given_plan("a.py", "b.py"), outcome("a.py", "a"))
    terminal.told()
    terminal.parsed(terminal.given_plan("b.py"), outcome("b.py", "b"))
    assert terminal.told() == ["parsed 1 of 2 files; the rest follows", "parsed b.py: 1 DAG"]


def test_a_deployment_that_another_was_held_to_replace_is_still_told(terminal: Terminal) -> None:
    """On a busy machine it was silent for longer than its turn lasts."""
    terminal.progress.expect()
    plan = terminal.given_plan("a.py")
    assert terminal.told() == []
    terminal.given_plan("a.py", deployment="after-1")
    assert terminal.told() == []
    terminal.parsed(plan, outcome("a.py", "a"))
    assert terminal.told() == ["parsed a.py in 2 s: 1 DAG"]


def test_an_idle_stack_reads_nothing(terminal: Terminal) -> None:
    terminal.progress.expect()
    terminal.told(after=BEGINS_WITHIN + 1)
    assert not terminal.progress.is_expecting


def test_after_a_deployment_nothing_is_read_before_long(terminal: Terminal) -> None:
    terminal.progress.expect()
    plan = terminal.given_plan("a.py")
    terminal.told()
    terminal.parsed(plan, outcome("a.py", "a"))
    terminal.told()
    turn = terminal.store.deployment_turn()
    terminal.store.move_deployment_turn(turn, replace(turn, holder=""))
    terminal.told(after=QUIET_FOR + 1)
    assert not terminal.progress.is_expecting


def test_a_deployment_that_a_busy_machine_begins_late_is_told(terminal: Terminal) -> None:
    terminal.progress.expect()
    for _ in range(3):
        assert terminal.told(after=QUIET_FOR) == []
    plan = terminal.given_plan("a.py")
    terminal.told()
    terminal.parsed(plan, outcome("a.py", "a"))
    assert terminal.told() == ["parsed a.py in 1 s: 1 DAG"]


def test_a_long_parse_is_expected_for_as_long_as_it_takes(terminal: Terminal) -> None:
    terminal.progress.expect()
    terminal.given_plan("a.py")
    for _ in range(10):
        terminal.told(after=3600)
    assert terminal.progress.is_expecting


def test_an_error_in_an_imported_file_names_both() -> None:
    assert in_a_line("team/etl.py", TRACE) == "team/etl.py (helper.py:3): NameError: name 'x' is not defined"


def test_an_error_without_a_place_names_the_file() -> None:
    assert (
        in_a_line("a.py", "a.py could not be parsed. It was killed.\n")
        == "a.py: a.py could not be parsed. It was killed."
    )


def test_an_import_error_that_is_gone_is_told_once() -> None:
    terminal = Terminal()
    for file in ("etl.py", "other.py", "old.py"):
        problem = ImportProblem(
            import_error_id=1, filename=file, bundle_name="dags-folder", stack_trace=TRACE, timestamp=NOW
        )
        terminal.store.put_import_problem(problem)
    plan = terminal.given_plan("etl.py")
    document = Plan.model_validate_json(terminal.objects.get(plan)).model_copy(update={"removed": ("old.py",)})
    terminal.objects.put(plan, document.model_dump_json().encode())
    terminal.progress.expect()
    terminal.parsed(plan, outcome("etl.py", "etl"))
    told = terminal.told()
    assert "mended: etl.py has no import error now; 1 file left with errors" in told
    assert "gone: old.py, and its import error; 1 file left with errors" in told
    assert [line for line in terminal.told() if "mended" in line or "gone" in line] == []
