"""Which flows are told, and how seldom."""

from ipaddress import ip_address

from meshwg.policy.ports import ICMPV6, TCP, UDP
from meshwg.policy.sightings import AGAIN, INTERVAL, MAX_REMEMBERED, Sightings
from meshwg.wire.control import MAX_FLOWS, SeenFlow

ALICE, DB = ip_address("100.64.0.1").packed, ip_address("100.64.0.2").packed


def ports(sightings: Sightings, now: float) -> list[str]:
    return [each.port for each in sightings.take(now)]


def test_a_flow_is_told_as_policies_would_write_it() -> None:
    sightings = Sightings()
    sightings.note(ALICE, DB, TCP, 22, 0.0)
    six = ip_address("fd00::1").packed
    sightings.note(six, six, ICMPV6, 0, 0.0)

    assert sightings.take(0.0) == (
        SeenFlow(source="100.64.0.1", destination="100.64.0.2", port="tcp/22"),
        SeenFlow(source="fd00::1", destination="fd00::1", port="icmp"),
    )


def test_it_is_told_once_and_again_after_hours() -> None:
    sightings = Sightings()
    sightings.note(ALICE, DB, UDP, 53, 0.0)
    assert ports(sightings, 0.0) == ["udp/53"]

    for now in (1.0, INTERVAL, AGAIN - 1.0):
        sightings.note(ALICE, DB, UDP, 53, now)
        assert ports(sightings, now) == []

    sightings.note(ALICE, DB, UDP, 53, AGAIN)
    assert ports(sightings, AGAIN) == ["udp/53"]


def test_messages_are_rare_and_short() -> None:
    sightings = Sightings()
    for port in range(1, 3 * MAX_FLOWS):
        sightings.note(ALICE, DB, TCP, port, 0.0)

    assert len(ports(sightings, 0.0)) == MAX_FLOWS
    assert ports(sightings, INTERVAL - 1.0) == []
    assert len(ports(sightings, INTERVAL)) == MAX_FLOWS
    assert len(ports(sightings, 2 * INTERVAL)) == MAX_FLOWS - 1


def test_who_begins_flows_without_end_costs_only_so_much() -> None:
    sightings = Sightings()
    told = 0
    for turn in range(100):
        now = turn * INTERVAL
        for port in range(1000):
            sightings.note(ALICE, DB, TCP, turn * 1000 % 60_000 + port, now)
        told += len(ports(sightings, now))

    assert told <= MAX_REMEMBERED
    # What is too old makes room.
    sightings.take(AGAIN * 2)
    sightings.note(DB, ALICE, TCP, 22, AGAIN * 2)


def test_nothing_is_kept_where_nothing_is_to_be_told() -> None:
    sightings = Sightings()
    sightings.is_wanted = False
    sightings.note(ALICE, DB, TCP, 22, 0.0)

    assert ports(sightings, 0.0) == []
