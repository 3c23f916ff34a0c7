"""``meshwg cleanup``: what was undone is said."""

from pathlib import Path

import pytest

from meshwg.cli.group import run


@pytest.mark.parametrize(
    ("undone", "said"),
    [
        ([], "There is nothing to undo.\n"),
        (["forwarding", "a table"], "forwarding\na table\n"),
    ],
)
def test_what_was_undone_is_said(
    undone: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def clean_up(_: Path) -> list[str]:
        return undone

    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("meshwg.runtime.cleanup.clean_up", clean_up)

    assert cleanup(tmp_path) == 0
    assert capsys.readouterr().out == said


def test_only_root_may(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert cleanup(tmp_path) == 5
    assert "run as root" in capsys.readouterr().err


def cleanup(directory: Path) -> object:
    with pytest.raises(SystemExit) as ended:
        run(["cleanup", "--state-dir", str(directory)])
    return ended.value.code
