"""``meshwg version``: a daemon of another version is told of."""

import json
from pathlib import Path

import pytest

from meshwg import __version__
from meshwg.cli.group import run
from tests.cli.daemon import FakeDaemon, a_report, serving


def test_a_daemon_of_the_same_version_is_not_mentioned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert version(tmp_path, __version__) == 0
    assert capsys.readouterr().out == f"meshwg {__version__}\n"


def test_an_older_daemon_wants_to_be_restarted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version(tmp_path, "0.0.9")
    assert capsys.readouterr().out.splitlines() == [
        f"meshwg {__version__}",
        "daemon 0.0.9: restart it to use this version",
    ]
    version(tmp_path, "0.0.9", "--json")
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "version": __version__,
        "daemon": "0.0.9",
    }


def test_it_works_without_a_daemon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["version", "--control-socket", str(tmp_path / "nowhere")])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"meshwg {__version__}\n"


def version(directory: Path, of_daemon: str, *options: str) -> object:
    daemon = FakeDaemon()
    daemon.report = a_report(version=of_daemon)
    path = directory / "sock"
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["version", *options, "--control-socket", str(path)])
    return ended.value.code
