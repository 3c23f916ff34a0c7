"""How a program of commands ends, and when it imports them."""

from collections.abc import Callable

import click
import pytest

from meshwg.cli.program import LazyGroup, run
from meshwg.errors import ConfigError, MeshError, NotJoined

PLACES = {"now": f"{__name__}:now", "later": "tests.cli.nowhere:nothing"}


@click.command()
def now() -> int:
    return 7


def test_only_the_command_that_is_asked_for_is_imported() -> None:
    assert status_of("now") == 7


def test_an_unlisted_command_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status_of("never") == 2
    assert "No such command 'never'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (MeshError("It broke"), 1, "here: It broke\n"),
        (ConfigError("It is wrong"), 2, "here: It is wrong\n"),
        (NotJoined("It is alone"), 4, "here: It is alone\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.Abort(), 130, ""),
    ],
)
def test_errors_end_with_the_exit_status_of_their_kind(
    error: BaseException,
    status: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    assert status_of(callback=fail) == status
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_the_exit_status(
    returned: int | None, status: int
) -> None:
    assert status_of(callback=lambda: returned) == status


def status_of(
    name: str = "now", callback: Callable[[], int | None] | None = None
) -> object:
    """Run a command and return the exit status.

    :param callback: what it does, if it is not what :data:`PLACES` says.
    """
    group: click.Group = LazyGroup("here", places=PLACES)
    if callback is not None:
        group = click.Group("here", {name: click.Command(name, callback=callback)})
    with pytest.raises(SystemExit) as ended:
        run(group, "here", [name])
    return ended.value.code
