"""What the bench keeps, by commit."""

from __future__ import annotations

from pathlib import Path

from benches import results
from benches.measure import Figures, Sample
from benches.report import Results, figures_to_keep
from benches.shapes import SHAPES


def figures(gap: float, rate: float) -> dict[str, Figures]:
    return {shape.dag_id: Figures((Sample((gap, gap), 100 / rate, 100),)) for shape in SHAPES}


def test_what_is_kept_is_in_the_table(tmp_path: Path) -> None:
    both = Results(gust=figures(0.02, 25), airflow=figures(1.0, 5), bills={}, short={"chain": {"ratio": 4.0}})
    file = results.keep(figures_to_keep(both), tmp_path)

    (one,) = results.kept(tmp_path)
    assert file.name.endswith(".json")
    assert one["ratios"] == {"chain_gap": 50.0, "fan_out": 5.0, "mesh": 5.0}
    assert one["machine"].keys() == {"cores", "architecture", "python", "load"}
    assert results.last("short", tmp_path) == one
    assert results.last("dollars", tmp_path) is None
    line = results.table(tmp_path).splitlines()[1]
    assert line.split()[-4:] == ["50.00", "5.00", "5.00", "4.00"]
    assert one["commit"][:8] in line


def test_the_newest_result_that_has_a_part_counts(tmp_path: Path) -> None:
    for day, content in ((1, '"short": {"mesh": {"ratio": 1}}'), (2, '"short": {}')):
        (tmp_path / f"{day}.json").write_text(f'{{"date": "2026-11-0{day}", {content}}}')
    found = results.last("short", tmp_path)
    assert found is not None
    assert found["date"] == "2026-11-01"
