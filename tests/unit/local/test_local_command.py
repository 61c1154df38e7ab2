"""Arguments that `./gust local` refuses before it starts anything."""

import pytest

from gust.cli.__main__ import TEST_CONNECTION, main


def test_a_word_that_is_no_setting_of_airflows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TEST_CONNECTION, "perhaps")
    assert main(["local"]) == 2
    assert f"{TEST_CONNECTION} is Disabled, Enabled or Hidden" in capsys.readouterr().err
