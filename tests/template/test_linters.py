"""What other people's rules say of the template, and why we leave a finding as it is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gust.local import deployment
from tests.environment import of_a_user

ROOT: Final = Path(__file__).parents[2]

EXCUSED: Final[dict[str, str]] = {
    "I3011": "Only table, bucket and encryption keys hold what cannot be made again; test_update.py guards them.",
    "I3013": "SQS keeps messages for four days: without a reader for so long, and the tick finds every run anyway.",
    "W1020": "The local deployment has put numbers in the place of parameters.",
    "W2001": "likewise",
}
"""Rules of cfn-lint that the template does not follow → why."""

NOT_ASKED: Final = {
    "URI": "SAM puts the functions' ARNs in place of names when the stack is deployed",
    "FLOAT": "JSON does not tell 2 from 2.0, and Step Functions takes both",
}
"""Rules of statelint → why not."""

LAYER: Final = '{"Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:layer:one:1"}'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After SAM's transform. The local deployment names a layer by a text."""
    transformed = json.dumps(deployment.transform(ROOT, {}), default=str)
    file = tmp_path_factory.mktemp("template") / "template.json"
    file.write_text(re.sub(r'"\w+Layer-is-installed"', LAYER, transformed))
    return file


def test_every_property_is_as_cloudformation_wants_it(template: Path) -> None:
    """cfn-lint knows CloudFormation's schema of every resource, and IAM's of policies."""
    checked = run("cfn-lint", str(template), "--include-checks", "I", "--region", "us-east-1", "--format", "json")
    found = json.loads(checked.stdout)

    assert [(each["Rule"]["Id"], each["Message"]) for each in found if each["Rule"]["Id"] not in EXCUSED] == []
    assert {each["Rule"]["Id"] for each in found} == set(EXCUSED)


@pytest.mark.parametrize("definition", sorted((ROOT / "statemachines").glob("*.json")), ids=lambda path: path.stem)
def test_a_state_machine_is_one_and_its_states_lead_somewhere(definition: Path, tmp_path: Path) -> None:
    ignored = f"--ignore={','.join(NOT_ASKED)}"
    broken = tmp_path / "broken.json"
    broken.write_text(definition.read_text().replace('"Next": "', '"Next": "Not', 1))

    checked = run("statelint", ignored, str(definition))

    assert (checked.returncode, checked.stdout) == (0, "")
    assert "No state found named" in run("statelint", ignored, str(broken)).stdout


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name(tool)
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=of_a_user())  # noqa: S603
