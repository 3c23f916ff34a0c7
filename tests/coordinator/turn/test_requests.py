"""What is done for a request with proof."""

import hashlib
import hmac

import pytest

from coordinator.turn import PeerRules
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Attribute, Class, Message, Method, encode
from tests.coordinator.turnclient import (
    BOB,
    CHANNEL,
    PEER,
    RELAY4,
    UDP,
    TurnClient,
    code_of,
    make_server,
    signed,
)


def test_an_allocation_has_a_port_of_the_range_and_ten_minutes() -> None:
    alice = TurnClient(make_server(ports=range(50000, 50002)))

    answer = alice.request(Method.ALLOCATE, UDP)

    assert answer is not None
    relayed = answer.attributes[Attribute.XOR_RELAYED_ADDRESS]
    assert relayed.host == RELAY4
    assert relayed.port in (50000, 50001)
    assert answer.attributes[Attribute.LIFETIME] == 600
    assert answer.mapped == alice.endpoint


def test_a_repeated_allocate_request_gets_the_same_answer() -> None:
    alice = TurnClient(make_server())
    first = alice.request(Method.ALLOCATE, UDP, transaction_id=b"t" * 12)
    again = alice.request(Method.ALLOCATE, UDP, transaction_id=b"t" * 12)
    other = alice.request(Method.ALLOCATE, UDP)

    assert first is not None
    assert again is not None
    assert first.attributes == again.attributes
    assert code_of(other) == 437


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({}, 400),
        ({Attribute.REQUESTED_TRANSPORT: 6}, 442),
        (UDP | {Attribute.REQUESTED_ADDRESS_FAMILY: 2}, 440),
        (UDP | {Attribute.REQUESTED_ADDRESS_FAMILY: 9}, 440),
        (UDP | {Attribute.DONT_FRAGMENT: None}, 420),
        (UDP | {Attribute.RESERVATION_TOKEN: bytes(8)}, 508),
        (UDP | {Attribute.RESERVATION_TOKEN: bytes(8), Attribute.EVEN_PORT: True}, 400),
    ],
    ids=[
        "no transport",
        "TCP to peers",
        "no IPv6 here",
        "no such family",
        "do not fragment",
        "unknown reservation",
        "reservation and even port",
    ],
)
def test_an_impossible_allocation_is_refused(
    attributes: dict[Attribute, object], code: int
) -> None:
    alice = TurnClient(make_server())

    assert code_of(alice.request(Method.ALLOCATE, attributes)) == code
    assert alice.server.allocations == 0


def test_a_lifetime_is_within_limits() -> None:
    alice = TurnClient(make_server())
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.LIFETIME: 999_999})
    assert answer is not None

    assert answer.attributes[Attribute.LIFETIME] == 3600
    assert alice.refresh(1).attributes[Attribute.LIFETIME] == 600


def test_a_refresh_with_lifetime_zero_releases_the_allocation() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.permit(PEER)

    assert alice.refresh(0).attributes[Attribute.LIFETIME] == 0
    assert server.allocations == 0
    assert server.next_event() is None  # The client's helper took CloseSocket already.
    assert code_of(alice.refresh(0)) == 437


def test_another_user_may_not_touch_an_allocation() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    mallory = TurnClient(server, alice.endpoint, node="mallory")

    assert code_of(mallory.request(Method.REFRESH)) == 441


def test_the_same_node_with_newer_credentials_may() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    later = TurnClient(server, alice.endpoint, lifetime=90_000)

    assert code_of(later.request(Method.REFRESH)) == 0


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0"]
)
def test_peers_in_private_places_are_refused(host: str) -> None:
    alice = TurnClient(make_server()).allocate()

    assert alice.permit(Endpoint(host, 1)) == 403
    assert alice.bind(CHANNEL, Endpoint(host, 1)) == 403
    assert alice.server.next_event() is None


def test_private_peers_may_be_allowed_and_public_ones_denied() -> None:
    rules = PeerRules(allowed=["10.1.0.0/16"], denied=["192.0.2.0/24"])
    alice = TurnClient(make_server(rules=rules)).allocate()

    assert alice.permit(Endpoint("10.1.2.3", 1)) == 0
    assert alice.permit(Endpoint("10.2.2.3", 1)) == 403
    assert alice.permit(PEER) == 403


def test_the_relays_own_address_is_a_peer_even_if_it_is_private() -> None:
    server = make_server(hosts={4: "10.0.0.1"})
    alice = TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob").allocate()

    assert alice.bind(CHANNEL, bob.relayed) == 0


@pytest.mark.parametrize("method", [Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_requests_without_a_peer_are_bad(method: Method) -> None:
    alice = TurnClient(make_server()).allocate()

    assert code_of(alice.request(method)) == 400


def test_a_request_with_an_unknown_attribute_is_refused_by_its_name() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    unknown = _signed_with_unknown(alice)

    answer = alice.send_bytes(unknown)

    assert code_of(answer) == 420
    assert answer is not None
    assert answer.attributes[Attribute.UNKNOWN_ATTRIBUTES] == (0x7777,)


def _signed_with_unknown(client: TurnClient) -> bytes:
    """Return a Refresh with the attribute 0x7777, which has to be understood."""
    plain = signed(client, Method.REFRESH, {Attribute.LIFETIME: 600})
    body = plain[20:-24] + b"\x77\x77\x00\x00"
    message = Message(Method.REFRESH, Class.REQUEST, b"r" * 12)
    header = encode(message)[:2] + (len(body) + 24).to_bytes(2, "big")
    data = header + plain[4:20] + body
    digest = hmac.digest(client.key, data, hashlib.sha1)
    return data + b"\x00\x08\x00\x14" + digest
