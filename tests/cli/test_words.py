"""Single things in words."""

from typing import Any

import click
import pytest

from meshwg.cli.words import (
    age_text,
    coordinator_text,
    exit_text,
    is_active,
    loss_text,
    nat_text,
    offers_text,
    path_text,
    relay_text,
)
from tests.cli.daemon import Json, a_peer, a_report

NO_PATH = {"kind": "none", "method": None, "remote": None}


@pytest.mark.parametrize(
    ("detail", "text"),
    [(0, "direct"), (1, "direct host"), (2, "direct host 203.0.113.9:41641")],
)
def test_a_path_is_named_in_as_much_detail_as_there_is_room(
    detail: int, text: str
) -> None:
    peer = a_peer(path={"method": "host"})
    assert click.unstyle(path_text(peer, detail)) == text


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (a_peer(path={"kind": "relay", "via": "hub"}), "relay via hub"),
        (a_peer(path=NO_PATH), "idle"),
        (a_peer(path=NO_PATH, online=False), "offline"),
        (a_peer(path=NO_PATH, attempts=[{}]), "none"),
        (a_peer(path=NO_PATH, held=True), "held"),
    ],
)
def test_a_peer_without_a_direct_path_says_what_there_is(peer: Json, text: str) -> None:
    assert click.unstyle(path_text(peer)) == text


def test_a_peer_is_active_while_there_is_a_path_or_a_session() -> None:
    assert is_active(a_peer())
    assert is_active(a_peer(path=NO_PATH, last_handshake_age=100.0))
    assert not is_active(a_peer(path=NO_PATH, last_handshake_age=200.0))
    assert not is_active(a_peer(path=NO_PATH, last_handshake_age=None))


def test_what_is_not_known_is_said() -> None:
    assert nat_text(None) == "not examined yet"
    assert loss_text(None) == "-"
    assert age_text(None) == "never"
    relay: dict[str, Any] = {"url": None, "state": "offline", "error": None}
    assert relay_text(relay) == "none"


def test_errors_stand_behind_what_they_are_about() -> None:
    own = a_report()["self"]
    coordinator = own["coordinator"] | {"state": "offline", "error": "It is away"}
    relay = own["relay"] | {"state": "connecting", "error": "No answer"}

    text = click.unstyle(coordinator_text(coordinator, 1060.0))

    assert text == "https://mesh.example offline for 1 min: It is away"
    assert relay_text(relay) == "turn:mesh.example:3478 connecting: No answer"


def test_what_a_node_offers_is_said_with_what_became_of_it() -> None:
    states = ("approved", "advertised", "refused", "approved", "approved", "approved")
    routes = [
        {"prefix": f"10.{number}.0.0/16", "state": state, "reason": ""}
        for number, state in enumerate(states)
    ]
    own = {
        "routes": routes[:2],
        "exit": {"using": None, "offering": {"state": "advertised", "reason": "why"}},
        "hub": {"state": "refused", "reason": "no"},
    }

    assert click.unstyle(offers_text(own)) == (
        "10.0.0.0/16 approved, 10.1.0.0/16 advertised, an exit advertised, "
        "a hub refused"
    )
    assert click.unstyle(offers_text({"routes": routes})).endswith(", 1 more")
    assert offers_text({}) == ""


@pytest.mark.parametrize(
    ("state", "lan", "text"),
    [
        ("up", False, "ams alone leads to the internet"),
        (
            "up",
            True,
            "ams alone leads to the internet, and the local network beside it",
        ),
        ("away", True, "ams, which is away: nothing gets to the internet"),
    ],
)
def test_the_exit_in_use_is_named(state: str, lan: bool, text: str) -> None:
    assert exit_text({"name": "ams", "state": state, "lan": lan}) == text
