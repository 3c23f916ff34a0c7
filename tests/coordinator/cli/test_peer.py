"""``meshwg-coordinator peer``, without a running server."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli import peer
from coordinator.mesh.operations import AddUser
from meshwg.keys import format_key, parse_key
from tests.coordinator.cli.meshes import StoppedMesh
from tests.coordinator.programs import Here

OWN_KEY = format_key(bytes(range(32)))


@pytest.fixture
def mesh(tmp_path: Path) -> StoppedMesh:
    made = StoppedMesh(tmp_path)
    made.join_hub("hub")
    return made


def run(here: Here, tmp_path: Path, *arguments: str) -> Any:
    """Return the JSON of a command that is done."""
    words = ("peer", *arguments, "--data-dir", str(tmp_path), "--json")
    status, output = here.run(*words)
    assert (status, output.err) == (0, "")
    return json.loads(output.out)


def said(here: Here, tmp_path: Path, *arguments: str) -> tuple[int, str, str]:
    status, output = here.run("peer", *arguments, "--data-dir", str(tmp_path))
    return int(str(status)), output.out, output.err


def test_a_peer_is_added_listed_shown_and_removed(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    mesh.perform(AddUser("alice"))

    added = run(here, tmp_path, "add", "Phone", "--owner", "alice")

    assert added["schema"] == 1
    assert (added["peer"]["name"], added["peer"]["hub"]) == ("phone", "hub")
    assert (added["peer"]["owner"], added["peer"]["tags"]) == ("alice", [])
    assert len(added["peer"]["addresses"]) == 2
    assert "PrivateKey = " in added["config"]
    assert "Endpoint = 203.0.113.9:41641\n" in added["config"]
    assert "▀" in added["qr"]
    assert run(here, tmp_path, "list")["peers"] == [added["peer"]]
    shown = run(here, tmp_path, "show", "phone")
    assert shown["peer"] == added["peer"]
    assert "\nPrivateKey" not in shown["config"]
    assert shown["config"].partition("[Peer]")[2] in added["config"]
    assert run(here, tmp_path, "remove", "phone")["peer"] == added["peer"]
    assert run(here, tmp_path, "list")["peers"] == []


def test_the_private_key_is_nowhere_but_in_the_answer(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    config = run(here, tmp_path, "add", "phone")["config"]

    line = next(each for each in config.splitlines() if "PrivateKey" in each)
    key = line.rpartition(" = ")[2]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert key.encode() not in data
            assert parse_key(key) not in data


def test_whoever_has_a_key_gets_neither_another_nor_a_code(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    added = run(here, tmp_path, "add", "router", "--public-key", OWN_KEY)

    assert added["peer"]["public_key"] == OWN_KEY
    assert added["qr"] == ""
    assert "\nPrivateKey" not in added["config"]


def test_where_there_is_no_terminal_the_file_is_all_of_the_output(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    status, out, err = said(here, tmp_path, "add", "phone")

    assert status == 0
    assert out.startswith("[Interface]\nPrivateKey = ")
    assert out.endswith("PersistentKeepalive = 25\n")
    assert "phone is 100." in err
    assert "shown only now" in err


def test_a_terminal_gets_the_code_too(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peer, "is_terminal", lambda: True)
    monkeypatch.setattr(peer, "terminal_width", lambda: 80)
    _, wide, _ = said(here, tmp_path, "add", "phone")
    monkeypatch.setattr(peer, "terminal_width", lambda: 40)
    _, narrow, _ = said(here, tmp_path, "add", "tablet")

    assert "▀" in wide
    assert wide.index("▀") < wide.index("phone is") < wide.index("[Interface]")
    assert "▀" not in narrow
    assert "columns, and this terminal has fewer" in narrow


def test_a_file_is_new_and_its_owners_only(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    path = tmp_path / "phone.conf"

    status, out, err = said(here, tmp_path, "add", "phone", "--file", str(path))

    assert (status, out) == (0, "")
    assert f"What it has to know is in {path}" in err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("[Interface]\nPrivateKey = ")
    status, _, err = said(here, tmp_path, "add", "tablet", "--file", str(path))
    assert status == 2
    assert "is there already" in err
    assert len(run(here, tmp_path, "list")["peers"]) == 1


def test_nothing_is_left_of_a_peer_that_is_refused(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    path = tmp_path / "phone.conf"
    where = ("--file", str(path))

    status, _, err = said(here, tmp_path, "add", "phone", "--hub", "nobody", *where)

    assert status == 1
    assert "There is no node nobody" in err
    assert not path.exists()
    status, _, err = said(
        here, tmp_path, "add", "phone", "--file", str(tmp_path / "no" / "file")
    )
    assert status == 2
    assert "cannot be written" in err
    assert run(here, tmp_path, "list")["peers"] == []


@pytest.mark.parametrize(
    ("options", "expected", "why"),
    [
        (["--public-key", "short"], 2, "--public-key is none"),
        (["--endpoint", "a b"], 2, "--endpoint: 'a b' is no endpoint"),
        (["--full-tunnel"], 1, "hub is not an approved exit"),
        (["--owner", "mallory"], 1, "There is no user mallory"),
        (["--tag", "No"], 1, "'No' is no tag"),
    ],
    ids=["key", "endpoint", "full-tunnel", "owner", "tag"],
)
def test_what_is_wrong_is_said_in_a_sentence(
    mesh: StoppedMesh,
    here: Here,
    tmp_path: Path,
    options: list[str],
    expected: int,
    why: str,
) -> None:
    status, out, err = said(here, tmp_path, "add", "phone", *options)

    assert (status, out) == (expected, "")
    assert why in err


def test_without_a_hub_there_is_no_peer(here: Here, tmp_path: Path) -> None:
    StoppedMesh(tmp_path).join("web")

    status, _, err = said(here, tmp_path, "add", "phone")

    assert status == 1
    assert "There is no hub" in err
    empty = said(here, tmp_path, "list")
    assert empty[1] == "There is no plain WireGuard peer; 'peer add NAME' adds one.\n"


def test_nodes_are_not_peers_and_nobody_is_neither(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    for verb in ("show", "remove"):
        for name in ("hub", "nobody"):
            status, _, err = said(here, tmp_path, verb, name)
            assert status == 1
            assert f"There is no plain WireGuard peer {name}" in err


def test_the_list_says_who_has_lost_its_hub(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    run(here, tmp_path, "add", "phone", "--tag", "mobile")
    assert "phone  hub  100." in said(here, tmp_path, "list")[1]
    assert "tag:mobile" in said(here, tmp_path, "list")[1]

    mesh.remove("hub")

    assert "phone  gone" in said(here, tmp_path, "list")[1]
    status, _, err = said(here, tmp_path, "show", "phone")
    assert status == 1
    assert "The hub of phone is no member any more" in err


def test_the_list_of_nodes_does_not_call_it_offline(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    run(here, tmp_path, "add", "phone")

    _, output = here.run("node", "list", "--data-dir", str(tmp_path))

    line = next(each for each in output.out.splitlines() if "phone" in each)
    assert line.split()[:2] == ["phone", "-"]
    assert "offline" not in line


def test_where_the_coordinator_is_reached_by_tls_a_router_gets_an_address(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    assert run(here, tmp_path, "add", "phone")["url"] is None
    mesh.start_once("https://mesh.example.org/")

    url = run(here, tmp_path, "add", "router")["url"]

    assert url.startswith("https://mesh.example.org/v1/wg/router.conf?token=")


def test_removing_one_says_what_nodes_have_pinned(
    mesh: StoppedMesh, here: Here, tmp_path: Path
) -> None:
    run(here, tmp_path, "add", "phone")

    status, out, err = said(here, tmp_path, "remove", "phone")

    assert (status, out) == (0, "phone is removed.\n")
    assert "meshwg trust accept phone" in err
