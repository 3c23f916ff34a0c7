"""A relay's channel leads to one peer, and is found both ways until it is removed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.transmit import Endpoint
from meshwg.wire.channeldata import wrap
from meshwg.wireguard.channels import ChannelTable
from meshwg.wireguard.datapath import Datapath
from tests import datapaths
from tests.wireguard.pair import ipv4
from tests.wireguard.test_python_datapath import (
    CHANNEL,
    NOW,
    OURS,
    RELAY,
    RELAYED,
    THEIRS,
    ends,
)

OTHER = RELAYED._replace(port=RELAYED.port + 1)
SERVERS = RELAY, RELAY._replace(port=RELAY.port + 1)

Make = Callable[[], Datapath]


@pytest.fixture(params=list(datapaths.MAKERS))
def make(request: pytest.FixtureRequest) -> Make:
    """Return what makes a data path, each kind in its turn."""
    return datapaths.MAKERS[request.param]


def test_a_number_is_that_of_the_peer_that_got_it_last(make: Make) -> None:
    here, there = ends(make())
    here.path.set_channel(OTHER, RELAY, CHANNEL)
    here.path.set_channel(RELAYED, RELAY, CHANNEL)

    wrapped = wrap(CHANNEL, [there.message(ipv4(THEIRS, OURS))])
    here.path.receive_datagrams(wrapped, RELAY, NOW)

    ((_, _, endpoint, _, _, _),) = here.path.take_notes()
    assert endpoint == RELAYED
    for peer, destination in ((RELAYED, RELAY), (OTHER, OTHER)):
        here.path.steer(here.lane, peer)
        here.path.receive_packets([ipv4(OURS, THEIRS)], NOW)
        (transmit,) = here.path.datagrams_to_send()
        assert transmit.destination == destination


def test_who_lost_a_number_takes_it_from_nobody(make: Make) -> None:
    here, there = ends(make())
    here.path.set_channel(OTHER, RELAY, CHANNEL)
    here.path.set_channel(RELAYED, RELAY, CHANNEL)

    here.path.set_channel(OTHER, RELAY, None)

    wrapped = wrap(CHANNEL, [there.message(ipv4(THEIRS, OURS))])
    here.path.receive_datagrams(wrapped, RELAY, NOW)
    assert here.path.packets_to_write() == [ipv4(THEIRS, OURS)]
    here.path.set_channel(RELAYED, RELAY, None)
    here.path.receive_datagrams(wrapped, RELAY, NOW)
    assert here.path.take_exceptions() == [(wrapped, RELAY)]


def test_what_was_never_there_is_removed_in_peace(make: Make) -> None:
    here, _ = ends(make())

    here.path.set_channel(RELAYED, RELAY, None)
    here.path.set_channel(RELAYED, RELAY, None)


PEERS = st.integers(1, 3).map(lambda port: Endpoint("192.0.2.7", port, 1 << 16))
CHANGES = st.tuples(PEERS, st.sampled_from(SERVERS), st.none() | st.integers(1, 2))


@given(st.lists(CHANGES, max_size=12))
def test_both_ways_always_agree(
    changes: list[tuple[Endpoint, Endpoint, int | None]],
) -> None:
    table = ChannelTable()
    for peer, server, number in changes:
        if number is None:
            table.remove(peer)
        else:
            table.put(peer, server, number)
            assert table.ways[peer] == (server, number)

        back = {
            peer: (host, number)
            for host, numbers in table.relays.items()
            for number, peer in numbers.items()
        }
        there = {peer: (way[0][:2], way[1]) for peer, way in table.ways.items()}
        assert there == back
        assert all(table.relays.values())
