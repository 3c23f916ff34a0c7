"""The manual pages know every command."""

import shutil
import subprocess

import click
import pytest

from tests.manual import DIRECTORY, PROGRAMS, page


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_command_is_in_the_manual(name: str) -> None:
    group, _ = PROGRAMS[name]
    text = (DIRECTORY / f"{name}.1").read_text()
    for command in group.list_commands(click.Context(group)):
        assert f".SS {name} {command}".replace("-", "\\-") in text, (
            "run python -m tests.manual"
        )


@pytest.mark.parametrize("name", PROGRAMS)
def test_groff_has_nothing_to_complain_about(name: str) -> None:
    groff = shutil.which("groff")
    assert page(name).startswith(".TH ")
    if groff is None:
        return
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-z"],
        input=page(name),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
