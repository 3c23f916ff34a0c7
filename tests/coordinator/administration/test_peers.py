"""Plain WireGuard peers."""

from typing import Any

import pytest

from coordinator.administration.peers import config_url
from coordinator.mesh.operations import Approve, Join, Remove
from meshwg.keys import format_key
from tests.coordinator.administration.meshes import Office

OWN_KEY = format_key(bytes(range(32)))
NAT = (
    '{"ipv4": {"public": "203.0.113.9:41641", "mapping": "none", '
    '"filtering": "endpoint-independent"}}'
)


@pytest.fixture
def office() -> Office:
    made = Office()
    text = str(made.mesh.mesh.text)
    joining = Join("hub's key", "s", "home", "hub", text, role="hub", nat=NAT)
    made.do(joining)
    made.do(Approve("hub", "hub"))
    return made


def test_a_peer_is_added_with_a_key_and_a_code_that_are_shown_once(
    office: Office,
) -> None:
    added = office.ask("add-peer", body={"name": "Phone"}).record

    assert added["peer"]["name"] == "phone"
    assert "\nPrivateKey = " in added["config"]
    assert added["qr"] == f"code of {added['config']}"
    assert added["url"].startswith("https://mesh.example.org/v1/wg/phone.conf?token=")
    shown = office.ask("show-peer", peer="phone").record
    assert shown["peer"] == added["peer"]
    assert "\nPrivateKey" not in shown["config"]
    assert office.ask("list-peers").record["peers"] == [added["peer"]]
    assert office.ask("remove-peer", peer="phone").record == {"peer": added["peer"]}


def test_whoever_has_a_key_gets_neither_another_nor_a_code(office: Office) -> None:
    body = {"name": "router", "public_key": OWN_KEY}
    added = office.ask("add-peer", body=body).record
    assert (added["peer"]["public_key"], added["qr"]) == (OWN_KEY, "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": ""}, 400),
        ({"name": "x", "endpoint": "a b"}, 400),
        ({"name": "x", "public_key": "short"}, 409),
        ({"name": "x", "hub": "nobody"}, 404),
        ({"name": "hub"}, 409),
    ],
)
def test_what_is_wrong_is_refused(office: Office, body: Any, status: int) -> None:
    assert office.problem("add-peer", body=body).status == status
    assert office.ask("list-peers").record["peers"] == []


def test_a_node_is_no_peer(office: Office) -> None:
    assert office.problem("show-peer", peer="hub").status == 404
    assert office.problem("remove-peer", peer="hub").status == 404


def test_a_peer_whose_hub_has_gone_has_no_configuration(office: Office) -> None:
    office.ask("add-peer", body={"name": "phone"})
    office.do(Remove("hub"))
    assert office.problem("show-peer", peer="phone").status == 409


def test_no_secret_goes_over_plain_http() -> None:
    assert config_url("http://192.0.2.1:8443", "router", "s") is None
    assert config_url("https://m/x/", "router", "s") == (
        "https://m/x/v1/wg/router.conf?token=s"
    )
