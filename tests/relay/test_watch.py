"""A silent home is asked whether it lives, and left only for what is clearly better."""

import random

import pytest

from meshwg.relay.allocation import RelayState
from meshwg.relay.client import RelayClient
from meshwg.relay.prober import Prober
from meshwg.relay.server import RelayServer, RelayUrl, Transport
from meshwg.relay.watch import (
    ASK_AFTER,
    ASK_AGAIN_AFTER,
    ASK_IDLE_AFTER,
    GIVE_UP_AFTER,
    IN_USE,
    ROUND_GAP,
    STEADY_ROUNDS,
    Rivalry,
    Watch,
)
from meshwg.transmit import Endpoint
from meshwg.wire.stun import binding_response
from tests.relay.simulation import LINK, ClientHost
from tests.sim.network import Network
from tests.world.relay import RelayHost

HOME, OTHER = Endpoint("198.51.100.1", 3478), Endpoint("198.51.100.2", 3478)


def test_without_a_home_there_is_nothing_to_watch() -> None:
    watch = Watch()
    watch.note_use(None, 0.0)
    watch.plan(None, 0.0)
    assert watch.due is None

    watch.look(None, 5.0)
    assert watch.due is None


def test_a_silent_home_is_asked_after_a_while() -> None:
    network, home = allocated()
    watch = Watch()

    watch.plan(home, network.now)

    assert watch.due == home.heard_at + ASK_IDLE_AFTER


def test_a_home_in_use_is_asked_soon() -> None:
    network, home = allocated()
    watch = Watch()
    watch.plan(home, network.now)

    watch.note_use(home, network.now)

    assert watch.due == home.heard_at + ASK_AFTER


def test_use_is_forgotten_after_a_while() -> None:
    network, home = allocated()
    watch = Watch()
    watch.note_use(home, network.now)
    watch.plan(home, network.now + IN_USE)

    assert watch.due == home.heard_at + ASK_IDLE_AFTER


def test_a_probe_before_its_time_sends_no_request() -> None:
    network, home = allocated()
    watch = Watch()
    watch.plan(home, network.now)

    watch.look(home, network.now)

    assert not is_probing(home)
    assert not home.datagrams_to_send()
    assert watch.due == home.heard_at + ASK_IDLE_AFTER


def test_a_home_that_answers_is_kept() -> None:
    alice = ready()
    network, home = alice.network, alice.client
    watch = Watch()
    network.advance(ASK_IDLE_AFTER)
    watch.look(home, network.now)
    assert is_probing(home)

    alice.host.drain()
    network.advance(1.0)

    watch.look(home, network.now)
    assert not is_probing(home)
    assert state_of(home) is RelayState.ALLOCATED
    assert watch.due == home.heard_at + ASK_IDLE_AFTER


def test_a_home_that_does_not_answer_is_given_up() -> None:
    network, home = allocated()
    watch = Watch()
    asked_at = network.now + ASK_IDLE_AFTER
    watch.look(home, asked_at)
    assert watch.due == asked_at + GIVE_UP_AFTER

    watch.look(home, asked_at + GIVE_UP_AFTER - 0.1)
    assert state_of(home) is RelayState.ALLOCATED
    watch.look(home, asked_at + GIVE_UP_AFTER)

    assert state_of(home) is RelayState.OFFLINE
    assert watch.due is None


def test_another_unanswered_request_makes_it_ask() -> None:
    network, home = allocated()
    watch = Watch()
    asked_at = network.now
    home.open(Endpoint("192.0.2.9", 9), asked_at)
    assert not is_probing(home)
    watch.plan(home, asked_at)
    assert watch.due == asked_at + ASK_AGAIN_AFTER

    watch.look(home, asked_at + ASK_AGAIN_AFTER)

    assert is_probing(home)
    assert watch.due == asked_at + GIVE_UP_AFTER


def test_a_home_over_a_stream_is_replaced_by_udp_at_once() -> None:
    rivalry = Rivalry(Prober(random.Random(1).randbytes))

    assert rivalry.is_better(server(OTHER), client(Transport.TCP), 0.0)


def test_another_server_has_to_be_nearer_several_times_in_a_row() -> None:
    rivalry = Rivalry(measured(home=0.100, other=0.020))
    times = [number * ROUND_GAP for number in range(STEADY_ROUNDS)]

    verdicts = [rivalry.is_better(server(OTHER), client(), now) for now in times]

    assert verdicts == [False] * (STEADY_ROUNDS - 1) + [True]


def test_measurements_close_together_count_once() -> None:
    rivalry = Rivalry(measured(home=0.100, other=0.020))

    for number in range(10 * STEADY_ROUNDS):
        now = number * ROUND_GAP / (10 * STEADY_ROUNDS)
        assert not rivalry.is_better(server(OTHER), client(), now)


@pytest.mark.parametrize(
    ("home", "other"),
    [
        (0.100, 0.081),
        (0.020, 0.011),
        (0.020, 0.020),
        (0.020, 0.100),
        (None, 0.020),
        (0.020, None),
    ],
)
def test_what_is_not_clearly_nearer_is_no_better(
    home: float | None, other: float | None
) -> None:
    rivalry = Rivalry(measured(home=home, other=other))

    for number in range(2 * STEADY_ROUNDS):
        assert not rivalry.is_better(server(OTHER), client(), number * ROUND_GAP)


def test_one_bad_round_resets_the_count() -> None:
    prober = measured(home=0.100, other=0.020)
    rivalry = Rivalry(prober)
    for number in range(STEADY_ROUNDS - 1):
        rivalry.is_better(server(OTHER), client(), number * ROUND_GAP)
    prober.silence(OTHER)
    rivalry.is_better(server(OTHER), client(), STEADY_ROUNDS * ROUND_GAP)
    answer(prober, {OTHER: 0.020}, 200.0)

    assert not rivalry.is_better(server(OTHER), client(), 300.0)


def test_a_new_home_resets_the_count() -> None:
    rivalry = Rivalry(measured(home=0.100, other=0.020))
    for number in range(STEADY_ROUNDS - 1):
        rivalry.is_better(server(OTHER), client(), number * ROUND_GAP)

    rivalry.begin()

    assert not rivalry.is_better(server(OTHER), client(), STEADY_ROUNDS * ROUND_GAP)


def is_probing(home: RelayClient) -> bool:
    return home.is_probing


def state_of(home: RelayClient) -> RelayState:
    return home.state


def ready() -> ClientHost:
    """Return a host whose client has an allocation."""
    network = Network()
    alice = ClientHost(network, RelayHost(network), "203.0.113.1")
    alice.start()
    return alice


def allocated() -> tuple[Network, RelayClient]:
    """Return a client with an allocation, to which nobody answers any more."""
    alice = ready()
    return alice.network, alice.client


def client(transport: Transport = Transport.UDP) -> RelayClient:
    return RelayClient(server(HOME, transport), LINK, random=random.Random(1).randbytes)


def server(endpoint: Endpoint, transport: Transport = Transport.UDP) -> RelayServer:
    url = RelayUrl(endpoint.host, endpoint.port, transport)
    return RelayServer(url, endpoint.host, "user", "password")


def measured(*, home: float | None, other: float | None) -> Prober:
    """Return a prober that has measured these round trips in seconds."""
    prober = Prober(random.Random(1).randbytes)
    prober.watch([HOME, OTHER], 0.0)
    answer(prober, {HOME: home, OTHER: other}, 0.0)
    return prober


def answer(prober: Prober, times: dict[Endpoint, float | None], now: float) -> None:
    """Let servers answer a round of requests after so many seconds each."""
    prober.probe(now)
    for transmit in prober.datagrams_to_send():
        seconds = times.get(transmit.destination)
        if seconds is not None:
            response = binding_response(transmit.datagrams[0][8:], transmit.destination)
            prober.receive(response, transmit.destination, now + seconds)
