"""How a network behind a node is written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.routeoptions import (
    RouteOptions,
    canonical_route,
    distinct_routes,
    parse_route,
)

LAN, SEEN = "192.168.1.0/24", "10.201.1.0/24"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (LAN, RouteOptions(LAN)),
        (f" {LAN} ", RouteOptions(LAN)),
        ("2001:DB8::0/32", RouteOptions("2001:db8::/32")),
        (f"{LAN}={SEEN}", RouteOptions(LAN, mapped=SEEN)),
        (f"{LAN},probe=192.168.1.1", RouteOptions(LAN, probe="192.168.1.1")),
        (f"{LAN}, priority=0, snat=no", RouteOptions(LAN, priority=0, snat=False)),
        (f"{LAN},priority=100,snat=yes", RouteOptions(LAN)),
    ],
)
def test_a_network_may_be_mapped_and_have_options(
    text: str, wanted: RouteOptions
) -> None:
    assert parse_route(text) == wanted


def test_others_are_told_of_what_it_is_mapped_on() -> None:
    assert parse_route(LAN).announced == LAN
    assert parse_route(f"{LAN}={SEEN}").announced == SEEN


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("office", "office"),
        ("192.168.1.1/24", "host bits"),
        ("2001:db8::%1/64", "zone"),
        ("0.0.0.0/0", "--exit"),
        ("::/0", "--exit"),
        ("0.0.0.0/1", "takes too much"),
        ("fd00::/8", "takes too much"),
        ("127.0.0.0/16", "each machine itself"),
        (f"{LAN}={LAN}", "mapped on itself"),
        (f"{LAN}=10.201.0.0/16", "different lengths: write 10.201.0.0/24"),
        (f"{LAN}=fd00::/24", "different families"),
        (f"{LAN}=", "''"),
        (f"{LAN},probe=10.0.0.1", "no address in 192.168.1.0/24"),
        (f"{LAN},probe=gateway", "no address"),
        (f"{LAN},priority=1001", "from 0 to 1000"),
        (f"{LAN},priority=-1", "from 0 to 1000"),
        (f"{LAN},priority=²", "from 0 to 1000"),
        (f"{LAN},snat=maybe", "neither yes nor no"),
        (f"{LAN},snat=no,snat=no", "twice"),
        (f"{LAN},metric=5", "'metric=5' is no option"),
        (f"{LAN},", "'' is no option"),
    ],
)
def test_what_is_wrong_is_said(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        parse_route(text)


@given(st.text(alphabet="0123456789.:/=,abcdefghijklmnopqrstuvwxyz %", max_size=60))
def test_any_text_is_a_route_or_a_value_error(text: str) -> None:
    try:
        route = parse_route(text)
    except ValueError:
        return
    assert parse_route(str(route)) == route


@pytest.mark.parametrize(
    "text",
    [LAN, f"{LAN}={SEEN},probe=192.168.1.1,priority=5,snat=no", f"{LAN},priority=0"],
)
def test_the_shortest_text_means_the_same(text: str) -> None:
    assert canonical_route(text) == text


def test_each_network_is_announced_once() -> None:
    assert distinct_routes([LAN, SEEN, LAN]) == (LAN, SEEN)
    with pytest.raises(ValueError, match=f"{SEEN} is there twice"):
        distinct_routes([SEEN, f"{LAN}={SEEN}"])
