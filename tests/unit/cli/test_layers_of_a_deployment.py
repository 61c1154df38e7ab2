"""`./gust deploy` ships the layers of this very tree, and none that Lambda refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from samcli.lib.utils.hash import dir_checksum
from samtranslator.yaml_helper import yaml_parse

from gust.cli.layers import LARGEST, MADE_OF, note_inputs, too_large

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for part in {part for parts in MADE_OF.values() for part in parts} | {"layers/runtime"}:
        target = tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / part, target)
    return tmp_path


def seen_by_sam(tree: Path) -> dict[str, str]:
    """By layer: what SAM compares to tell whether its cache is good."""
    note_inputs(tree)
    return {layer: dir_checksum(str(tree / "layers" / layer), ignore_list=[".aws-sam"]) for layer in MADE_OF}


@pytest.mark.parametrize(
    ("changed", "layers"),
    [
        ("shared/gust/aws/queues.py", {"runtime"}),
        ("pyproject.toml", {"runtime"}),
        ("requirements/layer-runtime.txt", {"runtime", "airflow", "web"}),
        ("requirements/layer-airflow.txt", {"runtime", "airflow", "web"}),
        ("layers/build.sh", {"runtime", "airflow", "builder", "web"}),
        ("requirements/layer-builder.txt", {"builder"}),
        ("layers/web/pack.py", {"web"}),
        ("shared/gust/model/connection_form.py", {"runtime", "web"}),
    ],
)
def test_a_changed_line_makes_sam_build_the_layer_again(tree: Path, changed: str, layers: set[str]) -> None:
    before = seen_by_sam(tree)
    assert seen_by_sam(tree) == before
    with (tree / changed).open("a") as file:
        file.write("# changed\n")
    after = seen_by_sam(tree)
    assert {layer for layer in after if after[layer] != before[layer]} == layers


def test_what_a_function_and_its_layers_have_together_is_what_counts(tmp_path: Path) -> None:
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for part, size in {"RuntimeLayer": 100_000_000, "AirflowLayer": LARGEST - 100_000_000, "WorkerFunction": 1}.items():
        (tmp_path / part / "python").mkdir(parents=True)
        with (tmp_path / part / "python" / "file").open("wb") as file:
            file.truncate(size)
    (refused,) = too_large(template, tmp_path)
    assert refused.startswith("WorkerFunction: 250.0 MiB unpacked, Lambda takes 250")
    assert "AirflowLayer 154.6" in refused
    (tmp_path / "WorkerFunction" / "python" / "file").unlink()
    assert too_large(template, tmp_path) == []


def test_every_layer_of_the_template_is_known() -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"].values()
    layers = {r["Properties"]["ContentUri"] for r in resources if r["Type"] == "AWS::Serverless::LayerVersion"}
    assert layers == {f"layers/{layer}" for layer in MADE_OF}
