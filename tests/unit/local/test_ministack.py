"""What Gust replaces inside MiniStack is there, and a MiniStack that lacks it stops the stack."""

from __future__ import annotations

import ast
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gust.local import ministack
from gust.local.stack import LocalStack, LocalStackError
from tests.environment import of_a_user

ROOT = Path(__file__).parents[3]
NOW = 1_000_000.0


def test_every_name_is_there() -> None:
    ministack.check()


def test_a_name_that_is_gone_is_told_with_the_pinned_version() -> None:
    names = {"ministack.app": ("app", "_gone"), "ministack.gone": ("x",), "ministack.services.sqs": ("_queues._gone",)}
    with pytest.raises(ministack.MiniStackChangedError) as raised:
        ministack.check(names)
    assert "no ministack.app._gone, ministack.gone, ministack.services.sqs._queues._gone." in str(raised.value)
    assert f"written against MiniStack {ministack.PINNED}" in str(raised.value)


def test_the_pinned_version_is_the_one_that_is_installed_with_gust() -> None:
    assert f"ministack=={ministack.PINNED}\n" in (ROOT / "requirements" / "local.in").read_text()


def test_the_stack_does_not_start_on_a_ministack_that_lacks_a_name(tmp_path: Path) -> None:
    stack = LocalStack(
        root=ROOT, data=tmp_path, dags=None, emulator="tests.unit.local.older_ministack", environment=of_a_user()
    )
    with pytest.raises(LocalStackError) as raised:
        stack.start()
    assert "has no ministack.services.sqs._queues._data" in str(raised.value)
    assert ministack.PINNED in str(raised.value)


def test_the_list_names_what_the_module_uses_and_nothing_else() -> None:
    listed = {f"{module}.{name}" for module, names in ministack.NAMES.items() for name in names}
    assert {name for name in listed if name.removesuffix("._data") not in used()} == set()
    assert used() - {name.removesuffix("._data") for name in listed} == {"ministack.core.lambda_runtime.Worker"}


def used() -> set[str]:
    """`module.name` of what gust/local/ministack.py uses of MiniStack's modules."""
    tree = ast.parse(Path(ministack.__file__).read_text())
    return {name for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for name in used_by(function)}


def used_by(function: ast.FunctionDef) -> Iterator[str]:
    modules: dict[str, str] = {}
    services: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ministack"):
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(function):
        match node:
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules:
                yield f"{modules[module]}.{name}"
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=module), attr=name), attr="_spawn" as method):
                yield f"{modules[module]}.{name}.{method}"
            case ast.Attribute(value=ast.Subscript(value=ast.Name(id="services")), attr=name):
                yield from (f"ministack.services.{service}.{name}" for service in services)
            case ast.DictComp(generators=[ast.comprehension(iter=ast.Tuple(elts=names))]):
                services = {str(name.value) for name in names if isinstance(name, ast.Constant)}


def a_message(handle: str, *, visible_in: float) -> dict[str, Any]:
    return {"receipt_handle": handle, "visible_at": NOW + visible_in}


def test_a_dead_functions_message_is_visible_after_a_minute() -> None:
    left = a_message("mine", visible_in=960)
    given_back = a_message("mine", visible_in=5)
    received_again = a_message("another's", visible_in=960)
    ministack.make_visible_soon([left, given_back, received_again], ["mine"] * 3, now=NOW)
    visible_in = [message["visible_at"] - NOW for message in (left, given_back, received_again)]
    assert visible_in == [60, 5, 960]


def test_the_emulator_does_so_whatever_became_of_the_function() -> None:
    from ministack.services import lambda_svc

    before = lambda_svc._run_sqs_batch
    message = a_message("mine", visible_in=1e10)
    lambda_svc._run_sqs_batch = lambda *_: None
    try:
        ministack.return_messages_of_ended_functions()
        lambda_svc._run_sqs_batch({}, {}, {}, [message], "url", "name")
    finally:
        lambda_svc._run_sqs_batch = before
    assert message["visible_at"] < NOW + 1e10


def put_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `limit_processes` replaces."""
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    for owner, name in (
        *((lambda_svc, name) for name in ("acquire_worker", "reap_idle_workers", "release_worker")),
        *((lambda_runtime, name) for name in ("kill_workers", "_LOCAL_WORKER_TTL")),
        (lambda_runtime.Worker, "_spawn"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))


def test_the_last_process_of_a_rare_function_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    put_back_later(monkeypatch)
    ministack.limit_processes({})
    ended: list[str] = []

    def idle(name: str, seconds: float, *, in_use: bool = False) -> SimpleNamespace:
        return SimpleNamespace(
            func_name=f"gust-{name}",
            _proc=None,
            in_use=in_use,
            last_used=time.time() - seconds,
            config={},
            _discard_tmpdir=lambda: ended.append(name),
        )

    long = ministack.IDLE + 1
    processes = [
        idle("key-maker", long),
        idle("key-rotation", 1),
        idle("announcer", long, in_use=True),
        idle("api", long),
    ]
    monkeypatch.setattr(lambda_runtime, "_workers", {each.func_name: [each] for each in processes})

    assert lambda_svc.reap_idle_workers() == 1
    assert ended == ["key-maker"]
    assert lambda_svc.reap_idle_workers() == 0


def test_a_process_is_idle_since_its_last_answer_and_takes_what_it_unpacked_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ministack.core import lambda_runtime
    from ministack.services import lambda_svc

    put_back_later(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ministack.limit_processes({})
    started = subprocess.Popen(["sleep", "60"], env=of_a_user())  # noqa: S607
    process = SimpleNamespace(
        func_name="f", _proc=started, in_use=True, last_used=0.0, config={}, _discard_tmpdir=lambda: None
    )
    monkeypatch.setitem(
        lambda_runtime._workers, "f", [SimpleNamespace(in_use=False, last_used=0.0, config={}), process]
    )
    for name in (f"{started.pid}", f"{started.pid}-environments", f"{started.pid}0"):
        (tmp_path / f"gust-bundles-{name}" / "v1").mkdir(parents=True)

    lambda_svc.release_worker(process)
    assert lambda_runtime.reap_idle_workers() == 0
    process.last_used -= ministack.IDLE
    assert lambda_runtime.reap_idle_workers() == 1

    assert started.returncode is not None
    assert [folder.name for folder in tmp_path.iterdir()] == [f"gust-bundles-{started.pid}0"]
