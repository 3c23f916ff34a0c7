"""Exact flows, and a data path that asks for the first packet of each."""

from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.policy.filter import PICK_UP, Filter
from meshwg.policy.places import Places
from meshwg.policy.ports import Ports
from meshwg.policy.rules import AllowRule
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import REFUSED, both_keys, flow_key
from tests import datapaths
from tests.policy.packets import ACK, FIN, RST, SYN, echo, error, ip, tcp, udp
from tests.wireguard.test_python_datapath import NOW, OURS, THEIRS, THERE, End, ends

SSH = (40_000, 22)
OUR_ADDRESS = ip_address(OURS).packed
A6, B6 = "fd00::1", "fd00::2"


class Judge:
    """A filter that says what it is told to, and remembers what it was asked."""

    def __init__(self, until: float = NOW + 30) -> None:
        self.generation = 0
        self.until = until
        self.asked: list[tuple[bytes, bool]] = []
        self.answers: tuple[list[bytes], list[bytes]] = [], []

    def judge(self, packet: bytes, now: float, *, inbound: bool) -> float:
        self.asked.append((packet, inbound))
        return self.until

    def take_answers(self) -> tuple[list[bytes], list[bytes]]:
        answers, self.answers = self.answers, ([], [])
        return answers


# Keys.


@pytest.mark.parametrize(
    "packet",
    [
        tcp(OURS, THEIRS, SSH, ACK),
        udp(OURS, THEIRS, SSH),
        echo(OURS, THEIRS, 5),
        echo(OURS, THEIRS, 5, reply=True),
        tcp(A6, B6, SSH, ACK),
        udp(A6, B6, SSH),
        echo(A6, B6, 5),
    ],
)
def test_packets_of_a_flow_have_a_key_of_their_own(packet: bytes) -> None:
    others = [
        tcp(OURS, THEIRS, (1, 22), ACK),
        tcp(OURS, THEIRS, (40_000, 1), ACK),
        tcp(THEIRS, OURS, SSH, ACK),
        udp(OURS, THEIRS, (1, 1)),
        echo(OURS, THEIRS, 6),
        tcp(A6, B6, (1, 1), ACK),
    ]

    assert flow_key(packet) is not None
    assert flow_key(packet) not in map(flow_key, others)
    assert flow_key(packet + b"more") == flow_key(packet)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        *(tcp(OURS, THEIRS, SSH, flags) for flags in (SYN, FIN | ACK, RST)),
        *(tcp(A6, B6, SSH, flags) for flags in (SYN, FIN | ACK, RST)),
        error(THEIRS, OURS, udp(OURS, THEIRS, SSH)),
        ip(OURS, THEIRS, 17, bytes(40), where=0x2000),
        ip(OURS, THEIRS, 17, bytes(40), where=5),
        ip(OURS, THEIRS, 47, bytes(40)),
        ip(A6, B6, 44, bytes(40)),
        b"\x46" + udp(OURS, THEIRS, SSH)[1:],
        tcp(OURS, THEIRS, SSH, ACK)[:39],
        udp(OURS, THEIRS, SSH)[:27],
    ],
)
def test_what_is_to_be_judged_by_itself_has_none(packet: bytes) -> None:
    assert flow_key(packet) is None


def test_a_segment_that_ends_a_connection_names_both_of_its_flows() -> None:
    for one, other in ((OURS, THEIRS), (A6, B6)):
        there, back = (
            flow_key(tcp(one, other, SSH, ACK)),
            flow_key(tcp(other, one, SSH[::-1], ACK)),
        )

        assert both_keys(tcp(one, other, SSH, RST)) == (there, back)
    assert both_keys(udp(OURS, THEIRS, SSH)) == ()
    assert both_keys(b"") == ()


@given(st.binary(max_size=80))
def test_no_bytes_raise(packet: bytes) -> None:
    flow_key(packet)
    both_keys(packet)


# A data path with a filter.

Judged = Callable[..., tuple[End, End, Judge]]


@pytest.fixture(params=list(datapaths.MAKERS))
def judged(request: pytest.FixtureRequest) -> Judged:
    """Return what makes two ends, and the filter of the first one, over each path."""

    def make(until: float = NOW + 30) -> tuple[End, End, Judge]:
        here, there = ends(datapaths.MAKERS[request.param]())
        judge = Judge(until)
        here.path.set_filter(judge)
        return here, there, judge

    return make


def test_the_first_packet_of_each_flow_is_judged(judged: Judged) -> None:
    here, _, judge = judged()
    first, other = tcp(OURS, THEIRS, SSH, ACK), tcp(OURS, THEIRS, (1, 2), ACK)

    here.path.receive_packets([first, first, other, first], NOW)
    here.path.receive_packets([first], NOW + 29)
    here.path.receive_packets([first], NOW + 30)

    assert judge.asked == [(first, False), (other, False), (first, False)]
    (transmit, *_) = here.path.datagrams_to_send()
    assert len(transmit.datagrams) == 4


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "together"])
def test_so_is_that_of_what_is_received(alone: bool, judged: Judged) -> None:
    here, there, judge = judged()
    packets = [tcp(THEIRS, OURS, SSH, ACK, bytes(9))] * 3

    here.receive(there, *packets, alone=alone)

    assert judge.asked == [(packets[0], True)]
    assert here.written == packets


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "together"])
def test_what_is_refused_goes_no_further_and_each_packet_is_judged(
    alone: bool, judged: Judged
) -> None:
    here, there, judge = judged(REFUSED)
    packet = udp(THEIRS, OURS, SSH)

    here.receive(there, packet, packet, alone=alone)
    here.path.receive_packets([udp(OURS, THEIRS, SSH)], NOW)

    assert here.written == []
    assert here.path.datagrams_to_send() == []
    assert len(judge.asked) == 3
    assert here.path.drops[Drop.DENIED_INBOUND] == 2
    assert here.path.drops[Drop.DENIED_OUTBOUND] == 1


def test_the_end_of_a_connection_is_judged_in_the_middle_of_a_run(
    judged: Judged,
) -> None:
    here, there, judge = judged()
    segment = tcp(THEIRS, OURS, SSH, ACK, bytes(8))
    end = tcp(THEIRS, OURS, SSH, FIN | ACK, bytes(8))

    here.receive(there, segment, segment, end, segment)

    assert [packet for packet, _ in judge.asked] == [segment, end, segment]
    assert here.written == [segment, segment, end, segment]


def test_nothing_overtakes_what_is_judged(judged: Judged) -> None:
    here, there, judge = judged()
    segment = tcp(THEIRS, OURS, SSH, ACK, bytes(8))
    end = tcp(THEIRS, OURS, SSH, FIN | ACK, bytes(8))
    out = [tcp(OURS, THEIRS, SSH[::-1], flags) for flags in (ACK, FIN | ACK, ACK)]
    here.receive(there, segment)
    here.path.receive_packets(out[:1], NOW)
    judge.asked.clear()

    here.receive(there, segment, end, segment)
    here.path.receive_packets(out, NOW)

    inbound = [(packet, True) for packet in (end, segment)]
    assert judge.asked == inbound + [(packet, False) for packet in out]
    assert here.written == [segment, segment, end, segment]
    sent = [each for to in here.path.datagrams_to_send() for each in to.datagrams]
    assert [each[8] for each in sent] == [0, 1, 2, 3]
    there.path.receive_datagrams(sent, THERE, NOW)
    assert there.path.packets_to_write() == [out[0], *out]


def test_after_it_the_other_direction_is_judged_again_as_well(judged: Judged) -> None:
    here, there, judge = judged()
    out = tcp(OURS, THEIRS, SSH[::-1], ACK)
    here.path.receive_packets([out], NOW)

    here.receive(there, tcp(THEIRS, OURS, SSH, RST))
    here.path.receive_packets([out], NOW)

    assert [packet for packet, inbound in judge.asked if not inbound] == [out, out]


def test_another_generation_makes_all_known_flows_worth_nothing(judged: Judged) -> None:
    here, there, judge = judged()
    packet = udp(THEIRS, OURS, SSH)
    here.receive(there, packet)

    judge.generation += 1
    judge.until = REFUSED
    here.receive(there, packet)

    assert here.written == [packet]


def test_a_lone_packet_goes_fast_only_if_its_flow_is_known() -> None:
    (here, _), judge = ends(), Judge()
    here.path.set_filter(judge)
    packet = udp(OURS, THEIRS, SSH)

    assert here.path.seal_one(packet, NOW) is None
    assert judge.asked == []
    here.path.receive_packets([packet], NOW)
    assert here.path.seal_one(packet, NOW) is not None
    assert here.path.seal_one(packet, NOW + 30) is None
    assert len(judge.asked) == 1


def test_answers_go_to_the_interface_and_to_peers_unjudged(judged: Judged) -> None:
    here, there, judge = judged(REFUSED)
    judge.answers = [b"near"], [tcp(OURS, THEIRS, SSH, RST)]

    here.receive(there, udp(THEIRS, OURS, SSH))

    assert here.written == [b"near"]
    assert len(here.path.datagrams_to_send()) == 1


def test_padding_is_not_judged(judged: Judged) -> None:
    here, there, judge = judged()
    packet = udp(THEIRS, OURS, SSH, b"odd")

    here.receive(there, packet)

    assert judge.asked == [(packet, True)]


def test_what_has_nowhere_to_go_is_judged_so_that_its_sender_may_be_told(
    judged: Judged,
) -> None:
    here, _, judge = judged(REFUSED)
    packet = udp(OURS, "10.0.0.9", SSH)
    judge.answers = [b"near"], []

    here.path.receive_packets([packet], NOW)

    assert judge.asked == [(packet, False)]
    assert here.path.packets_to_write() == [b"near"]
    assert here.path.drops[Drop.NO_PEER] == 0
    judge.until = NOW
    here.path.receive_packets([packet], NOW)
    assert here.path.drops[Drop.NO_PEER] == 1


def test_without_a_filter_again_all_pass(judged: Judged) -> None:
    here, there, _ = judged(REFUSED)
    here.path.set_filter(None)
    packet = udp(THEIRS, OURS, SSH)

    here.receive(there, packet)

    assert here.written == [packet]


def test_known_flows_are_bounded(
    monkeypatch: pytest.MonkeyPatch, judged: Judged
) -> None:
    monkeypatch.setattr("meshwg.wireguard.filtering.MAX_EXACT_FLOWS", 4)
    here, _, judge = judged()
    packets = [udp(OURS, THEIRS, (number, 1)) for number in range(1, 7)]

    for packet in packets * 2:
        here.path.receive_packets([packet], NOW)

    assert 6 < len(judge.asked) <= 12


PORTS = st.sampled_from((22, 80))
FLAGS = st.sampled_from((SYN, SYN | ACK, ACK, ACK, FIN | ACK, RST))
SPOKEN = st.one_of(
    st.builds(
        lambda own, flags, out: segment(own, flags, out), PORTS, FLAGS, st.booleans()
    ),
    st.builds(lambda port, out: udp(*ends_of(out), (port, port)), PORTS, st.booleans()),
    st.builds(
        lambda out, reply: echo(*ends_of(out), 1, reply=reply),
        st.booleans(),
        st.booleans(),
    ),
)


@given(st.lists(st.lists(SPOKEN, min_size=1, max_size=6), max_size=12))
def test_a_data_path_lets_pass_what_a_filter_that_is_asked_each_time_does(
    batches: list[list[bytes]],
) -> None:
    here, there = ends()
    here.path.set_filter(a_filter())
    reference = a_filter()
    sent, denied = 0, {True: 0, False: 0}
    passing = {True: 0, False: 0}
    for batch in batches:
        # A batch comes from one side.
        is_out = batch[0][12:16] == OUR_ADDRESS
        packets = [each for each in batch if (each[12:16] == OUR_ADDRESS) == is_out]
        for each in packets:
            passes = reference.judge(each, NOW, inbound=not is_out) >= 0
            passing[is_out] += passes
            denied[is_out] += not passes
        if is_out:
            here.path.receive_packets(packets, NOW)
        else:
            here.receive(there, *packets)
        sent += sum(len(each.datagrams) for each in here.path.datagrams_to_send())
        assert here.path.drops[Drop.DENIED_OUTBOUND] == denied[True]
        assert here.path.drops[Drop.DENIED_INBOUND] == denied[False]
    assert sent == passing[True]


def segment(port: int, flags: int, out: bool) -> bytes:
    """Return a segment between our port and theirs."""
    ports = (40_000, port) if out else (port, 40_000)
    return tcp(*ends_of(out), ports, flags, bytes(8), acknowledged=1)


def ends_of(out: bool) -> tuple[str, str]:
    return (OURS, THEIRS) if out else (THEIRS, OURS)


def a_filter() -> Filter:
    """Return a filter that lets us reach port 22, datagrams and echoes there."""
    places = Places()
    places.put("ours", 1, [OURS], [])
    places.put("theirs", 2, [THEIRS], [])
    made = Filter(places, NOW - PICK_UP)
    made.set_own([OURS], forwards=False)
    ports = (Ports(6, 22, 22), Ports(17, 22, 22), Ports(1))
    made.set_policy([AllowRule((1,), (2,), ports)], NOW - PICK_UP)
    return made
