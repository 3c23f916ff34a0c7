"""``meshwg join``: through a daemon that runs, or alone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli.group import run
from meshwg.keys import PrivateKey
from meshwg.runtime.state import StateDirectory, StoredMembership
from meshwg.wire.token import AuthKeyText, JoinToken
from tests.cli.daemon import FakeDaemon, serving
from tests.coordinator.programs import Program, loopback, program

NOT_JOINED = 4


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    with program(tmp_path / "data") as made:
        yield made


def test_a_running_daemon_joins_itself(tmp_path: Path, capsys: Any) -> None:
    daemon, token = FakeDaemon(), a_token("http://127.0.0.1:9")
    daemon.report = {"name": "alice", "addresses": ["100.64.0.1", "fd00::1"]}
    (tmp_path / "token").write_text(f"{token}\n")

    with serving(daemon, tmp_path / "sock"):
        status = join(tmp_path, f"@{tmp_path}/token", "--timeout", "7")

    assert status == 0
    assert daemon.requests == [{"token": token, "timeout": 7.0}]
    assert capsys.readouterr().out == "Joined as alice: 100.64.0.1 fd00::1\n"


def test_a_running_daemon_takes_another_key_of_its_coordinator_if_told_so(
    tmp_path: Path,
) -> None:
    daemon, token = FakeDaemon(), a_token("http://127.0.0.1:9")
    daemon.report = {"name": "alice", "addresses": ["100.64.0.1", "fd00::1"]}
    with serving(daemon, tmp_path / "sock"):
        assert join(tmp_path, token, "--new-key") == 0
    assert daemon.requests[0]["new_key"] is True


def test_without_a_daemon_the_membership_is_kept_for_the_next(
    server: Program, tmp_path: Path, capsys: Any
) -> None:
    token = server.run("token", "create").stdout.strip()

    assert join(tmp_path, token, "--name", "alice", "--json") == 0

    answer = json.loads(capsys.readouterr().out)
    assert (answer["name"], answer["running"]) == ("alice", False)
    state = StateDirectory(tmp_path / "state")
    kept = state.membership()
    assert kept is not None
    assert (kept.url, kept.auth_key) == (server.url, None)
    assert state.netmap() is not None
    state.close()
    # It is a member now, whatever its token is worth.
    assert join(tmp_path, token, "--name", "alice") == 0
    assert "meshwg node" in capsys.readouterr().out


def test_a_token_that_is_refused_changes_nothing(
    server: Program, tmp_path: Path, capsys: Any
) -> None:
    token = server.run("token", "create").stdout.strip()
    server.run("token", "revoke", token)

    assert join(tmp_path, token) == NOT_JOINED

    assert "has been revoked" in the_sentence(capsys)
    assert membership(tmp_path) is None


def test_a_coordinator_that_is_away_is_named(tmp_path: Path, capsys: Any) -> None:
    url = f"http://{loopback()}:9"
    assert join(tmp_path, a_token(url), "--timeout", "0.5") == NOT_JOINED
    assert url in the_sentence(capsys)
    assert membership(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "named"),
    [("mwg1-cut", "damaged"), ("x", "not a meshwg"), ("https://m.example", "a token")],
)
def test_what_is_no_token_is_refused(
    tmp_path: Path, capsys: Any, text: str, named: str
) -> None:
    assert join(tmp_path, text) == 2
    assert named in the_sentence(capsys)
    assert not (tmp_path / "state").exists()


def join(directory: Path, *arguments: str) -> object:
    where = ("--control-socket", str(directory / "sock"))
    state = ("--state-dir", str(directory / "state"))
    with pytest.raises(SystemExit) as ended:
        run(["join", *arguments, *where, *state])
    return ended.value.code


def membership(directory: Path) -> StoredMembership | None:
    state = StateDirectory(directory / "state")
    try:
        return state.membership()
    finally:
        state.close()


def a_token(url: str) -> str:
    key = PrivateKey.generate(os.urandom).public_bytes
    return str(JoinToken(url, key, AuthKeyText.generate(os.urandom)))


def the_sentence(capsys: Any) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("meshwg: ")
    return str(line)
