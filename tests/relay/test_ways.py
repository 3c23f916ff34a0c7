"""Which way to a relay is tried next."""

import random

from meshwg.relay.prober import Prober
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.relay.ways import LAST_REST, MAX_REDIRECTS, Ways, endpoint_of
from meshwg.transmit import Endpoint
from meshwg.wire.stun import binding_response

UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


def test_the_nearest_measured_udp_server_comes_first() -> None:
    ways = make_ways(way("far", UDP), way("near", UDP), way("near", TCP))
    prober = measured(ways, far=0.2, near=0.1)

    assert chosen(ways, prober, 0.0) == ("near", UDP)


def test_streams_wait_for_udp_but_not_long() -> None:
    ways = make_ways(way("one", UDP), way("one", TCP), way("one", TLS))
    prober = measured(ways)

    assert chosen(ways, prober, 0.29) is None
    assert chosen(ways, prober, 0.3) == ("one", TCP)


def test_streams_do_not_wait_where_there_is_no_udp() -> None:
    ways = make_ways(way("one", TLS))

    assert chosen(ways, measured(ways), 0.0) == ("one", TLS)


def test_the_spare_way_leads_to_the_nearest_other_server_that_answers() -> None:
    home = way("home", UDP)
    ways = make_ways(home, way("far", UDP), way("nearer", UDP), way("quiet", UDP))
    prober = measured(ways, home=0.1, far=0.3, nearer=0.2)

    spare = ways.spare(prober, home, 0.0)
    assert spare is not None
    assert spare.url.host == "nearer"
    ways.rest(spare.way, 0.0)
    resting = ways.spare(prober, home, 1.0)
    assert resting is not None
    assert resting.url.host == "far"


def test_another_way_to_the_same_server_is_no_spare() -> None:
    home = way("home", TCP)
    ways = make_ways(home, way("home", TLS), way("home", UDP))
    assert ways.spare(measured(ways), home, 0.0) is None


def test_where_home_is_a_stream_the_spare_way_is_one() -> None:
    home = way("home", TCP)
    ways = make_ways(home, way("other", UDP), way("other", TCP))
    spare = ways.spare(measured(ways, other=0.1), home, 0.0)
    assert spare is not None
    assert spare.transport is TCP


def test_silent_udp_servers_come_last() -> None:
    ways = make_ways(way("one", UDP))

    assert chosen(ways, measured(ways), 0.99) is None
    assert chosen(ways, measured(ways), 1.0) == ("one", UDP)


def test_what_is_in_progress_or_failed_recently_is_skipped() -> None:
    ways = make_ways(way("one", TCP), way("two", TCP), way("three", TCP))
    prober = measured(ways)
    ways.rest(way("one", TCP).way, 0.0)
    busy = [way("two", TCP).way]

    found = ways.next(prober, busy, 0.0, 1.0)
    assert found is not None
    assert found.url.host == "three"
    found = ways.next(prober, busy, 0.0, 4.0)
    assert found is not None
    assert found.url.host == "one"


def test_pauses_get_longer_up_to_a_minute() -> None:
    ways = make_ways(way("one", TCP))
    one = way("one", TCP).way
    rests = []
    for _ in range(20):
        ways.rest(one, 0.0)
        rests.append(next(s for s in range(1, 100) if not ways.is_resting(one, s)))

    assert rests[:5] == [4, 8, 16, 32, 60]
    assert max(rests) == LAST_REST
    ways.wake(one)
    assert not ways.is_resting(one, 0.0)


def test_two_names_for_one_address_are_one_path() -> None:
    one = way("one", UDP)
    alias = RelayServer(RelayUrl("alias", 3478, UDP), one.address, "user", "password")

    assert list(make_ways(one, alias, way("one", TCP))) == [one, way("one", TCP)]


def test_redirects_are_limited_and_share_the_fate_of_their_origin() -> None:
    origin = way("one", UDP)
    ways = make_ways(origin)
    for number in range(10):
        ways.redirect(origin, Endpoint(f"192.0.2.{number}", 3478))
    assert len(list(ways)) == 1 + MAX_REDIRECTS

    renewed = RelayServer(origin.url, origin.address, "new user", "new password")
    ways.set([renewed])
    assert {server.username for server in ways} == {"new user"}
    assert len(list(ways)) == 1 + MAX_REDIRECTS

    ways.set([way("two", UDP)])
    assert len(list(ways)) == 1


def test_a_redirect_of_a_redirect_belongs_to_the_first_origin() -> None:
    origin = way("one", UDP)
    ways = make_ways(origin)
    ways.redirect(origin, Endpoint("192.0.2.1", 3478))
    second = list(ways)[1]
    ways.redirect(second, Endpoint("192.0.2.2", 3478))
    ways.redirect(second, Endpoint(origin.address, origin.url.port))

    ways.set([origin])

    assert len(list(ways)) == 3


def make_ways(*servers: RelayServer) -> Ways:
    ways = Ways()
    ways.set(servers)
    return ways


def way(host: str, transport: Transport) -> RelayServer:
    """Return a way to a server whose address follows from its name."""
    address = f"198.51.100.{len(host)}"
    return RelayServer(RelayUrl(host, 3478, transport), address, "user", "password")


def measured(ways: Ways, **round_trips: float) -> Prober:
    """Return a prober that knows the round trips to some hosts."""
    prober = Prober(random.Random(1).randbytes)
    prober.watch(ways.udp_endpoints(), 0.0)
    answers = {
        endpoint_of(server): round_trips[server.url.host]
        for server in ways
        if server.url.host in round_trips and server.transport is UDP
    }
    for transmit in prober.datagrams_to_send():
        if transmit.destination in answers:
            transaction_id = transmit.datagrams[0][8:]
            response = binding_response(transaction_id, Endpoint("192.0.2.9", 1))
            delay = answers[transmit.destination]
            assert prober.receive(response, transmit.destination, delay)
    return prober


def chosen(ways: Ways, prober: Prober, now: float) -> tuple[str, Transport] | None:
    """Return host and transport of the next way of a search that began at 0."""
    server = ways.next(prober, [], 0.0, now)
    return None if server is None else (server.url.host, server.transport)
