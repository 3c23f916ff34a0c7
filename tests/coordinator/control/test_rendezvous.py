"""Offers find their way, or are refused at once."""

import dataclasses

import pytest

from coordinator.control.rendezvous import Delivery, read_forwarded, route
from coordinator.mesh.ipam import Networks
from coordinator.mesh.nodes import Node
from coordinator.mesh.operations import Changes
from coordinator.mesh.registry import Registry
from meshwg.keys import format_key
from meshwg.wire.control import (
    MAX_OFFER,
    Error,
    ErrorCode,
    OfferMessage,
    decode_from_coordinator,
    to_json,
)

A, B, C = (format_key(bytes([number]) * 32) for number in (1, 2, 3))
NODES = (
    Node(key=A, name="a", requested_name="a", number=1, online=True, home="one"),
    Node(key=B, name="b", requested_name="b", number=2, online=True, home="two"),
)


def test_an_offer_goes_to_the_process_of_its_peer_with_its_true_sender() -> None:
    delivery = route(registry(*NODES), A, OfferMessage(to=B, sender=C, sequence=7))
    assert isinstance(delivery, Delivery)
    assert (delivery.to, delivery.home) == (B, "two")
    offer = decode_from_coordinator(delivery.payload)
    assert offer == OfferMessage(to=B, sender=A, sequence=7)


def test_an_offer_says_where_its_sender_was_seen_not_where_it_claims_to_be() -> None:
    offer = OfferMessage(to=B, sequence=7, observed="203.0.113.99")
    delivery = route(registry(*NODES), A, offer, "198.51.100.7")
    assert isinstance(delivery, Delivery)
    arrived = decode_from_coordinator(delivery.payload)
    assert isinstance(arrived, OfferMessage)
    assert arrived.observed == "198.51.100.7"


def test_an_offer_survives_the_transfer_between_two_processes() -> None:
    delivery = route(registry(*NODES), A, OfferMessage(to=B, sequence=7))
    assert isinstance(delivery, Delivery)
    arrived = read_forwarded(delivery.text)
    assert arrived is not None
    assert (arrived.to, arrived.payload) == (B, delivery.payload)


def test_the_largest_offer_fits_into_a_notification() -> None:
    filler = "x" * (MAX_OFFER - 300)
    offer = OfferMessage(to=B, sequence=7, extension={"x": filler})
    delivery = route(registry(*NODES), A, offer)
    assert isinstance(delivery, Delivery)
    assert len(delivery.text) < 8000


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\xff", b'{"type":"ping","id":1}', b'{"type":"offer"}']
)
def test_an_invalid_offer_is_not_passed_on(text: bytes) -> None:
    assert read_forwarded(text) is None


def test_an_offer_without_a_sender_is_not_passed_on() -> None:
    text = to_json(OfferMessage(to=B, sequence=1)).decode()
    assert read_forwarded(text.encode()) is None


@pytest.mark.parametrize(
    ("sender", "to", "code"),
    [
        (A, C, ErrorCode.UNKNOWN_PEER),
        (C, A, ErrorCode.UNKNOWN_PEER),
        (A, A, ErrorCode.UNKNOWN_PEER),
    ],
)
def test_an_offer_between_strangers_is_refused(
    sender: str, to: str, code: ErrorCode
) -> None:
    error = route(registry(*NODES), sender, OfferMessage(to=to, sequence=1))
    assert isinstance(error, Error)
    assert (error.code, error.to) == (code, to)


def test_an_offer_to_a_node_that_is_away_is_refused() -> None:
    away = dataclasses.replace(NODES[1], online=False)
    error = route(registry(NODES[0], away), A, OfferMessage(to=B, sequence=1))
    assert isinstance(error, Error)
    assert error.code == ErrorCode.PEER_OFFLINE


def registry(*nodes: Node) -> Registry:
    made = Registry(Networks.parse("100.64.0.0/16", "fd00::/48"), "epoch")
    made.apply(Changes(1, nodes))
    return made
