"""A gateway is believed only where it is, and about our own mapping."""

import random
import struct
from collections import Counter

import pytest

from meshwg.nat import natpmp
from meshwg.nat.asking import AskedGateway
from meshwg.nat.gateway import (
    SERVER_PORT,
    Addressed,
    GatewayDrop,
    MappingMethod,
    NotSpoken,
)
from meshwg.transmit import Endpoint

HERE = Endpoint("192.168.1.1", SERVER_PORT)
PUBLIC = "203.0.113.1"


def test_an_answer_is_given_to_the_client_that_asked() -> None:
    gateway = begun()
    client = gateway.clients[MappingMethod.NAT_PMP]
    client.request(7200, None)
    said = gateway.receive(address_answer(epoch=100), HERE, 0.0)
    assert said == (client, Addressed(PUBLIC), False)


def test_an_epoch_that_falls_back_means_that_mappings_are_lost() -> None:
    gateway = begun()
    client = gateway.clients[MappingMethod.NAT_PMP]
    client.request(7200, None)
    gateway.receive(address_answer(epoch=1000), HERE, 0.0)
    client.request(7200, None)
    said = gateway.receive(address_answer(epoch=0), HERE, 60.0)
    assert said is not None
    assert said.lost


def test_a_gateway_of_another_version_does_not_speak_pcp() -> None:
    gateway = begun(MappingMethod.PCP)
    said = gateway.receive(b"\x00\x80\x00\x01" + bytes(4), HERE, 0.0)
    assert said is not None
    assert said.answer == NotSpoken()


@pytest.mark.parametrize(
    ("data", "source", "why"),
    [
        (b"nonsense", HERE, GatewayDrop.MALFORMED),
        (b"", HERE, GatewayDrop.MALFORMED),
        (b"", Endpoint("192.168.1.66", SERVER_PORT), GatewayDrop.WRONG_SOURCE),
        (b"", HERE._replace(port=9), GatewayDrop.WRONG_SOURCE),
    ],
)
def test_an_implausible_answer_is_counted(
    data: bytes, source: Endpoint, why: GatewayDrop
) -> None:
    drops: Counter[GatewayDrop] = Counter()
    gateway = begun(drops=drops)
    assert gateway.receive(data, source, 0.0) is None
    assert drops == {why: 1}
    assert not gateway.announces_loss(data, source, PUBLIC, 0.0)
    assert drops == {why: 2}


def test_an_unsolicited_answer_is_counted() -> None:
    drops: Counter[GatewayDrop] = Counter()
    assert begun(drops=drops).receive(address_answer(epoch=5), HERE, 0.0) is None
    assert drops == {GatewayDrop.NOT_OURS: 1}


def test_an_announcement_of_another_address_means_that_the_mapping_is_gone() -> None:
    gateway = begun()
    announcement = address_answer(epoch=5)
    assert gateway.announces_loss(announcement, HERE, "203.0.113.99", 0.0)
    assert not gateway.announces_loss(announcement, HERE, PUBLIC, 0.0)
    assert not gateway.announces_loss(announcement, HERE, None, 0.0)


def test_over_ipv6_only_pcp_is_asked() -> None:
    gateway = AskedGateway("fe80::1", "2001:db8::7", Counter())
    gateway.begin(51820, frozenset(MappingMethod), random.Random(1).randbytes)
    assert list(gateway.clients) == [MappingMethod.PCP]


def begun(
    *methods: MappingMethod, drops: Counter[GatewayDrop] | None = None
) -> AskedGateway:
    """Return a gateway that is asked by these methods, or by all."""
    counter: Counter[GatewayDrop] = Counter() if drops is None else drops
    gateway = AskedGateway(HERE.host, "192.168.1.7", counter)
    gateway.begin(51820, methods or tuple(MappingMethod), random.Random(1).randbytes)
    return gateway


def address_answer(epoch: int) -> bytes:
    address = bytes(int(part) for part in PUBLIC.split("."))
    header = struct.pack("!BBHI", natpmp.VERSION, 0x80, 0, epoch)
    return header + address
