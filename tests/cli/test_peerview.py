"""``meshwg status PEER``: a peer is found, and shown whole."""

import click
import pytest

from meshwg.cli.peerview import find_peer, render_peer
from meshwg.errors import MeshError
from tests.cli.daemon import a_peer

UNIX_TIME = 1060.0


def test_a_peer_is_found_by_name_address_and_key() -> None:
    bob, carol = a_peer(), a_peer(name="carol", addresses=[], public_key="C")

    for wanted in ("bob", "Bob", "100.64.0.2", "fd00::2", bob["public_key"]):
        assert find_peer([carol, bob], wanted) is bob


def test_the_error_for_a_missing_one_names_some_of_those_there_are() -> None:
    peers = [a_peer(name=f"n{number}") for number in range(300)]

    with pytest.raises(MeshError, match=r"'eve': use one of n0, .*, n9, \.\.\."):
        find_peer(peers, "eve")
    with pytest.raises(MeshError, match="use one of none"):
        find_peer([], "eve")


def test_all_that_is_known_is_shown() -> None:
    attempt = {"at": 1000.0, "method": "punch", "result": "failed", "detail": "silence"}
    peer = a_peer(role="hub", attempts=[attempt] * 3, nat={"type": "symmetric"})

    lines = [click.unstyle(line) for line in render_peer(peer, UNIX_TIME, 80)]

    assert lines == [
        "bob",
        "addresses   100.64.0.2, fd00::2",
        f"public key  {'B' * 43}=",
        "state       online, a hub",
        "network     hard NAT (symmetric)",
        "path        direct reflexive 203.0.113.9:41641 for 1 min",
        "quality     12 ms, 0% lost",
        "reason      Both sides' NATs keep one port for everyone.",
        "traffic     1.23 kB received, 5.68 MB sent",
        "handshake   5 s ago",
        "tried       1 min ago: punch failed (silence)",
        "            1 min ago: punch failed (silence)",
        "            1 min ago: punch failed (silence)",
    ]


def test_to_whom_it_belongs_is_shown_with_what_the_policy_calls_it() -> None:
    peer = a_peer(owner="alice@example.org", tags=["db", "web"])
    peer["class"] = "group:sre, tag:db"

    lines = [click.unstyle(line) for line in render_peer(peer, UNIX_TIME, 80)]

    assert lines[3] == "belongs to  alice@example.org tag:db tag:web"
    assert "policy      group:sre, tag:db" in lines


@pytest.mark.parametrize("size", [40, 80, 200])
def test_it_fits_the_terminal(size: int) -> None:
    peer = a_peer(name="n" * 63, reason="A long sentence. " * 20)
    lines = render_peer(peer, UNIX_TIME, size)
    assert max(len(click.unstyle(line)) for line in lines) <= size


def test_networks_behind_a_peer_are_shown_with_those_it_is_not_used_for() -> None:
    reserve = [
        {"prefix": "10.2.0.0/16", "state": "reserve"},
        {"prefix": "10.3.0.0/16", "state": "silent"},
    ]
    peer = a_peer(routes=["10.1.0.0/16"], reserve=reserve)

    lines = [click.unstyle(line) for line in render_peer(peer, UNIX_TIME, 120)]

    assert (
        "routes      10.1.0.0/16, 10.2.0.0/16 (in reserve), 10.3.0.0/16 (not used: it "
        "does not answer)"
    ) in lines
