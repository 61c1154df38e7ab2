"""Lists with random filters, orders and pages, and the UI's pages: Gust gives Airflow's answers about a scene.

`python -m tests.oracle.lists` plays the scene on real Airflow, and records it with the answers.
"""

from __future__ import annotations

import json

from tests.oracle.lists import LISTS, RECORDED, differences, pages


def test_every_answer_about_the_scene_is_airflows() -> None:
    scene = json.loads((RECORDED / "scene.json").read_text())
    answers = [json.loads(line) for line in (RECORDED / "scene_answers.jsonl").read_text().splitlines()]
    assert len(answers) > len(LISTS) * scene["about"]["queries"] + len(list(pages(scene)))
    found = list(differences(scene, answers))
    assert not found, "\n".join(found)
