"""What a gateway speaks, asked without leaving a trace."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.nat import natpmp, pcp
from meshwg.nat.gateway import SERVER_PORT
from meshwg.nat.gateway_probe import GatewayProbe
from meshwg.transmit import Endpoint, Transmit

GATEWAY = "192.168.1.1"
LOCAL = "192.168.1.10"
SOURCE = Endpoint(GATEWAY, SERVER_PORT)
PCP_ANSWER = struct.pack("!BBBBII12x", 2, 0x80, 0, 0, 0, 5)
NAT_PMP_ANSWER = bytes.fromhex("00800000 00000005 505e0102")
OTHER_VERSION = bytes.fromhex("00800001 00000005")


def test_both_questions_are_asked_and_map_nothing() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    questions = [pcp.encode_announce(LOCAL), natpmp.encode_address_request()]
    assert probe.datagrams_to_send() == [Transmit(SOURCE, questions)]
    assert not probe.datagrams_to_send()


def test_a_gateway_that_answers_both_is_recognised_at_once() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    probe.receive_datagram(PCP_ANSWER, SOURCE, 0.01)
    assert not probe.finished
    probe.receive_datagram(NAT_PMP_ANSWER, SOURCE, 0.01)
    assert (probe.finished, probe.pcp, probe.nat_pmp) == (True, True, True)
    assert probe.get_timer() is None


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([OTHER_VERSION, NAT_PMP_ANSWER], (False, True)),
        ([NAT_PMP_ANSWER, OTHER_VERSION], (False, True)),
        ([PCP_ANSWER, OTHER_VERSION], (True, False)),
    ],
)
def test_an_answer_of_another_version_is_a_no(
    answers: list[bytes], expected: tuple[bool, bool]
) -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    for answer in answers:
        probe.receive_datagram(answer, SOURCE, 0.01)
    assert (probe.pcp, probe.nat_pmp) == expected


def test_a_refusal_is_spoken_too() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    probe.receive_datagram(bytes.fromhex("0080000200000005"), SOURCE, 0.01)
    assert probe.nat_pmp
    probe.receive_datagram(b"\x02\x80\0\x02" + PCP_ANSWER[4:], SOURCE, 0.01)
    assert probe.pcp


def test_a_silent_gateway_is_asked_three_times_and_given_up() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    probe.receive_datagram(NAT_PMP_ANSWER, SOURCE, 0.01)
    times = []
    while (due := probe.get_timer()) is not None:
        times.append(due)
        probe.datagrams_to_send()
        probe.handle_timer(due)
        sent = [data for t in probe.datagrams_to_send() for data in t.datagrams]
        assert sent in ([], [pcp.encode_announce(LOCAL)])
    assert times == [0.15, 0.3, 0.5]
    assert (probe.pcp, probe.nat_pmp) == (False, True)


def test_a_closed_port_ends_the_wait() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    probe.receive_unreachable(0.01)
    assert (probe.finished, probe.pcp, probe.nat_pmp) == (True, False, False)


def test_over_ipv6_there_is_no_nat_pmp() -> None:
    probe = GatewayProbe("fe80::1%eth0", "2600::10", 0.0)
    (transmit,) = probe.datagrams_to_send()
    assert transmit.datagrams == [pcp.encode_announce("2600::10")]
    probe.receive_datagram(PCP_ANSWER, Endpoint("fe80::1%eth0", SERVER_PORT), 0.01)
    assert (probe.finished, probe.pcp, probe.nat_pmp) == (True, True, False)


def test_answers_from_elsewhere_say_nothing() -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    probe.receive_datagram(PCP_ANSWER, Endpoint("192.168.1.66", SERVER_PORT), 0.01)
    probe.receive_datagram(PCP_ANSWER, Endpoint(GATEWAY, 1), 0.01)
    assert probe.pcp is None


@settings(deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=8))
def test_garbage_is_harmless(datagrams: list[bytes]) -> None:
    probe = GatewayProbe(GATEWAY, LOCAL, 0.0)
    for data in datagrams:
        probe.receive_datagram(data, SOURCE, 0.01)
    probe.handle_timer(1.0)
    assert probe.finished
