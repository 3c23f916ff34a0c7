"""Allocations: their addresses, their quotas, and their end."""

from coordinator.turn import Limits
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Attribute, Method
from tests.coordinator.turnclient import (
    BOB,
    CHANNEL,
    NOW,
    PEER,
    RELAY4,
    RELAY6,
    UDP,
    TurnClient,
    code_of,
    make_server,
)


def test_an_ipv6_address_is_allocated_where_there_is_one() -> None:
    server = make_server(hosts={4: RELAY4, 6: RELAY6})
    alice = TurnClient(server).allocate(requested_address_family=2)

    assert alice.relayed.host == RELAY6
    assert alice.bind(CHANNEL, PEER) == 443
    assert alice.permit(Endpoint("2001:db8:9::9", 1)) == 0


def test_an_even_port_and_the_next_one_are_reserved_together() -> None:
    server = make_server(ports=range(50001, 50007))
    alice = TurnClient(server, Endpoint("203.0.113.1", 1))
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.EVEN_PORT: True})
    assert answer is not None
    even = answer.attributes[Attribute.XOR_RELAYED_ADDRESS]
    token = answer.attributes[Attribute.RESERVATION_TOKEN]
    others = [
        TurnClient(server, Endpoint("203.0.113.1", port)).allocate().relayed.port
        for port in range(2, 6)
    ]
    odd = TurnClient(server, Endpoint("203.0.113.1", 9))
    odd.allocate(reservation_token=token)

    assert even.port % 2 == 0
    assert odd.relayed.port == even.port + 1
    assert odd.relayed.port not in others


def test_a_reservation_is_for_its_node_and_for_thirty_seconds() -> None:
    clock = [NOW]
    server = make_server()
    alice = TurnClient(server, now=lambda: clock[0])
    answer = alice.request(Method.ALLOCATE, UDP | {Attribute.EVEN_PORT: True})
    assert answer is not None
    claim = UDP | {
        Attribute.RESERVATION_TOKEN: answer.attributes[Attribute.RESERVATION_TOKEN]
    }

    mallory = TurnClient(server, BOB, node="mallory", now=lambda: clock[0])
    assert code_of(mallory.request(Method.ALLOCATE, claim)) == 508
    clock[0] += 31
    late = TurnClient(server, BOB, now=lambda: clock[0])
    assert code_of(late.request(Method.ALLOCATE, claim)) == 508


def test_a_node_has_a_quota_and_others_are_unaffected() -> None:
    server = make_server(limits=Limits(allocations_per_node=2))
    for port in (1, 2):
        TurnClient(server, Endpoint("203.0.113.1", port)).allocate()
    third = TurnClient(server, Endpoint("203.0.113.1", 3))

    assert code_of(third.request(Method.ALLOCATE, UDP)) == 486
    assert TurnClient(server, BOB, node="bob").allocate().relayed


def test_an_allocation_that_a_node_left_behind_gives_way() -> None:
    clock = [NOW]
    server = make_server(limits=Limits(allocations_per_node=2))
    clients = [
        TurnClient(server, Endpoint("203.0.113.1", port), now=lambda: clock[0])
        for port in range(3)
    ]
    left = clients[0].allocate()
    left.permit(PEER)
    clients[1].allocate()
    clock[0] += 61
    clients[1].refresh()

    clients[2].allocate()

    assert server.allocations == 2
    assert code_of(left.request(Method.REFRESH)) == 437
    assert code_of(clients[1].request(Method.REFRESH)) == 0


def test_a_server_without_ports_or_room_says_so() -> None:
    server = make_server(ports=range(50000, 50001))
    TurnClient(server).allocate()
    bob = TurnClient(server, BOB, node="bob")
    assert code_of(bob.request(Method.ALLOCATE, UDP)) == 508

    full = make_server(limits=Limits(allocations=0))
    assert code_of(TurnClient(full).request(Method.ALLOCATE, UDP)) == 508


def test_an_allocation_that_is_not_refreshed_ends() -> None:
    server = make_server()
    TurnClient(server).allocate()
    due = server.get_timer()
    assert due == NOW + 600

    server.handle_timer(due - 1)
    assert server.allocations == 1
    server.handle_timer(due)
    assert server.allocations == 0
    assert server.counters.expired == 1
    assert server.get_timer() is None


def test_a_refresh_extends_and_a_shorter_one_shortens() -> None:
    server = make_server()
    alice = TurnClient(server).allocate()
    alice.refresh(3600)
    server.handle_timer(NOW + 600)
    assert server.allocations == 1

    alice.refresh(600)
    server.handle_timer(NOW + 601)
    assert server.allocations == 0


def test_a_client_that_comes_and_goes_leaves_nothing_behind() -> None:
    server = make_server()
    alice = TurnClient(server)
    for _ in range(500):
        alice.allocate()
        alice.refresh(0)

    assert len(server._table._deadlines) < 100
