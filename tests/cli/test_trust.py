"""``meshwg trust``: the list for people and programs, and what is accepted."""

import json
from pathlib import Path
from typing import Any

import pytest

from meshwg.cli.group import run
from meshwg.cli.trust import render
from meshwg.errors import MeshError
from tests.cli.daemon import FakeDaemon, serving

OLD, NEW = "B" * 43 + "=", "C" * 43 + "="
REASON = "The key of bob is another one: a new machine, or a coordinator that lies."


def test_the_list_shows_pins_and_who_is_held() -> None:
    lines = render(a_list(held=True), 80)
    assert lines[0].split() == ["NAME", "STATE", "SINCE", "PUBLIC", "KEY"]
    assert lines[1].split() == ["bob", "away", "2027-01-15", OLD]
    assert "bob is held" in lines[3]
    assert lines[-2:] == [f"  now     {NEW}", f"  before  {OLD}"]
    assert max(map(len, lines[1:3])) <= 80


def test_an_empty_list_says_so() -> None:
    assert render({"pins": [], "held": []}, 80) == [
        "No key is pinned yet: no peer was seen."
    ]


def test_json_is_what_the_daemon_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_list(held=True)
    assert command(tmp_path, daemon, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.report


def test_what_is_accepted_is_shown_with_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = {"name": "bob", "public_key": NEW, "known_key": OLD}
    assert command(tmp_path, daemon, "accept", "bob") == 0
    assert capsys.readouterr().out == f"bob is trusted with the key {NEW}.\n"
    assert command(tmp_path, daemon, "accept", "bob", "--key", NEW, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, **daemon.report}
    assert daemon.requests == [{"name": "bob"}, {"name": "bob", "key": NEW}]


def test_who_is_not_held_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.refusal = MeshError("bob is not held: its key is the one that is known")
    assert command(tmp_path, daemon, "accept", "bob") == 1
    assert "bob is not held" in capsys.readouterr().err


def test_without_a_daemon_nothing_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(["trust", "list", "--control-socket", str(tmp_path / "none")])
    assert end.value.code == 3


def command(directory: Path, daemon: FakeDaemon, *arguments: str) -> int:
    """Run a command against a daemon; return the exit status."""
    path = directory / "sock"
    daemon.stopped.clear()
    with serving(daemon, path), pytest.raises(SystemExit) as end:
        run(["trust", *arguments, "--control-socket", str(path)])
    return int(end.value.code or 0)


def a_list(*, held: bool) -> dict[str, Any]:
    pin = {
        "name": "bob",
        "names": ["bob"],
        "public_key": OLD,
        "addresses": ["100.64.0.2"],
        "first_seen": 1.8e9,
        "last_seen": 1.8e9,
        "state": "away",
    }
    other = {
        "name": "bob",
        "public_key": NEW,
        "addresses": ["100.64.0.3"],
        "claim": "bob",
        "known_key": OLD,
        "reason": REASON,
    }
    return {"schema": 1, "pins": [pin], "held": [other] if held else []}
