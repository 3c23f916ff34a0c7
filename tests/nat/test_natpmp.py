"""NAT-PMP messages against the layout of RFC 6886, and against garbage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.errors import InvalidMessage
from meshwg.nat import natpmp
from meshwg.nat.gateway import (
    Addressed,
    Granted,
    MappedProtocol,
    MappingRefused,
    NotOurs,
    NotSpoken,
)
from meshwg.nat.natpmp import NatPmpClient
from meshwg.transmit import Endpoint

ADDRESS_ANSWER = bytes.fromhex("00800000 00000063 505e0102")
MAP_ANSWER = bytes.fromhex("00810000 00000063 ca6c 9c41 00000e10")


def test_requests_have_the_layout_of_the_rfc() -> None:
    assert natpmp.encode_address_request().hex() == "0000"
    request = natpmp.encode_map_request(51_820, 40_001, 7200)
    assert request.hex(" ", 4) == "00010000 ca6c9c41 00001c20"


def test_the_mapping_is_asked_for_once_the_address_is_known() -> None:
    client = NatPmpClient(51_820)
    assert client.request(7200, None) == [natpmp.encode_address_request()]
    asked_too_early = client.asked

    client.receive(ADDRESS_ANSWER)

    assert client.request(7200, None) == [
        natpmp.encode_address_request(),
        natpmp.encode_map_request(51_820, 51_820, 7200),
    ]
    assert client.asked
    assert not asked_too_early
    wish = Endpoint("80.94.1.2", 40_001)
    assert natpmp.encode_map_request(51_820, 40_001, 7200) in client.request(7200, wish)


def test_a_release_requests_no_port_and_no_lifetime() -> None:
    assert NatPmpClient(51_820).release() == [natpmp.encode_map_request(51_820, 0, 0)]


def test_an_address_answer_is_read() -> None:
    assert asking().receive(ADDRESS_ANSWER) == (Addressed("80.94.1.2"), 99)


def test_a_mapping_is_the_known_address_with_the_granted_port() -> None:
    granted = Granted(Endpoint("80.94.1.2", 40_001), 3600)
    assert asking_for_a_mapping().receive(MAP_ANSWER) == (granted, 99)


def test_a_mapping_before_the_address_is_not_believed() -> None:
    assert asking().receive(MAP_ANSWER) == (NotOurs(), 99)


def test_a_mapping_of_another_port_is_not_ours() -> None:
    client = asking_for_a_mapping(51_821)
    assert client.receive(MAP_ANSWER) == (NotOurs(), 99)


def test_each_question_is_good_for_one_answer() -> None:
    client = asking_for_a_mapping()
    for answer, meaning in [(ADDRESS_ANSWER, Addressed), (MAP_ANSWER, Granted)]:
        assert isinstance(client.receive(answer)[0], meaning)
        assert client.receive(answer) == (NotOurs(), 99)
    client.release()
    assert isinstance(client.receive(MAP_ANSWER)[0], Granted)
    assert NatPmpClient(51_820).receive(ADDRESS_ANSWER) == (NotOurs(), 99)


def test_a_forged_answer_does_not_use_up_the_request() -> None:
    client = asking_for_a_mapping()
    another_port = MAP_ANSWER[:8] + b"\xff\xff" + MAP_ANSWER[10:]
    assert client.receive(another_port) == (NotOurs(), 99)
    assert isinstance(client.receive(MAP_ANSWER)[0], Granted)


def test_another_version_is_not_spoken() -> None:
    answer = bytes.fromhex("0080000100000005")
    assert asking().receive(answer) == (NotSpoken(), 5)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (2, "it does not permit this host to map ports"),
        (3, "it has no external address itself"),
        (4, "it has no resources left"),
        (5, "it does not map UDP ports"),
        (258, "its result code is 258"),
    ],
)
def test_a_refusal_says_why(code: int, reason: str) -> None:
    answer = bytes((0, 0x81)) + code.to_bytes(2) + bytes(4)
    assert asking_for_a_mapping().receive(answer) == (MappingRefused(reason), 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ADDRESS_ANSWER[:7],
        ADDRESS_ANSWER[:11],
        MAP_ANSWER[:15],
        bytes.fromhex("02800000") + bytes(20),
        bytes.fromhex("00000000") + bytes(12),  # a request
        bytes.fromhex("00830000") + bytes(12),  # an answer about nothing known
    ],
)
def test_an_invalid_answer_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        NatPmpClient(51_820).receive(data)


def test_a_tcp_port_is_mapped_by_an_operation_of_its_own() -> None:
    client = NatPmpClient(51_820, MappedProtocol.TCP)
    client.request(7200, None)
    client.receive(ADDRESS_ANSWER)
    _, request = client.request(7200, None)
    assert request.hex(" ", 4) == "00020000 ca6cca6c 00001c20"
    assert client.receive(MAP_ANSWER)[0] == NotOurs(), "it is about UDP"
    answer = b"\0\x82" + MAP_ANSWER[2:]
    assert isinstance(client.receive(answer)[0], Granted)
    assert NatPmpClient(51_820).receive(answer)[0] == NotOurs()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=4))
def test_arbitrary_bytes_are_refused_and_do_nothing_else(
    datagrams: list[bytes],
) -> None:
    client = asking()
    for data in datagrams:
        try:
            client.receive(b"\0" + data)
        except InvalidMessage:
            continue
    client.request(7200, None)


@pytest.mark.parametrize(
    ("previous", "epoch", "elapsed", "lost"),
    [
        (1000, 1060, 60.0, False),
        (1000, 998, 0.0, False),
        (1000, 997, 0.0, True),
        (1000, 0, 3600.0, True),
        (1000, 1000 + 3149, 3600.0, False),  # a clock that is 1/8 slow
        (1000, 1000 + 3147, 3600.0, True),
        (1000, 9000, 3600.0, False),  # a fast clock loses nothing
    ],
)
def test_the_epoch_rule_is_that_of_the_rfc(
    previous: int, epoch: int, elapsed: float, lost: bool
) -> None:
    assert natpmp.epoch_is_lost(previous, epoch, elapsed) is lost


def asking(port: int = 51_820) -> NatPmpClient:
    client = NatPmpClient(port)
    client.request(7200, None)
    return client


def asking_for_a_mapping(port: int = 51_820) -> NatPmpClient:
    client = asking(port)
    client.receive(ADDRESS_ANSWER)
    client.request(7200, None)
    return client
