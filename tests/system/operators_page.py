"""docs/operators.md, made of `operator_cases`, which `test_operators` holds to what a run shows.

`python -m tests.system.operators_page` writes it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.system.operator_cases import CASES, Case, Ending, Proof

PAGE: Final = Path(__file__).parents[2] / "docs/operators.md"

_HEAD: Final = """# AWS operators

Gust runs the operators, sensors, hooks and triggers of Airflow's amazon provider as they are. This page says which of them
a test has run on the local stack, and against what; the test looks at the task's state, log, XCom and link.

The page is made of the tests' declarations (`python -m tests.system.operators_page`). `tests/system/test_operators.py` fails
where a run shows something else, and `tests/unit/docs/test_operators_page.py` where the page is out of date.

- **MiniStack** is the emulator of the local stack, **moto** is moto's server.
- **Scripted answers** come from an HTTP server that speaks AWS's wire formats and refuses an answer that does not fit
  botocore's model of the service. Each job runs, fails or lasts as its name says (`tests/system/scripted_aws.py`). The
  answers are written from AWS's documentation; they are not recorded from an account.
- The **stand-in API server** knows pods and their logs, speaks TLS, and takes a token that it knows or one that AWS's
  access keys have signed (`tests/system/kubernetes_api.py`). The Kubernetes provider comes from a `requirements.txt`.
- No column says what AWS itself does: no test calls an AWS account.
- *deferrable*: the task waited in the triggerer. *failure*: the job failed at the service, and so did the task.
- *on_kill*: a person marked the running task, and the operator cancelled the job at the service.

"""
_COLUMNS: Final = (
    "service",
    "operators and sensors",
    "blocking",
    "deferrable",
    "proven against",
    "failure",
    "on_kill",
    "link",
    "not proven",
)


def page() -> str:
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *map(_row, CASES)]
    return _HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _row(case: Case) -> tuple[str, ...]:
    good = case.of(Ending.SUCCESS)
    return (
        case.service,
        _each(f"`{proof.hook or proof.operator}`" for proof in case.proofs),
        _against(proof for proof in good if not proof.deferred),
        _against(proof for proof in case.proofs if proof.deferred),
        _against(case.proofs),
        _against(case.of(Ending.FAILURE)),
        _against(case.of(Ending.KILLED)),
        _each(link for proof in case.proofs for link in (proof.link, *proof.more_links) if link),
        case.not_proven,
    )


def _against(proofs: Iterable[Proof]) -> str:
    return _each(proof.against.value for proof in proofs)


def _each(names: Iterable[str]) -> str:
    """Without repetitions, in order."""
    return ", ".join(dict.fromkeys(names)) or "none"


if __name__ == "__main__":
    PAGE.write_text(page())
