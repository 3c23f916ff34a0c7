"""PCP messages against the layout of RFC 6887, and against garbage."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.nat import pcp
from meshwg.nat.gateway import (
    Announced,
    Granted,
    MappedProtocol,
    MappingRefused,
    NotOurs,
    NotSpoken,
)
from meshwg.nat.pcp import MapRequest, PcpClient
from meshwg.transmit import Endpoint

NONCE = bytes(range(12))
CLIENT = "192.168.1.10"
EXTERNAL = Endpoint("80.94.1.2", 40_001)


def test_a_tcp_port_is_another_mapping() -> None:
    client = PcpClient(CLIENT, 51_820, lambda n: NONCE[:n], MappedProtocol.TCP)
    (request,) = client.request(7200, EXTERNAL)
    wanted = MapRequest(CLIENT, NONCE, 51_820, 7200, EXTERNAL, MappedProtocol.TCP)
    assert request == wanted.encode()
    assert request[36] == 6


def test_a_map_request_has_the_layout_of_the_rfc() -> None:
    request = MapRequest(CLIENT, NONCE, 51_820, 7200, EXTERNAL).encode()
    assert request.hex(" ", 4) == (
        "02010000 00001c20 00000000 00000000 0000ffff c0a8010a "  # header
        "00010203 04050607 08090a0b 11000000 ca6c9c41 "  # nonce, UDP, ports
        "00000000 00000000 0000ffff 505e0102"  # wished address
    )


def test_a_deletion_wishes_for_no_endpoint_and_keeps_the_nonce() -> None:
    client = PcpClient(CLIENT, 51_820, lambda length: NONCE[:length])
    (deletion,) = client.release()
    assert deletion == MapRequest(CLIENT, NONCE, 51_820, 0).encode()
    assert deletion[-18:].hex() == "0000" + "00000000000000000000ffff00000000"


def test_an_ipv6_request_carries_the_address_as_it_is_without_a_zone() -> None:
    request = MapRequest("fe80::1%eth0", NONCE, 1, 1, None).encode()
    assert request[8:24].hex() == "fe80000000000000" + "0000000000000001"
    assert request[-16:] == bytes(16)


def test_an_announce_request_is_a_header_alone() -> None:
    assert pcp.encode_announce(CLIENT).hex() == (
        "0200000000000000" + "00000000000000000000ffff" + "c0a8010a"
    )


def test_a_granted_mapping_is_read() -> None:
    answer, epoch = client().receive(map_answer(lifetime=3600, epoch=99))
    assert answer == Granted(EXTERNAL, 3600)
    assert epoch == 99


def test_an_ipv6_mapping_is_read() -> None:
    address = bytes.fromhex("20010db8" + "00" * 11 + "07")
    answer, _ = client().receive(map_answer(address=address))
    assert answer == Granted(Endpoint("2001:db8::7", EXTERNAL.port), 7200)


def test_a_refusal_says_why_and_for_how_long() -> None:
    answer, _ = client().receive(map_answer(result=8, lifetime=30))
    assert answer == MappingRefused("it has no resources left", 30)


def test_an_unknown_result_code_is_named_by_its_number() -> None:
    answer, _ = client().receive(map_answer(result=77, lifetime=0))
    assert answer == MappingRefused("its result code is 77", 0)


def test_an_address_mismatch_is_a_double_nat() -> None:
    answer, _ = client().receive(map_answer(result=12, lifetime=1800))
    assert isinstance(answer, MappingRefused)
    assert answer.double_nat


@pytest.mark.parametrize(
    "answer",
    [
        bytes.fromhex("0080000100000005"),  # NAT-PMP, RFC 6886 section 3.5
        bytes.fromhex("0081000100000005") + bytes(8),
        bytes.fromhex("01810001") + bytes(20),  # the draft that PCP version 1 was
    ],
)
def test_an_answer_of_another_version_says_that_pcp_is_not_spoken(
    answer: bytes,
) -> None:
    assert client().receive(answer) == (NotSpoken(), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": bytes(12)},
        {"protocol": 6},
        {"internal_port": 51_821},
        {"nonce": bytes(12), "result": 12},
    ],
)
def test_an_answer_to_someone_else_is_not_ours(changes: dict[str, Any]) -> None:
    answer, _ = client().receive(map_answer(**changes))
    assert answer == NotOurs()


def test_an_announcement_carries_the_epoch() -> None:
    announcement = struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, 5)
    assert client().receive(announcement) == (Announced(), 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        bytes.fromhex("02810000") + bytes(19),  # a header less one byte
        bytes.fromhex("02810000") + bytes(20),  # no MAP part
        bytes.fromhex("02010000") + bytes(56),  # a request
        bytes.fromhex("03810000") + bytes(56),  # a version to come
        bytes.fromhex("00800000") + bytes(20),  # NAT-PMP, successful
    ],
)
def test_an_invalid_answer_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        client().receive(data)


@pytest.mark.parametrize("length", [61, 62, 63, 1104])
def test_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidMessage):
        client().receive(map_answer().ljust(length, b"\0"))


def test_options_after_the_mapping_are_skipped() -> None:
    answer, _ = client().receive(map_answer() + bytes.fromhex("02000000"))
    assert answer == Granted(EXTERNAL, 7200)


@settings(deadline=None)
@given(st.binary(max_size=1200))
def test_arbitrary_bytes_are_refused_and_do_nothing_else(data: bytes) -> None:
    try:
        answer, epoch = client().receive(data)
    except InvalidMessage:
        return
    assert not isinstance(answer, Granted), "nobody guesses the nonce"
    assert epoch is None or 0 <= epoch < 2**32


@settings(deadline=None)
@given(st.data())
def test_no_damage_to_an_answer_breaks_the_reader(data: st.DataObject) -> None:
    answer = bytearray(map_answer())
    at = data.draw(st.integers(0, len(answer) - 1))
    answer[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(answer)))
    for damaged in (bytes(answer), bytes(answer[:cut])):
        try:
            client().receive(damaged)
        except InvalidMessage:
            continue


@pytest.mark.parametrize(
    ("previous", "epoch", "elapsed", "lost"),
    [
        (1000, 1060, 60.0, False),
        (1000, 999, 0.0, False),  # answers may overtake each other
        (1000, 998, 0.0, True),
        (1000, 0, 3600.0, True),
        (1000, 4600, 3600.0, False),
        (1000, 1000 + 3380, 3600.0, False),  # a clock that is 1/16 slow
        (1000, 1000 + 3300, 3600.0, True),
        (1000, 1000 + 3830, 3600.0, False),  # or fast
        (1000, 1000 + 3900, 3600.0, True),
    ],
)
def test_the_epoch_rule_is_that_of_the_rfc(
    previous: int, epoch: int, elapsed: float, lost: bool
) -> None:
    assert pcp.epoch_is_lost(previous, epoch, elapsed) is lost


def client() -> PcpClient:
    return PcpClient(CLIENT, 51_820, lambda length: NONCE[:length])


def map_answer(
    *,
    result: int = 0,
    lifetime: int = 7200,
    epoch: int = 1,
    nonce: bytes = NONCE,
    protocol: int = 17,
    internal_port: int = 51_820,
    address: bytes = bytes.fromhex("00000000000000000000ffff505e0102"),
) -> bytes:
    return struct.pack("!BBBBII12x", 2, 0x81, 0, result, lifetime, epoch) + struct.pack(
        "!12sB3xHH16s", nonce, protocol, internal_port, EXTERNAL.port, address
    )
