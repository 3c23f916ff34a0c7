"""The lifetime of an idle mapping is found by waiting, and never overstated."""

import pytest

from meshwg.nat.lifetime import AGES, LifetimeSearch
from meshwg.transmit import Endpoint, Transmit
from tests.sim import Host, Nat, Network, Wire
from tests.sim.kinds import APDF, APDM, RANDOM
from tests.sim.nat import Pooling
from tests.sim.servers import add_stun_server

SERVER = Endpoint("198.51.100.1", 3478)


@pytest.mark.parametrize("lifetime", [15, 20, 29.9, 30, 60, 119, 120, 180])
def test_the_longest_age_below_the_lifetime_is_found(lifetime: float) -> None:
    network = internet()

    search, took = find(network, behind(network, Nat(lifetime=lifetime)))

    assert search.lifetime == max(age for age in AGES if age < lifetime)
    next_age = min(age for age in AGES if age > lifetime)
    assert took < next_age + 5


@pytest.mark.parametrize("nat", [Nat(), Nat(APDM, APDF, RANDOM)])
def test_it_works_for_cones_and_symmetric_nats(nat: Nat) -> None:
    network = internet()

    search, _ = find(network, behind(network, nat))

    assert search.lifetime == 118


def test_a_mapping_that_outlives_every_age_is_reported_to_last_that_long() -> None:
    network = internet()

    search, took = find(network, behind(network, Nat(lifetime=3600)))

    assert search.lifetime == AGES[-1]
    assert took < AGES[-1] + 5


def test_a_mapping_shorter_than_every_age_has_no_lifetime_but_a_reason() -> None:
    network = internet()

    search, _ = find(network, behind(network, Nat(lifetime=5)))

    assert search.lifetime is None
    assert search.error is not None
    assert "does not live" in search.error


def test_without_a_nat_or_firewall_nothing_expires() -> None:
    network = internet()

    search, _ = find(network, network.add_host("host", "203.0.113.5"))

    assert search.lifetime == AGES[-1]


@pytest.mark.parametrize("seed", range(20))
def test_loss_never_makes_it_claim_more(seed: int) -> None:
    network = internet(seed)
    host = behind(network, Nat(lifetime=60))
    host.interfaces[0].uplink = Wire(delay=0.05, loss=0.1)

    search, _ = find(network, host)

    assert search.lifetime is None or search.lifetime <= 58


def test_a_server_without_response_port_is_noticed_at_once() -> None:
    network = Network()
    server = network.add_host("server", SERVER.host).open(SERVER.port)
    server.on_datagram = lambda data, source, now: None

    search, took = find(network, behind(network, Nat()))

    assert search.error == "the server cannot be asked to answer to another port"
    assert took < 4


def test_a_nat_that_changes_addresses_between_sockets_makes_no_false_claim() -> None:
    network = internet()
    nat = Nat(lifetime=30, pooling=Pooling.ARBITRARY)
    addresses = [f"203.0.113.{number}" for number in range(1, 9)]
    router = network.add_router("home", *addresses, nat=nat)

    search, _ = find(network, network.add_host("host", "192.168.1.2", behind=router))

    assert search.lifetime is None or search.lifetime < 30


class Client:
    """A search as a machine that a host can run."""

    def __init__(self, search: LifetimeSearch) -> None:
        self.search = search

    def receive(self, data: bytes, source: Endpoint, now: float) -> None:
        assert self.search.receive_stun(data, source, now)

    def datagrams_to_send(self) -> list[Transmit]:
        return self.search.datagrams_to_send()

    def get_timer(self) -> float | None:
        return self.search.get_timer()

    def handle_timer(self, now: float) -> None:
        self.search.handle_timer(now)


def find(network: Network, host: Host) -> tuple[LifetimeSearch, float]:
    """Run a search; return it and the seconds it took."""
    start = network.now
    links = range(1, len(AGES) + 3)
    search = LifetimeSearch(SERVER, links, random=network.random.randbytes, now=start)
    host.run(Client(search))
    assert network.run(until=lambda: search.is_done, limit=400)
    took = network.now - start
    network.run()
    return search, took


def internet(seed: int = 1) -> Network:
    network = Network(seed)
    add_stun_server(network, "stun", SERVER.host)
    return network


def behind(network: Network, nat: Nat) -> Host:
    router = network.add_router("home", "203.0.113.1", nat=nat)
    return network.add_host("laptop", "192.168.1.2", behind=router)
