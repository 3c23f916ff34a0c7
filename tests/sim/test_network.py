"""Datagrams and streams cross the simulated internet as they would the real one."""

from meshwg.transmit import Endpoint, Source, Transmit
from tests.sim import (
    KINDS,
    Firewall,
    Nat,
    Network,
    Router,
    Socket,
    Stream,
    WanInput,
)

SERVER = Endpoint("198.51.100.1", 3478)
SERVER6 = Endpoint("2001:db8::1", 3478)


def test_a_datagram_crosses_a_nat_and_its_answer_comes_back() -> None:
    network, server, _, laptop = home()

    laptop.send(b"hello", SERVER)
    network.run()

    ((data, source),) = server.received
    assert (data, source.unpinned()) == (b"hello", Endpoint("203.0.113.1", 5000))
    assert source.source is not None
    assert source.source.host == SERVER.host
    server.send(b"welcome", source)
    network.run()
    assert [data for data, _ in laptop.received] == [b"welcome"]
    assert not network.drops


def test_time_jumps_by_the_delays_of_the_path() -> None:
    network, server, _, laptop = home()
    start = network.now

    laptop.send(b"", SERVER)
    network.run(until=lambda: bool(server.received))

    assert round(network.now - start, 6) == 0.012


def test_what_arrives_while_a_host_stalls_waits_in_its_sockets() -> None:
    network, server, _, laptop = home()
    server.host.stall(1.0)

    laptop.send(b"early", SERVER)
    network.advance(0.9)
    assert not server.received
    network.advance(0.2)

    assert [data for data, _ in server.received] == [b"early"]


def test_an_outsider_cannot_reach_a_host_that_sent_nothing() -> None:
    network, server, _, laptop = home()

    server.send(b"", Endpoint("203.0.113.1", 5000))
    server.send(b"", Endpoint("192.168.1.2", 5000))
    network.run()

    assert not laptop.received
    assert network.drops == {"filtered": 1, "no route": 1}


def test_behind_two_nats_the_outer_address_is_seen() -> None:
    network, server = internet()
    carrier = network.add_router("carrier", "203.0.113.9", nat=Nat())
    router = network.add_router("home", "100.64.0.7", behind=carrier, nat=Nat())
    laptop = network.add_host("laptop", "192.168.1.2", behind=router).open(5000)

    laptop.send(b"", SERVER)
    network.run()

    assert server.received[0][1].host == "203.0.113.9"


def test_ipv6_is_routed_and_filtered_beside_a_nat() -> None:
    network, server, router, _ = home()
    phone = network.add_host("phone", "2001:db8:1::2", behind=router).open(5000)

    server.send(b"unasked", Endpoint("2001:db8:1::2", 5000))
    network.run()
    phone.send(b"hello", SERVER6)
    network.run()
    server.send(b"asked for", server.received[0][1])
    network.run()

    assert server.received[0][1].unpinned() == Endpoint("2001:db8:1::2", 5000)
    assert [data for data, _ in phone.received] == [b"asked for"]
    assert network.drops == {"filtered": 1}


def test_a_firewall_without_nat_keeps_addresses() -> None:
    network, server = internet()
    router = network.add_router("office", firewall=Firewall())
    desk = network.add_host("desk", "203.0.113.50", behind=router).open(5000)

    desk.send(b"", SERVER)
    network.run()

    assert server.received[0][1].unpinned() == Endpoint("203.0.113.50", 5000)


def test_neighbours_talk_without_their_router() -> None:
    network, _, router, laptop = home()
    printer = network.add_host("printer", "192.168.1.3", behind=router).open(9)

    laptop.send(b"", Endpoint("192.168.1.3", 9))
    network.run()

    assert printer.received[0][1].unpinned() == Endpoint("192.168.1.2", 5000)


def test_a_public_endpoint_is_reached_from_inside_only_by_hairpinning() -> None:
    for hairpin in (False, True):
        network, _, router, laptop = home(Nat(hairpin=hairpin))
        phone = network.add_host("phone", "192.168.1.3", behind=router).open(6000)
        phone.send(b"", Endpoint("203.0.113.1", 5000))
        laptop.send(b"hello", Endpoint("203.0.113.1", 6000))
        network.run()
        heard = [source.unpinned() for _, source in phone.received]
        assert heard == ([Endpoint("203.0.113.1", 5000)] if hairpin else [])


def test_a_low_ttl_opens_our_own_nat_and_expires_before_the_peer() -> None:
    network, server, router, laptop = home()
    assert router.translation is not None

    laptop.send(b"", SERVER, ttl=1)
    network.run()
    assert router.translation.mappings(network.now) == 0
    laptop.send(b"", SERVER, ttl=2)
    network.run()

    assert router.translation.mappings(network.now) == 1
    assert network.drops == {"ttl": 2}
    assert not server.received


def test_a_ttl_that_ends_at_the_peers_router_still_touches_it() -> None:
    network, server, _, laptop = home(Nat(wan_input=WanInput.SLOPPY))
    laptop.send(b"", Endpoint("198.51.100.9", 1))
    server.send(b"", Endpoint("203.0.113.1", 5000), ttl=2)
    network.run()
    laptop.send(b"", SERVER)
    network.run()

    assert server.received[0][1].port != 5000


def test_a_flat_internet_costs_no_hops() -> None:
    network = Network(core_hops=0)
    server = network.add_host("server", "198.51.100.1").open(3478)
    router = network.add_router("home", "203.0.113.1", nat=Nat())
    laptop = network.add_host("laptop", "192.168.1.2", behind=router).open(5000)

    laptop.send(b"", SERVER, ttl=2)
    network.run()

    assert len(server.received) == 1


def test_loss_is_seeded_and_can_be_chosen() -> None:
    counts = []
    for _ in range(2):
        network = Network(seed=7)
        server = network.add_host("server", "198.51.100.1").open(3478)
        sender = network.add_host("sender", "198.51.100.2", loss=0.25).open()
        for _ in range(1000):
            sender.send(b"", SERVER)
        network.run()
        counts.append(len(server.received))
    assert counts[0] == counts[1]
    assert 700 < counts[0] < 800

    network, server, _, laptop = home()
    network.lose = lambda packet: packet.payload == b"bad luck"
    laptop.send(b"bad luck", SERVER)
    network.run()
    assert not server.received
    assert network.drops == {"lost": 1}


def test_jitter_makes_datagrams_overtake_each_other() -> None:
    network = Network(seed=1)
    server = network.add_host("server", "198.51.100.1").open(3478)
    sender = network.add_host("sender", "198.51.100.2", jitter=0.1).open()

    for number in range(20):
        sender.send(bytes([number]), SERVER)
    network.run()

    order = [data[0] for data, _ in server.received]
    assert sorted(order) == list(range(20)) != order


def test_blocked_udp_lets_only_streams_out() -> None:
    network = Network()
    server = network.add_host("server", "198.51.100.1")
    udp = server.open(3478)
    accepted: list[Stream] = []
    for port in (443, 3478):
        server.listen(port, accepted.append)
    hotel = network.add_router(
        "hotel",
        "203.0.113.1",
        nat=Nat(),
        block_udp=True,
        tcp_ports=frozenset({443}),
    )
    guest = network.add_host("guest", "192.168.1.2", behind=hotel)

    guest.open().send(b"", SERVER)
    allowed = guest.connect(Endpoint("198.51.100.1", 443, link=1))
    refused = guest.connect(Endpoint("198.51.100.1", 3478, link=2))
    closed: list[float] = []
    refused.on_close = closed.append
    network.run()

    assert not udp.received
    assert allowed.is_open
    assert not refused.is_open
    assert len(closed) == 1
    assert accepted[0].remote[0] == "203.0.113.1"


def test_a_stream_keeps_bytes_whole_and_in_order() -> None:
    network = Network(seed=3)
    accepted: list[Stream] = []
    host = network.add_host("server", "198.51.100.1", jitter=0.1, loss=0.3)
    host.listen(443, accepted.append)
    laptop = network.add_host("laptop", "198.51.100.7")
    stream = laptop.connect(Endpoint("198.51.100.1", 443, link=1))
    network.run()

    for number in range(50):
        stream.write(bytes([number]))
    network.run()
    accepted[0].write(b"bye")
    accepted[0].close()
    network.run()

    assert accepted[0].received == bytes(range(50))
    assert stream.received == b"bye"
    assert not stream.is_open


def test_a_machine_reads_and_writes_a_stream_by_its_link() -> None:
    network = Network()
    server = network.add_host("server", "198.51.100.1")
    accepted: list[Stream] = []
    server.listen(443, accepted.append)
    laptop = network.add_host("laptop", "198.51.100.7")
    machine = Echo()
    laptop.run(machine)
    laptop.connect(Endpoint("198.51.100.1", 443, link=5))
    network.run()

    accepted[0].write(b"ping")
    network.run()

    assert accepted[0].received == b"PING"
    assert machine.sources == [Endpoint("198.51.100.1", 443, link=5)]


def test_a_reboot_of_the_router_breaks_streams_and_mappings() -> None:
    network, server, router, laptop = home()
    server.host.listen(443, lambda stream: None)
    stream = laptop.host.connect(Endpoint("198.51.100.1", 443, link=1))
    laptop.send(b"", SERVER)
    network.run()
    source = server.received[0][1]

    router.reboot()
    stream.write(b"lost")
    server.send(b"", source)
    network.run()

    assert not stream.is_open
    assert not laptop.received


def test_a_redial_gives_the_router_another_address() -> None:
    network, server, router, laptop = home()

    router.change_addresses("203.0.113.77")
    laptop.send(b"", SERVER)
    network.run()

    assert server.received[0][1].host == "203.0.113.77"


def test_a_host_that_moves_keeps_its_sockets() -> None:
    network, server, _, laptop = home()
    cafe = network.add_router("cafe", "203.0.113.200", nat=Nat())

    laptop.host.move("10.0.0.5", behind=cafe)
    laptop.send(b"", SERVER)
    network.run()
    laptop.host.move()
    laptop.send(b"", SERVER)
    network.run()

    assert [source.host for _, source in server.received] == ["203.0.113.200"]
    assert network.drops == {"no address": 1}


def test_a_host_with_two_ways_out_uses_the_first_or_the_pinned_one() -> None:
    network, server, _, laptop = home()
    lte = network.add_router("lte", "203.0.113.200", nat=Nat())
    laptop.host.add_interface("10.0.0.5", behind=lte)

    laptop.send(b"", SERVER)
    network.run()
    laptop.send(b"", pinned(SERVER, "10.0.0.5"))
    network.run()

    seen = [source.host for _, source in server.received]
    assert seen == ["203.0.113.1", "203.0.113.200"]


def test_sockets_bound_to_one_address_hear_and_answer_from_it() -> None:
    network = Network()
    host = network.add_host("server", "198.51.100.1", "198.51.100.2")
    first = host.open(3478, link=1, address="198.51.100.1")
    second = host.open(3478, link=2, address="198.51.100.2")
    client = network.add_host("client", "203.0.113.5").open()

    client.send(b"", Endpoint("198.51.100.2", 3478))
    network.run()
    second.send(b"", second.received[0][1])
    network.run()

    assert not first.received
    assert client.received[0][1].unpinned() == Endpoint("198.51.100.2", 3478)


def test_sending_on_an_unknown_link_opens_a_socket_and_closing_shuts_it() -> None:
    network, server = internet()
    laptop = network.add_host("laptop", "203.0.113.5")
    machine = Echo()
    machine.outbox = [Transmit(SERVER._replace(link=77), [b"a", b"b"])]

    laptop.run(machine)
    network.run()
    assert len(server.received) == 2
    laptop.close(77)
    server.send(b"late", server.received[0][1])
    network.run()

    assert network.drops == {"no socket": 1}
    laptop.stop()
    assert not laptop.sockets


def test_a_machine_is_woken_when_its_timer_says() -> None:
    network = Network()
    machine = Echo()
    machine.timer = network.now + 5
    network.add_host("host", "203.0.113.5").run(machine)

    network.advance(4.9)
    assert machine.woken == []
    network.advance(1)
    assert machine.woken == [network.now - 0.9]


def test_every_kind_of_site_can_be_built_side_by_side() -> None:
    network, server = internet()

    sockets = [
        kind.add_to(network, kind.name, number).open(5000)
        for number, kind in enumerate(KINDS, start=1)
    ]
    for socket in sockets:
        socket.send(b"", SERVER)
    network.run()

    assert len(server.received) == len(KINDS) - 1
    assert network.drops == {"udp blocked": 1}


class Echo:
    """A machine that answers in capitals and remembers what happened to it."""

    def __init__(self) -> None:
        self.outbox: list[Transmit] = []
        self.sources: list[Endpoint] = []
        self.timer: float | None = None
        self.woken: list[float] = []

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        self.sources.append(source)
        self.outbox.append(Transmit(source, [data.upper()]))

    def datagrams_to_send(self) -> list[Transmit]:
        outbox, self.outbox = self.outbox, []
        return outbox

    def get_timer(self) -> float | None:
        return self.timer

    def handle_timer(self, now: float) -> None:
        self.timer = None
        self.woken.append(now)


def internet() -> tuple[Network, Socket]:
    """Return a network with a server of both families."""
    network = Network()
    server = network.add_host("server", SERVER.host, SERVER6.host)
    return network, server.open(3478)


def home(nat: Nat | None = None) -> tuple[Network, Socket, Router, Socket]:
    """Return a network, a server, a home's router and a laptop behind it."""
    network, server = internet()
    router = network.add_router("home", "203.0.113.1", nat=nat or Nat())
    laptop = network.add_host("laptop", "192.168.1.2", behind=router)
    return network, server, router, laptop.open(5000)


def pinned(destination: Endpoint, host: str) -> Endpoint:
    """Return the endpoint with a source address of the sender's choice."""
    return destination._replace(source=Source(host, 0))
