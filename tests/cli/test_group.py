"""The command line as a whole: help, wrong usage, and exit statuses."""

import subprocess
import sys

import pytest

from meshwg import __version__
from meshwg.cli import main
from meshwg.cli.group import COMMANDS, SECTIONS, run


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
    for command in COMMANDS:
        assert f"\n  {command} " in text
    assert {name for names in SECTIONS.values() for name in names} == set(COMMANDS)
    assert "..." not in text.partition("The node:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(command, "--help") == 0
    assert f"meshwg {command} [OPTIONS]" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"meshwg, version {__version__}\n"


def test_a_reader_that_stops_early_is_not_an_error() -> None:
    program = [sys.executable, "-c", "from meshwg.cli import main; main(['--help'])"]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode in (0, 1)
    assert errors == b""


def status_of(*arguments: str) -> object:
    """Run ``meshwg`` and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code
