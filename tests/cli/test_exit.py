"""``meshwg exit``: the list for people and programs, and what is chosen."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import pytest

from meshwg.cli.exit import exit_names, list_, render
from meshwg.cli.group import run
from meshwg.errors import MeshError
from meshwg.node.exits import ChosenExit
from meshwg.runtime.exits import recall
from meshwg.runtime.state import StateDirectory
from tests.cli.daemon import FakeDaemon, a_peer, serving

Json = dict[str, Any]


def test_the_list_shows_exits_and_the_one_in_use() -> None:
    lines = plain(a_list())
    assert lines[0].split() == ["EXIT", "STATE", "PATH", "RTT", "ADDRESS"]
    assert lines[1] == "ams   in use, online  direct  12 ms  100.64.0.2"
    assert lines[2] == "fra   offline         -       -      100.64.0.3"
    assert lines[4] == "The internet is reached through ams only."


def test_a_long_name_leaves_room_for_the_rest() -> None:
    report = a_list()
    report["exits"][0]["name"] = "a" * 90
    assert max(map(len, plain(report, 80))) <= 80


def test_an_exit_that_is_away_is_named_with_what_helps() -> None:
    using = a_use(state="away", reason="ams is offline", lan=True)
    text = " ".join(plain({**a_list(), "using": using}, 60)[4:])
    assert "Nothing gets to the internet: ams is offline." in text
    assert "'meshwg exit off' ends that." in text
    assert "Private networks" in text


def test_without_exits_it_says_how_to_have_one() -> None:
    lines = plain({"using": None, "exits": []})
    assert "route approve NAME exit" in " ".join(lines)
    assert lines[-1] == "No exit is used."


def test_json_is_what_the_daemon_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_list()
    assert command(tmp_path, daemon, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.report
    assert command(tmp_path, daemon, "list") == 0
    assert "through ams only" in capsys.readouterr().out


def test_before_the_node_runs_the_exit_that_is_remembered_is_held_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    async def hold(interface: str, state: StateDirectory) -> ChosenExit | None:
        seen.append(interface)
        return recall(state)

    monkeypatch.setattr("meshwg.runtime.exits.hold", hold)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    settings = tmp_path / "node.toml"
    settings.write_text('interface = "mesh7"\n')
    where = ["--config", str(settings), "--state-dir", str(tmp_path / "state")]

    assert held(*where) == 0
    assert "No exit is used" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()
    with closing(StateDirectory(tmp_path / "state")) as state:
        state.save_exit(ChosenExit("key", "ams").to_json())
    assert held(*where) == 0
    out = capsys.readouterr().out
    assert out == "Nothing leaves this machine beside the exit ams.\n"
    assert seen == ["mesh7"]

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert held(*where) == 5


def held(*options: str) -> int:
    with pytest.raises(SystemExit) as end:
        run(["exit", "hold", *options])
    return int(end.value.code or 0)


def test_an_exit_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = FakeDaemon()
    daemon.report = a_use()
    assert command(tmp_path, daemon, "use", "ams") == 0
    assert capsys.readouterr().out == "The internet is reached through ams only.\n"
    assert command(tmp_path, daemon, "use", "ams", "--lan", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "using": daemon.report}
    assert daemon.requests == [
        {"name": "ams", "lan": False},
        {"name": "ams", "lan": True},
    ]


def test_an_exit_that_is_away_is_chosen_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.report = a_use(state="away", reason="ams is offline")
    assert command(tmp_path, daemon, "use", "ams", "--lan") == 0
    out = capsys.readouterr().out
    assert "private networks" in out
    assert "It is away now: ams is offline." in out


def test_what_is_no_exit_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = FakeDaemon()
    daemon.refusal = MeshError("There is no exit 'rob': use one of ams")
    assert command(tmp_path, daemon, "use", "rob") == 1
    assert "use one of ams" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("was", "said"),
    [
        ("ams", "The internet is reached without ams again.\n"),
        (None, "No exit was used.\n"),
    ],
)
def test_it_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], was: str | None, said: str
) -> None:
    daemon = FakeDaemon()
    daemon.report = {"was": was}
    assert command(tmp_path, daemon, "off") == 0
    assert capsys.readouterr().out == said
    assert command(tmp_path, daemon, "off", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "was": was}


def test_a_shell_completes_names(tmp_path: Path) -> None:
    daemon, path = FakeDaemon(), tmp_path / "sock"
    daemon.report = a_list()
    context = click.Context(list_)
    context.params["control_socket"] = str(path)
    with serving(daemon, path):
        assert exit_names(context, list_.params[0], "a") == ["ams"]
    assert exit_names(context, list_.params[0], "a") == []


def a_use(**changes: Any) -> Json:
    return {
        "public_key": "B" * 43 + "=",
        "name": "ams",
        "lan": False,
        "state": "up",
        "reason": None,
        **changes,
    }


def a_list() -> Json:
    path = a_peer()["path"]
    none = {**path, "kind": "none", "rtt_ms": None}
    return {
        "schema": 1,
        "using": a_use(),
        "exits": [
            an_exit("ams", "100.64.0.2", True, path),
            an_exit("fra", "100.64.0.3", False, none),
        ],
    }


def an_exit(name: str, address: str, is_used: bool, path: Json) -> Json:
    return {
        "name": name,
        "public_key": "B" * 43 + "=",
        "addresses": [address],
        "online": is_used,
        "in_use": is_used,
        "path": path,
    }


def plain(report: Json, size: int = 80) -> list[str]:
    return [click.unstyle(line) for line in render(report, size)]


def command(directory: Path, daemon: FakeDaemon, *arguments: str) -> int:
    """Run ``meshwg exit``; return its exit status."""
    path = directory / "sock"
    daemon.stopped.clear()
    with serving(daemon, path), pytest.raises(SystemExit) as ended:
        run(["exit", *arguments, "--control-socket", str(path)])
    return int(ended.value.code or 0)
