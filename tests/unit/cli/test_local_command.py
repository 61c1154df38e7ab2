"""Arguments of `./gust local`, before it starts anything."""

from pathlib import Path

import pytest

from gust.cli.__main__ import main
from gust.cli.env_file import with_files
from gust.cli.local import PAUSED_AT_CREATION, TEST_CONNECTION, are_paused


def test_a_word_that_is_no_setting_of_airflows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TEST_CONNECTION, "perhaps")
    assert main(["local"]) == 2
    assert f"{TEST_CONNECTION} is Disabled, Enabled or Hidden" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "are_examples", "paused"),
    [(None, True, False), (None, False, True), ("False", False, False), ("true", True, True)],
)
def test_a_folder_of_ones_own_starts_paused_unless_airflows_setting_says_otherwise(
    said: str | None, are_examples: bool, paused: bool
) -> None:
    environment = {} if said is None else {PAUSED_AT_CREATION: said}
    assert are_paused(environment, are_examples=are_examples) is paused


def test_variables_of_a_file_come_before_the_shells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text(
        '# a comment\nexport A=file\nB=\'with space\'\nCONN={"conn_type": "http"}\nC=$HOME\nD\n'
    )
    (tmp_path / "b").write_text("B=later\n")
    merged = with_files({"A": "shell", "D": "shell"}, [tmp_path / "a", tmp_path / "b"])
    assert merged == {"A": "file", "B": "later", "CONN": '{"conn_type": "http"}', "C": "$HOME", "D": "shell"}
    assert main(["local", "--env-file", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"gust: {tmp_path}/none cannot be read: No such file or directory\n"
