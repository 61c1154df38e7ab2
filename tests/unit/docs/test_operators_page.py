"""docs/operators.md says what `tests/system/test_operators.py` shows."""

import ast

import pytest

from tests.system.operator_cases import CASES, DAGS, Case, Ending
from tests.system.operators_page import PAGE, page


def test_the_page_is_made_of_the_declarations() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.system.operators_page"


def test_each_file_of_dags_has_a_case() -> None:
    assert {path.stem for path in DAGS.glob("*.py")} == {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_declared_tasks_are_in_the_file_with_the_declared_class(case: Case) -> None:
    found = {
        (dag_id, task): operator
        for dag_id, body in _dags(ast.parse(case.file.read_text()))
        for task, operator in _tasks(body)
    }
    for proof in case.proofs:
        assert found[case.dag_id(proof.ending), proof.task] == proof.operator
    assert case.of(Ending.SUCCESS), "a service has a DAG that succeeds"


def _dags(module: ast.Module) -> list[tuple[str, ast.With]]:
    return [
        (str(node.items[0].context_expr.args[0].value), node)  # type: ignore[attr-defined]  # DAG("…")
        for node in ast.walk(module)
        if isinstance(node, ast.With)
    ]


def _tasks(body: ast.With) -> list[tuple[str, str]]:
    """Task id, and class or `@task`."""
    functions = [(node.name, "@task") for node in ast.walk(body) if isinstance(node, ast.FunctionDef)]
    return functions + [
        (str(keyword.value.value), call.func.id)
        for call in ast.walk(body)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        for keyword in call.keywords
        if keyword.arg == "task_id" and isinstance(keyword.value, ast.Constant)
    ]
