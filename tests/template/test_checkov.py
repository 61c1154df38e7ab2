"""What checkov, a scanner of known misconfigurations, finds in the template; and why we leave a finding as it is.

It has an environment of its own beside .venv's packages, made once from requirements/checkov.txt.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from gust.local import deployment
from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "requirements" / "checkov.txt"

OWN_KEYS: Final = "AWS's own key encrypts it, for free; a key of one's own costs $1 a month and a price per use."

EXCUSED: Final[dict[str, str]] = {
    "CKV_AWS_111": "Interfaces of a network take no resource; the code of DAG authors is denied the same actions.",
    "CKV_AWS_19": "It is encrypted either way; the rule reads no condition.",
    "CKV_AWS_115": "A reservation takes from the account's concurrency; event source mappings limit what queues start.",
    "CKV_AWS_116": "Queues, the stream and the state machine keep what fails; test_template.py says who repeats what.",
    "CKV_AWS_117": "Functions reach AWS's public endpoints; endpoints in a VPC, or a NAT, are billed by the hour.",
    "CKV_AWS_173": OWN_KEYS + " Environment variables hold names of resources, no secret.",
    "CKV_AWS_18": "CloudTrail can log the bucket's requests; a bucket for access logs would hold files for ever.",
    "CKV_AWS_21": "What Gust writes is immutable under its hash, and dags/ is a copy of a repository.",
    "CKV_AWS_26": OWN_KEYS
    + " SNS has no such key; an alarm's text tells no secret, and with KMS alarms need a key policy.",
}
"""Rule → why the template breaks it."""


@pytest.fixture(scope="module")
def checkov() -> Path:
    """The program."""
    home = ROOT / ".venv" / "share" / f"checkov-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not (home / "made").exists():
        uv = Path(sys.executable).with_name("uv")
        shutil.rmtree(home, ignore_errors=True)
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, home],
            [uv, "pip", "sync", "--quiet", "--python", home / "bin" / "python", "--require-hashes", LOCK],
        ):
            subprocess.run(command, check=True, env=of_a_user())  # noqa: S603
        (home / "made").touch()
    return home / "bin" / "checkov"


def test_checkov_finds_what_we_know_and_nothing_else(checkov: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.json"
    template.write_text(json.dumps(deployment.transform(ROOT, {}), default=str))

    command = [checkov.with_name("python"), checkov, "-f", template, "--framework", "cloudformation"]
    checked = subprocess.run(  # noqa: S603
        [*command, "--skip-download", "--compact", "--quiet", "--output", "json"],
        env=of_a_user(),
        capture_output=True,
        text=True,
        check=False,
    )

    findings: list[dict[str, Any]] = json.loads(checked.stdout)["results"]["failed_checks"]
    found = {(each["check_id"], each["check_name"], each["resource"]) for each in findings}
    assert sorted(each for each in found if each[0] not in EXCUSED) == []
    assert {each[0] for each in found} == set(EXCUSED)
