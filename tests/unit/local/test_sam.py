"""SAM's transform is made once for a template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from gust.local import deployment, sam

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["template.yaml", "worker_group.yaml"])
def test_a_template_is_read_as_sam_reads_it(name: str) -> None:
    assert sam.read(ROOT / name) == yaml_parse((ROOT / name).read_text())


def test_a_template_is_transformed_once(tmp_path: Path) -> None:
    template, _ = deployment._package(ROOT)
    made = sam.transformed(template, kept=tmp_path)
    assert json.loads(made) == sam.transform(template)

    (kept,) = tmp_path.glob("template-*.json")
    kept.write_text("it was kept")
    assert sam.transformed(template, kept=tmp_path) == "it was kept"


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    for number in range(sam._MOST + 5):
        sam._keep(tmp_path / f"template-{number}.json", "{}")
    assert len(list(tmp_path.iterdir())) == sam._MOST
    assert (tmp_path / f"template-{sam._MOST + 4}.json").exists()
