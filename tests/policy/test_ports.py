"""Ports are read as they are written, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.policy.ports import (
    ANY,
    EVERYTHING,
    ICMP,
    ICMPV6,
    MAX_PORT,
    TCP,
    UDP,
    Ports,
    parse_ports,
    ports_label,
)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("tcp/5432", Ports(TCP, 5432, 5432)),
        ("tcp/9100-9110", Ports(TCP, 9100, 9110)),
        ("udp/*", Ports(UDP)),
        ("icmp", Ports(ICMP)),
        ("any", EVERYTHING),
    ],
)
def test_each_form_is_read_and_written_alike(text: str, ports: Ports) -> None:
    assert parse_ports(text) == ports
    assert str(ports) == text


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("tcp/0", "ports are numbers from 1 to 65535"),
        ("tcp/70000", "ports are numbers from 1 to 65535"),
        ("tcp/22-70000", "ports are numbers from 1 to 65535"),
        ("tcp/90-80", "write the lower port first"),
        ("tcp", "write tcp/443"),
        ("sctp/5", "write tcp/443"),
        ("tcp/٢٢", "write tcp/443"),
        ("tcp/1e3", "write tcp/443"),
        ("", "write tcp/443"),
    ],
)
def test_what_is_no_port_is_refused_with_the_mend(text: str, mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        parse_ports(text)


def test_a_range_covers_its_ends_and_its_own_protocol_only() -> None:
    ports = Ports(TCP, 80, 90)

    assert ports.covers(TCP, 80)
    assert ports.covers(TCP, 90)
    assert not ports.covers(TCP, 91)
    assert not ports.covers(UDP, 80)


def test_icmp_is_that_of_both_versions_and_any_is_all() -> None:
    assert Ports(ICMP).covers(ICMP, 0)
    assert Ports(ICMP).covers(ICMPV6, 0)
    assert EVERYTHING.covers(47, 0)
    assert not Ports(ICMP).covers(47, 0)


@given(
    st.integers(0, MAX_PORT),
    st.integers(0, MAX_PORT),
    st.integers(0, MAX_PORT),
    st.integers(0, MAX_PORT),
)
def test_one_includes_another_if_it_covers_all_of_it(
    a: int, b: int, c: int, d: int
) -> None:
    one, other = Ports(TCP, min(a, b), max(a, b)), Ports(TCP, min(c, d), max(c, d))
    ends = all(one.covers(TCP, port) for port in (other.first, other.last))

    assert one.includes(other) == ends
    assert Ports(ANY).includes(one)
    assert not one.includes(Ports(ANY))


def test_labels_are_those_of_a_policy() -> None:
    assert ports_label(TCP, 22) == "tcp/22"
    assert ports_label(ICMPV6, 0) == "icmp"
    assert ports_label(47, 0) == "protocol 47"
