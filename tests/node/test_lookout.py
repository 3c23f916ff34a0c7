"""Where a node accepts streams, and how it finds out what its NAT does."""

import random
from dataclasses import replace
from itertools import count

from meshwg.nattypes import Mapping
from meshwg.node.lookout import CANDIDATES, HOLD, SHARED, Lookout, StreamsClosed
from meshwg.path.candidate import CandidateKind
from meshwg.relay.server import RelayServer, parse_url
from meshwg.transmit import Endpoint
from meshwg.wire import stun
from meshwg.wire.stun import Attribute, Class, Message, Method

NOW = 1000.0
PUBLIC = Endpoint("203.0.113.1", 5000)
RELAY = RelayServer(parse_url("turn:r.test:443?transport=tcp"), "198.51.100.1", "", "")
STUN = Endpoint("198.51.100.2", 3478)


def test_a_node_that_accepts_none_says_nothing() -> None:
    lookout = Lookout(None, count(-1, -1), random=random.Random(1).randbytes)
    assert lookout.traits is None


def test_hosts_are_told_without_a_look_but_not_without_end() -> None:
    lookout = make()
    lookout.set_hosts([f"192.168.1.{n}" for n in range(1, 30)])

    traits = lookout.traits
    assert traits is not None
    assert len(traits.candidates) == CANDIDATES
    assert traits.mapping is Mapping.UNKNOWN


def test_two_servers_are_asked_from_one_hole() -> None:
    lookout = make()

    assert not lookout.look(NOW)

    dials = [each for each in lookout.events if not isinstance(each, StreamsClosed)]
    assert [each.endpoint[:2] for each in dials] == [
        ("198.51.100.1", 443),
        ("198.51.100.2", 443),
    ]
    assert {each.hole for each in dials} == {lookout.hole}
    assert not lookout.look(NOW), "one look at a time"


def test_what_was_found_is_told_as_long_as_the_hole_is_open() -> None:
    lookout = make()
    look(lookout)

    traits = lookout.traits
    assert traits is not None
    assert traits.mapping is Mapping.ENDPOINT_INDEPENDENT
    assert traits.candidates[0].kind is CandidateKind.REFLEXIVE
    assert lookout.get_timer() == NOW + HOLD
    assert lookout.handle_timer(NOW + HOLD)
    assert isinstance(lookout.events[-1], StreamsClosed)
    traits = lookout.traits
    assert traits is not None
    assert traits.candidates == ()
    assert traits.mapping is Mapping.ENDPOINT_INDEPENDENT, "that is still so"


def test_attempts_at_the_same_time_share_a_hole() -> None:
    lookout = make()
    look(lookout)
    hole = lookout.hole

    assert lookout.look(NOW + SHARED - 0.1)
    assert lookout.hole == hole
    assert not lookout.look(NOW + SHARED)
    assert lookout.hole != hole


def test_another_network_is_looked_at_anew() -> None:
    lookout = make()
    look(lookout)
    lookout.network_changed()

    traits = lookout.traits
    assert traits is not None
    assert traits.mapping is Mapping.UNKNOWN
    assert not lookout.look(NOW + 0.1)


def test_without_a_server_there_is_nothing_to_find() -> None:
    lookout = Lookout(41641, count(-1, -1), random=random.Random(1).randbytes)

    assert lookout.look(NOW)
    assert lookout.hole is None


def test_a_forwarded_port_is_told_first() -> None:
    lookout = make()
    lookout.set_hosts(["192.168.1.2"])
    lookout.set_mapped(PUBLIC)

    traits = lookout.traits
    assert traits is not None
    assert traits.candidates[0].kind is CandidateKind.PORT_MAPPED


def test_servers_that_cannot_be_reached_end_the_look() -> None:
    lookout = make()
    lookout.look(NOW)
    links = [each.endpoint.link for each in lookout.events if hasattr(each, "endpoint")]

    assert not lookout.closed(links[0], NOW)
    assert lookout.closed(links[1], NOW)


def test_a_relay_that_only_a_proxy_reaches_is_not_asked() -> None:
    lookout = make()
    hidden = replace(RELAY, address="r.test")

    lookout.set_servers([STUN], [hidden])

    assert lookout.look(NOW)
    assert not lookout.events


def make() -> Lookout:
    lookout = Lookout(41641, count(-1, -1), random=random.Random(1).randbytes)
    lookout.set_servers([STUN], [RELAY])
    return lookout


def look(lookout: Lookout) -> None:
    """Let both servers answer."""
    lookout.look(NOW)
    done = False
    for event in list(lookout.events):
        assert not isinstance(event, StreamsClosed)
        link = event.endpoint.link
        lookout.opened(link)
        (request,) = lookout.datagrams_to_send()
        asked = stun.parse(request.datagrams[0])
        message = Message(Method.BINDING, Class.SUCCESS, asked.transaction_id)
        message.attributes[Attribute.XOR_MAPPED_ADDRESS] = PUBLIC
        done = lookout.receive(link, stun.encode(message), NOW)
    assert done
    lookout.events.clear()
