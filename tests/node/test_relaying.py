"""Relayed addresses: which are used, which are permitted, and which can be none."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from meshwg.path.candidate import Rejection
from meshwg.transmit import Endpoint
from tests.node.path_stage import NOW, RELAY_LINK, RELAYED, RELAYED_ENDPOINT, Stage


def test_a_peer_is_reached_through_the_relay_that_both_have() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))

    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    assert peer.relayed == RELAYED_ENDPOINT
    assert stage.relays.opened == [RELAYED_ENDPOINT]


def test_a_peer_is_reached_at_its_second_relay_where_the_first_is_given_up() -> None:
    stage = Stage()
    second = replace(RELAYED, host="198.51.100.10")
    peer = stage.add_peer(candidates=(RELAYED, second))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    assert peer.relayed == RELAYED_ENDPOINT

    stage.relays.given_up = {RELAYED.host}
    stage.paths.relay_changed(RELAY_LINK + 1, NOW)
    assert peer.relayed == Endpoint(second.host, second.port, RELAY_LINK + 1)

    stage.relays.given_up = {RELAYED.host, second.host}
    stage.paths.relay_changed(RELAY_LINK, NOW)
    assert peer.relayed == RELAYED_ENDPOINT, "there is nothing better"


def test_both_relays_of_a_peer_are_let_in() -> None:
    stage = Stage()
    second = replace(RELAYED, host="198.51.100.10")
    stage.add_peer(candidates=(RELAYED, second))
    stage.paths.permit_relays(NOW)
    assert stage.relays.permitted == [RELAYED.host, second.host]


def test_a_relay_is_let_in_as_long_as_any_peer_names_it() -> None:
    stage = Stage()
    one, other = (stage.add_peer(candidates=(RELAYED,)) for _ in range(2))
    stage.paths.permit_relays(NOW)
    stage.paths.remove(one)
    stage.paths.permit_relays(NOW)
    assert stage.relays.permitted == [RELAYED.host]
    assert stage.relays.forbidden == []

    other.entry = replace(other.entry, candidates=())
    stage.paths.entry_changed(other, is_back=False, now=NOW)
    stage.paths.permit_relays(NOW)
    assert stage.relays.forbidden == [RELAYED.host]


def test_another_relay_replaces_the_path_through_the_old_one() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.relay_changed(RELAY_LINK + 1, NOW)
    assert peer.relayed == RELAYED_ENDPOINT._replace(link=RELAY_LINK + 1)
    assert stage.relays.closed == [RELAYED_ENDPOINT]


def test_without_a_relay_there_is_no_relayed_path() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)

    stage.paths.relay_changed(None, NOW)

    assert peer.relayed is None
    assert peer.tunnel.endpoint is None


def test_a_peer_without_agent_costs_the_relay_nothing() -> None:
    stage = Stage()
    stage.add_peer(candidates=(RELAYED,))

    stage.paths.relay_changed(RELAY_LINK, NOW)

    assert stage.relays.opened == []


def test_a_peer_that_speaks_from_elsewhere_on_the_relay_is_answered_there() -> None:
    stage = Stage()
    peer = stage.add_peer(candidates=(RELAYED,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    moved = RELAYED_ENDPOINT._replace(port=50001)

    stage.paths.receive_check(stage.check_of(peer), moved, NOW)

    assert peer.relayed == moved


VICTIM = replace(RELAYED, host="203.0.113.66")


def test_no_data_goes_to_an_address_at_no_relay_of_the_mesh() -> None:
    stage = Stage()
    stage.paths.servers_changed([RELAYED.host])
    peer = stage.add_peer(candidates=(VICTIM,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    stage.paths.receive_offer(peer, stage.offer_of(peer, VICTIM), NOW)
    # A member can write any source under what it sends.
    spoofed = Endpoint(VICTIM.host, VICTIM.port, RELAY_LINK)
    stage.paths.receive_check(stage.check_of(peer), spoofed, NOW)

    assert peer.relayed is None
    assert stage.relays.opened == []
    assert peer.tunnel.endpoint is None
    assert stage.paths.drops["relayed-address-unproven"] > 0


def test_one_check_in_a_while_asks_who_is_at_an_address_of_no_known_relay() -> None:
    stage = Stage()
    stage.paths.servers_changed([RELAYED.host])
    peer = stage.add_peer(candidates=(VICTIM,))
    stage.paths.begin(peer, NOW)
    sent = 0
    for tenth in range(100):
        stage.paths.relay_changed(RELAY_LINK, NOW + tenth / 10)
        sent += sum(
            len(each.datagrams)
            for each in stage.paths.datagrams_to_send()
            if each.destination.host == VICTIM.host
        )
    assert sent == 2


def test_an_address_of_an_unknown_relay_is_used_when_the_peer_answers_there() -> None:
    stage = Stage()
    stage.paths.servers_changed([RELAYED.host])
    elsewhere = replace(RELAYED, host="198.51.100.77")
    peer = stage.add_peer(candidates=(elsewhere,))
    stage.paths.begin(peer, NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    (check,) = (
        datagram
        for each in stage.paths.datagrams_to_send()
        if each.destination.host == elsewhere.host
        for datagram in each.datagrams
    )
    at = Endpoint(elsewhere.host, elsewhere.port, RELAY_LINK)

    stage.paths.receive_check(stage.answer_to(peer, check), at, NOW)

    assert peer.relayed == at
    assert stage.relays.opened == [at]


def test_the_hosts_of_peers_relays_are_permitted_once_and_later_revoked() -> None:
    stage = Stage()
    peers = [stage.add_peer(candidates=(RELAYED,)) for _ in range(2)]

    stage.paths.permit_relays(NOW)
    stage.paths.permit_relays(NOW)
    assert stage.relays.permitted == [RELAYED.host]
    assert stage.relays.forbidden == []

    for peer in peers:
        stage.paths.remove(peer)
    stage.paths.permit_relays(NOW)
    assert stage.relays.forbidden == [RELAYED.host]


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1", Rejection.LOOPBACK),
        ("224.0.0.1", Rejection.MULTICAST),
        ("0.0.0.0", Rejection.UNSPECIFIED),
        ("100.64.0.7", Rejection.MESH),
    ],
)
def test_a_relayed_address_that_leads_nowhere_is_counted_and_not_opened(
    host: str, why: Rejection
) -> None:
    stage = Stage()
    stage.overlay.set_mesh([ip_network("100.64.0.0/16")])
    nowhere = replace(RELAYED, host=host)
    peer = stage.add_peer(candidates=(nowhere,))

    stage.paths.permit_relays(NOW)
    stage.paths.relay_changed(RELAY_LINK, NOW)
    stage.paths.receive_offer(peer, stage.offer_of(peer, nowhere), NOW)

    assert peer.relayed is None
    assert stage.relays.opened == []
    assert stage.relays.permitted == []
    assert stage.paths.drops[why.value] > 0
