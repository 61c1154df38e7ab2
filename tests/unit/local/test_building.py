"""What the terminal says while packages are installed."""

import pytest

from gust.aws.memory import MemoryObjects
from gust.local.building import BuildProgress
from gust.model import bucket_keys
from gust.model.environment import Built, Recipe


class Terminal:
    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.lines: list[str] = []
        self.seconds = 0.0
        self.objects.put(bucket_keys.recipe("before"), b"{}")
        self.progress = BuildProgress(self.objects, self.lines.append, clock=lambda: self.seconds)

    def said(self) -> list[str]:
        self.progress.look()
        lines, self.lines[:] = list(self.lines), []
        return lines

    def order(self, recipe: str, *requirements: str) -> None:
        text = Recipe(sources="s", requirements=requirements, python="p", pins="p").model_dump_json()
        self.objects.put(bucket_keys.recipe(recipe), text.encode())

    def store(self, recipe: str, **built: object) -> None:
        answer = Built(file="team/requirements.txt", **built)
        self.objects.put(bucket_keys.built(recipe), answer.model_dump_json().encode())


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_a_build_from_its_beginning_to_its_end(terminal):
    assert terminal.said() == []
    terminal.order("r", "pandas>=2", "cowsay")
    assert terminal.said() == ["installing pandas>=2, cowsay …"]
    assert terminal.said() == []
    terminal.seconds += 6
    assert terminal.said() == ["installing packages since 6 s …"]
    terminal.seconds += 6
    terminal.store("r", archive="a", packages={"pandas": "3.1.1", "numpy": "2.5.5"}, size=150_000_000)
    assert terminal.said() == ["team/requirements.txt: installed in 12 s: numpy 2.5.5, pandas 3.1.1 (150 MB)"]
    terminal.seconds += 60
    assert terminal.said() == []


def test_what_cannot_be_installed(terminal):
    terminal.order("r", *(f"p{n}" for n in range(9)))
    assert terminal.said() == ["installing p0, p1, p2, p3, p4, p5 and 3 more …"]
    terminal.store("r", problem="No solution")
    assert terminal.said() == ["team/requirements.txt: its packages cannot be installed"]


def test_many_packages_are_counted(terminal):
    terminal.store("r", archive="a", packages={f"p{n}": "1" for n in range(9)}, size=0)
    [line] = terminal.said()
    assert line.endswith("p5 1 and 3 more (0 MB)")
