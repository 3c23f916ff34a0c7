"""The command line as a whole: help, wrong usage, and exit statuses."""

import pytest

from meshwg.cli.group import run


def test_unknown_commands_and_options_are_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (["dance"], ["status", "--loud"], ["ping"]):
        with pytest.raises(SystemExit) as ended:
            run(arguments)
        assert ended.value.code == 2
        assert "Error: " in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["--help"])

    assert ended.value.code == 0
    text = capsys.readouterr().out
    for command in ("node", "status", "netcheck", "ping", "down"):
        assert f"\n  {command} " in text
