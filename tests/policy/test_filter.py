"""What passes is what a rule allows, what belongs to it, and nothing else."""

import tracemalloc
from ipaddress import ip_address, ip_network

import pytest

from meshwg.policy.filter import HOLD, PICK_UP, DenyReason, Filter
from meshwg.policy.flows import (
    FRAGMENT_TIMEOUT,
    MAX_TCP,
    TCP_ESTABLISHED,
    TCP_HANDSHAKE,
    UDP_BOTH_WAYS,
    UDP_ONE_WAY,
)
from meshwg.policy.headers import Kind
from meshwg.policy.places import Places
from meshwg.policy.ports import EVERYTHING, ICMP, TCP, UDP, Ports
from meshwg.policy.rules import AllowRule
from tests.policy.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    echo,
    error,
    ip,
    tcp,
    udp,
)

HERE, FRIEND, STRANGER = "100.64.0.1", "100.64.0.2", "100.64.0.3"
HERE6, FRIEND6 = "fd00::1", "fd00::2"
OWN, FRIENDS, STRANGERS = 1, 2, 3
NOW = 10_000.0
SSH = (40_000, 22)
DNS = (40_000, 53)


def made(*rules: AllowRule, picks_up: bool = False, forwards: bool = False) -> Filter:
    """Return the filter of a node that has a friend and a stranger for peers."""
    places = Places()
    places.put("here", OWN, [HERE, HERE6], [])
    places.put("friend", FRIENDS, [FRIEND, FRIEND6], ["10.0.5.0/24"])
    places.put("stranger", STRANGERS, [STRANGER], [])
    begun = NOW if picks_up else NOW - PICK_UP
    made = Filter(places, begun)
    made.set_own([HERE, HERE6], forwards=forwards)
    made.set_policy(rules, begun)
    return made


def let(*ports: Ports, inbound: bool = True) -> AllowRule:
    """Return a rule for the friend, or for this node towards it."""
    ends = ((FRIENDS,), (OWN,)) if inbound else ((OWN,), (FRIENDS,))
    return AllowRule(*ends, ports, line=5)


IN = let(Ports(TCP, 22, 22), Ports(UDP, 53, 53), Ports(ICMP))
OUT = let(EVERYTHING, inbound=False)


def received(filter_: Filter, packet: bytes, now: float = NOW) -> bool:
    return filter_.judge(packet, now, inbound=True) >= 0


def sent(filter_: Filter, packet: bytes, now: float = NOW) -> bool:
    return filter_.judge(packet, now, inbound=False) >= 0


def connect(filter_: Filter, now: float = NOW) -> None:
    """Let the friend connect to this node's port 22."""
    assert received(filter_, tcp(FRIEND, HERE, SSH), now)
    assert sent(filter_, tcp(HERE, FRIEND, SSH[::-1], SYN | ACK), now)
    assert received(filter_, tcp(FRIEND, HERE, SSH, ACK), now)


# Without a policy.


def test_without_rules_a_filter_is_not_needed_and_lets_all_pass() -> None:
    filter_ = Filter(Places(), NOW)

    assert not filter_.is_needed
    assert received(filter_, tcp(STRANGER, HERE, SSH))


def test_a_policy_that_allows_nothing_denies_all() -> None:
    filter_ = made()

    assert filter_.is_needed
    assert not received(filter_, tcp(FRIEND, HERE, SSH))
    assert not received(filter_, echo(FRIEND, HERE, 1))
    assert not sent(filter_, udp(HERE, FRIEND, DNS))
    assert filter_.denied[DenyReason.NO_RULE] == 3


# Rules.


def test_a_connection_passes_that_a_rule_allows_and_others_do_not() -> None:
    filter_ = made(IN)

    connect(filter_)
    assert not received(filter_, tcp(FRIEND, HERE, (40_000, 23)))
    assert not received(filter_, tcp(STRANGER, HERE, SSH))
    assert not received(filter_, tcp("9.9.9.9", HERE, SSH))


def test_a_rule_does_not_imply_the_reverse_direction() -> None:
    filter_ = made(IN)

    assert not sent(filter_, tcp(HERE, FRIEND, SSH))
    assert not sent(filter_, tcp(HERE, FRIEND, (22, 40_000)))


def test_addresses_behind_nodes_are_allowed_by_their_networks() -> None:
    printer = ip_address("10.0.5.10")
    rule = AllowRule((OWN,), (), (EVERYTHING,), (), (ip_network("10.0.5.0/28"),))
    filter_ = made(rule)

    assert sent(filter_, tcp(HERE, str(printer), (1, 631)))
    assert received(filter_, tcp(str(printer), HERE, (631, 1), SYN | ACK))
    assert not sent(filter_, tcp(HERE, "10.0.5.20", (1, 631)))


def test_ipv6_is_judged_alike() -> None:
    filter_ = made(IN)

    assert received(filter_, tcp(FRIEND6, HERE6, SSH))
    assert received(filter_, echo(FRIEND6, HERE6, 1))
    assert sent(filter_, echo(HERE6, FRIEND6, 1, reply=True))
    assert not received(filter_, tcp(FRIEND6, HERE6, (1, 23)))


def test_protocols_without_ports_want_a_rule_for_all() -> None:
    gre = ip(FRIEND, HERE, 47, bytes(8))

    assert not received(made(IN), gre)
    filter_ = made(let(EVERYTHING))
    assert received(filter_, gre)
    assert sent(filter_, ip(HERE, FRIEND, 47, bytes(8)))


# Strays.


@pytest.mark.parametrize("flags", [ACK, FIN, FIN | ACK, RST, SYN | ACK, 0, FIN | SYN])
def test_what_begins_no_connection_and_is_of_none_does_not_pass(flags: int) -> None:
    filter_ = made(let(EVERYTHING))

    assert not received(filter_, tcp(FRIEND, HERE, SSH, flags))
    assert filter_.take_answers() == ([], [])


def test_until_it_is_answered_only_an_answer_belongs_to_a_connection() -> None:
    filter_ = made(OUT)
    sent(filter_, tcp(HERE, FRIEND, SSH))

    assert not received(filter_, tcp(FRIEND, HERE, SSH[::-1], ACK))
    assert not received(filter_, tcp(FRIEND, HERE, SSH[::-1]))
    assert received(filter_, tcp(FRIEND, HERE, SSH[::-1], SYN | ACK))
    assert received(filter_, tcp(FRIEND, HERE, SSH[::-1], ACK))


def test_a_reset_answers_as_well() -> None:
    filter_ = made(OUT)
    sent(filter_, tcp(HERE, FRIEND, SSH))

    assert received(filter_, tcp(FRIEND, HERE, SSH[::-1], RST | ACK))


def test_a_reply_wants_a_request_of_its_own_identifier() -> None:
    filter_ = made(OUT)
    sent(filter_, echo(HERE, FRIEND, 7))

    assert received(filter_, echo(FRIEND, HERE, 7, reply=True))
    assert not received(filter_, echo(FRIEND, HERE, 8, reply=True))
    assert not received(filter_, echo(STRANGER, HERE, 7, reply=True))


def test_a_flow_out_lets_nothing_else_in() -> None:
    filter_ = made(OUT)
    sent(filter_, udp(HERE, FRIEND, DNS))

    assert received(filter_, udp(FRIEND, HERE, DNS[::-1]))
    assert not received(filter_, udp(FRIEND, HERE, (53, 40_001)))
    assert not received(filter_, udp(STRANGER, HERE, DNS[::-1]))


# Errors.


def test_an_error_passes_if_it_is_about_a_flow() -> None:
    filter_ = made(OUT)
    packet = udp(HERE, FRIEND, DNS)
    sent(filter_, packet)

    assert received(filter_, error(FRIEND, HERE, packet))
    assert received(filter_, error(FRIEND, HERE, packet[:28]))
    assert received(filter_, error("10.0.5.1", HERE, packet))


def test_errors_with_false_headers_do_not() -> None:
    filter_ = made(OUT, IN)
    packet = udp(HERE, FRIEND, DNS)
    sent(filter_, packet)

    assert not received(filter_, error(FRIEND, HERE, udp(HERE, FRIEND, (1, 53))))
    assert not received(filter_, error(FRIEND, HERE, udp(FRIEND, HERE, DNS[::-1])))
    assert not received(filter_, error(FRIEND, STRANGER, packet))
    assert not received(filter_, error(FRIEND, HERE, tcp(HERE, FRIEND, DNS)))


def test_an_error_comes_from_where_its_packet_went_or_from_a_hub() -> None:
    filter_ = made(OUT)
    packet, beyond = udp(HERE, FRIEND, DNS), udp(HERE, "10.0.5.9", DNS)
    rule = AllowRule((OWN,), (), (EVERYTHING,), (), (ip_network("10.0.5.0/24"),))
    filter_.set_policy([OUT, rule], NOW - PICK_UP)
    for each in (packet, beyond):
        assert sent(filter_, each)

    assert not received(filter_, error(STRANGER, HERE, packet))
    assert not received(filter_, error("10.0.6.1", HERE, beyond))
    assert received(filter_, error(FRIEND, HERE, beyond))
    filter_._places.put("stranger", STRANGERS, [STRANGER], [], is_hub=True)
    assert received(filter_, error(STRANGER, HERE, packet))


def test_other_icmp_messages_want_a_rule() -> None:
    timestamp = ip(FRIEND, HERE, 1, bytes((13,)) + bytes(19))

    assert received(made(IN), timestamp)
    assert not received(made(OUT), timestamp)


# Fragments.


def fragments() -> tuple[bytes, bytes]:
    payload = udp(FRIEND, HERE, DNS, bytes(100))[20:]
    first = ip(FRIEND, HERE, UDP, payload[:48], number=7, where=0x2000)
    return first, ip(FRIEND, HERE, UDP, payload[48:], number=7, where=6)


def test_fragments_pass_with_their_first_and_not_without() -> None:
    filter_ = made(IN)
    first, rest = fragments()

    assert not received(filter_, rest)
    assert received(filter_, first)
    assert received(filter_, rest)
    assert not received(filter_, rest, NOW + FRAGMENT_TIMEOUT)


def test_no_fragment_takes_the_place_of_what_was_judged() -> None:
    filter_ = made(IN)
    first, _ = fragments()
    assert received(filter_, first)

    assert not received(filter_, ip(FRIEND, HERE, UDP, bytes(48), number=7, where=1))
    assert not received(filter_, ip(FRIEND, HERE, UDP, bytes(8), number=7, where=5))
    another = udp(FRIEND, HERE, (40_000, 54), bytes(100))[20:68]
    assert not received(filter_, ip(FRIEND, HERE, UDP, another, number=7, where=0x2000))


def test_fragments_of_what_is_denied_do_not_pass() -> None:
    filter_ = made(OUT)
    first, rest = fragments()

    assert not received(filter_, first)
    assert not received(filter_, rest)


# Time.


def test_datagrams_that_nobody_answers_are_forgotten_sooner() -> None:
    filter_ = made(OUT)
    idle = HOLD[Kind.UDP] + UDP_ONE_WAY
    sent(filter_, udp(HERE, FRIEND, DNS))
    assert received(filter_, udp(FRIEND, HERE, DNS[::-1]), NOW + idle - 1)

    later = NOW + idle - 1 + HOLD[Kind.UDP] + UDP_BOTH_WAYS
    assert received(filter_, udp(FRIEND, HERE, DNS[::-1]), later - 1)

    sent(filter_, udp(HERE, FRIEND, (1, 53)), later)
    assert not received(filter_, udp(FRIEND, HERE, (53, 1)), later + idle)


def test_connections_may_be_silent_for_two_hours_and_handshakes_for_a_minute() -> None:
    filter_ = made(IN)
    connect(filter_)
    assert received(filter_, tcp(FRIEND, HERE, SSH, ACK), NOW + TCP_ESTABLISHED)

    filter_ = made(IN)
    received(filter_, tcp(FRIEND, HERE, SSH))
    late = NOW + TCP_HANDSHAKE
    assert not sent(filter_, tcp(HERE, FRIEND, SSH[::-1], SYN | ACK), late)


def test_what_has_ended_is_over_and_may_begin_anew() -> None:
    filter_ = made(IN)
    connect(filter_)
    received(filter_, tcp(FRIEND, HERE, SSH, FIN | ACK))
    sent(filter_, tcp(HERE, FRIEND, SSH[::-1], FIN | ACK))
    assert received(filter_, tcp(FRIEND, HERE, SSH, ACK))
    assert not received(filter_, tcp(FRIEND, HERE, SSH, ACK), NOW + 61)

    connect(filter_, NOW + 62)


def test_packets_of_a_flow_need_not_be_judged_for_a_while() -> None:
    filter_ = made(IN)
    connect(filter_)

    until = filter_.judge(tcp(FRIEND, HERE, SSH, ACK), NOW, inbound=True)

    assert until == NOW + HOLD[Kind.TCP]
    assert filter_.judge(tcp(FRIEND, HERE, SSH, FIN | ACK), NOW, inbound=True) == NOW


# Changes.


def test_a_connection_that_is_revoked_is_ended_at_both_ends() -> None:
    filter_ = made(IN)
    connect(filter_)

    filter_.set_policy([let(Ports(TCP, 80, 80))], NOW)
    packet = tcp(FRIEND, HERE, SSH, PSH | ACK, b"ls", sequence=77, acknowledged=99)
    assert not received(filter_, packet)

    (near,), (far,) = filter_.take_answers()
    assert near[12:20] == packet[12:20]
    assert (near[24:28], near[33] & RST) == ((77).to_bytes(4), RST)
    assert far[12:20] == packet[16:20] + packet[12:16]
    assert (far[24:28], far[33] & RST) == ((99).to_bytes(4), RST)
    assert filter_.denied[DenyReason.REVOKED] == 1
    assert filter_.take_answers() == ([], [])


def test_it_is_ended_by_its_own_users_packet_as_well() -> None:
    filter_ = made(IN)
    connect(filter_)

    filter_.set_policy([], NOW)
    packet = tcp(HERE, FRIEND, SSH[::-1], ACK, b"x", sequence=5, acknowledged=6)
    assert not sent(filter_, packet)

    (near,), (far,) = filter_.take_answers()
    assert near[12:16] == packet[16:20]
    assert far[12:16] == packet[12:16]


def test_the_reset_of_the_other_end_passes_once() -> None:
    filter_ = made(IN)
    connect(filter_)
    filter_.set_policy([], NOW)

    assert received(filter_, tcp(FRIEND, HERE, SSH, RST | ACK))
    assert not received(filter_, tcp(FRIEND, HERE, SSH, RST | ACK))
    assert filter_.take_answers() == ([], [])


def test_what_is_still_allowed_goes_on() -> None:
    filter_ = made(IN)
    connect(filter_)
    received(filter_, udp(FRIEND, HERE, DNS))

    filter_.set_policy([IN], NOW)

    assert received(filter_, tcp(FRIEND, HERE, SSH, ACK))
    assert sent(filter_, udp(HERE, FRIEND, DNS[::-1]))
    assert filter_.take_answers() == ([], [])


def test_who_gets_another_class_is_judged_anew() -> None:
    filter_ = made(IN)
    connect(filter_)
    places = filter_._places

    if places.put("friend", STRANGERS, [FRIEND, FRIEND6], []):
        filter_.places_changed()

    assert not received(filter_, tcp(FRIEND, HERE, SSH, ACK))


def test_without_a_policy_again_all_pass() -> None:
    filter_ = made()
    filter_.set_policy(None, NOW)

    assert received(filter_, tcp(STRANGER, HERE, SSH))


# What began before.


def test_connections_that_began_before_are_taken_up_in_the_first_minute() -> None:
    filter_ = made(IN, picks_up=True)

    assert sent(filter_, tcp(HERE, FRIEND, SSH[::-1], PSH | ACK, b"x"))
    assert received(filter_, tcp(FRIEND, HERE, SSH, ACK))
    assert not received(filter_, tcp(FRIEND, HERE, (5, 22), ACK), NOW + PICK_UP)


def test_those_that_no_rule_allows_are_ended() -> None:
    filter_ = made(IN, picks_up=True)

    assert not received(filter_, tcp(FRIEND, HERE, (40_000, 23), ACK))

    assert [len(each) for each in filter_.take_answers()] == [1, 1]


# Answers.


def test_the_own_user_is_told_at_once_what_is_denied() -> None:
    filter_ = made(IN)
    packets = [
        tcp(HERE, FRIEND, SSH),
        udp(HERE, FRIEND, DNS),
        echo(HERE, FRIEND, 1),
        udp(HERE6, FRIEND6, DNS),
    ]

    for packet in packets:
        assert not sent(filter_, packet)

    near, far = filter_.take_answers()
    assert [each[20:22] for each in near[:3]] == [bytes((3, 13))] * 3
    assert near[3][40:42] == bytes((1, 1))
    assert far == []


def test_others_are_told_nothing() -> None:
    filter_ = made(IN)

    received(filter_, tcp(STRANGER, HERE, SSH))
    received(filter_, udp(STRANGER, HERE, DNS))

    assert filter_.take_answers() == ([], [])


def test_a_connection_of_the_own_user_that_is_not_known_any_more_is_reset() -> None:
    filter_ = made(OUT)

    assert not sent(filter_, tcp(HERE, FRIEND, SSH, ACK))

    (near,), far = filter_.take_answers()
    assert near[33] & RST
    assert far == []


def test_nothing_is_said_of_what_is_for_many_or_of_a_reset() -> None:
    filter_ = made()

    sent(filter_, udp(HERE, "224.0.0.251", (5353, 5353)))
    sent(filter_, tcp(HERE, FRIEND, SSH, RST))
    sent(filter_, ip(HERE, FRIEND, UDP, bytes(40), number=1, where=6))

    assert filter_.take_answers() == ([], [])


# Hubs and guards.


def test_a_hub_leaves_to_others_what_is_theirs() -> None:
    filter_ = made(forwards=True)

    assert received(filter_, tcp(FRIEND, STRANGER, SSH))
    assert sent(filter_, tcp(FRIEND, STRANGER, SSH, ACK))
    assert not received(filter_, tcp(FRIEND, HERE, SSH))


def test_a_guard_takes_away_and_gives_nothing() -> None:
    networks = (ip_network(FRIEND),), (ip_network(HERE),)
    guard = AllowRule((), (), (Ports(TCP, 22, 22), Ports(UDP, 5, 5)), *networks)
    filter_ = made(IN)
    filter_.set_guard([guard], NOW)

    assert received(filter_, tcp(FRIEND, HERE, SSH))
    assert not received(filter_, udp(FRIEND, HERE, DNS))
    assert not received(filter_, udp(FRIEND, HERE, (1, 5)))
    assert filter_.denied[DenyReason.GUARD] == 1


def test_a_guard_works_without_a_policy() -> None:
    filter_ = Filter(Places(), NOW)
    filter_.set_guard([], NOW)

    assert filter_.is_needed
    assert not received(filter_, tcp(FRIEND, HERE, SSH))


def test_the_rule_for_something_is_told() -> None:
    filter_ = made(IN)
    here, friend = ip_address(HERE).packed, ip_address(FRIEND).packed

    assert filter_.rule_for(friend, here, TCP, 22) == (IN, None)
    assert filter_.rule_for(friend, here, TCP, 23) == (None, DenyReason.NO_RULE)


# Bounds.


def test_many_connections_take_little_memory() -> None:
    filter_ = made(let(EVERYTHING))
    packet = tcp(FRIEND, HERE, (0, 0))
    tracemalloc.start()
    try:
        for number in range(MAX_TCP + 1000):
            ports = (number & 0xFFFF).to_bytes(2) + (number >> 16).to_bytes(2)
            filter_.judge(packet[:20] + ports + packet[24:], NOW, inbound=True)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert filter_.flows == MAX_TCP
    assert size < 40_000_000
