"""Every mapping, filtering and allocation of the simulated NAT is what it says."""

import itertools
import random

import pytest

from meshwg.nattypes import Filtering, Mapping, PortAllocation
from tests.sim.nat import (
    Address,
    Firewall,
    Nat,
    Pooling,
    StatefulFilter,
    Translation,
    WanInput,
)

INSIDE = ("192.168.1.2", 5000)
REMOTE = ("198.51.100.1", 3478)
SAME_HOST = ("198.51.100.1", 3479)
OTHER_HOST = ("198.51.100.2", 3478)
MAPPINGS = (
    Mapping.ENDPOINT_INDEPENDENT,
    Mapping.ADDRESS_DEPENDENT,
    Mapping.ADDRESS_AND_PORT_DEPENDENT,
)
FILTERINGS = (
    Filtering.ENDPOINT_INDEPENDENT,
    Filtering.ADDRESS_DEPENDENT,
    Filtering.ADDRESS_AND_PORT_DEPENDENT,
)


@pytest.mark.parametrize(
    ("mapping", "same_host_is_same", "other_host_is_same"),
    [
        (Mapping.ENDPOINT_INDEPENDENT, True, True),
        (Mapping.ADDRESS_DEPENDENT, True, False),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, False, False),
    ],
)
def test_mapping_decides_which_destinations_see_one_endpoint(
    mapping: Mapping, same_host_is_same: bool, other_host_is_same: bool
) -> None:
    nat = translation(Nat(mapping))

    first = nat.outbound(INSIDE, REMOTE, 0)

    assert nat.outbound(INSIDE, REMOTE, 1) == first
    assert (nat.outbound(INSIDE, SAME_HOST, 1) == first) is same_host_is_same
    assert (nat.outbound(INSIDE, OTHER_HOST, 1) == first) is other_host_is_same


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize(
    ("filtering", "allowed"),
    [
        (Filtering.ENDPOINT_INDEPENDENT, {REMOTE, SAME_HOST, OTHER_HOST}),
        (Filtering.ADDRESS_DEPENDENT, {REMOTE, SAME_HOST}),
        (Filtering.ADDRESS_AND_PORT_DEPENDENT, {REMOTE}),
    ],
)
def test_filtering_decides_who_may_send(
    mapping: Mapping, filtering: Filtering, allowed: set[Address]
) -> None:
    nat = translation(Nat(mapping, filtering))
    outside = public(nat, INSIDE, REMOTE, 0)

    for sender in (REMOTE, SAME_HOST, OTHER_HOST):
        expected = INSIDE if sender in allowed else None
        assert nat.inbound(outside, sender, 1) == expected


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_a_mapping_expires_when_idle_and_lives_when_used(mapping: Mapping) -> None:
    nat = translation(Nat(mapping, lifetime=30))
    outside = public(nat, INSIDE, REMOTE, 0)

    assert nat.inbound(outside, REMOTE, 29) == INSIDE
    assert nat.inbound(outside, REMOTE, 58) == INSIDE
    assert nat.mappings(58) == 1
    assert nat.inbound(outside, REMOTE, 88) is None
    assert nat.mappings(88) == 0


def test_without_inbound_refresh_only_the_inside_keeps_a_mapping() -> None:
    nat = translation(Nat(lifetime=30, inbound_refresh=False))
    outside = public(nat, INSIDE, REMOTE, 0)

    assert nat.inbound(outside, REMOTE, 29) == INSIDE
    assert nat.inbound(outside, REMOTE, 31) is None


def test_an_unused_permission_expires_before_its_mapping() -> None:
    nat = translation(Nat(lifetime=30))
    outside = public(nat, INSIDE, REMOTE, 0)
    nat.outbound(INSIDE, OTHER_HOST, 20)

    assert nat.inbound(outside, REMOTE, 35) is None
    assert nat.inbound(outside, OTHER_HOST, 35) == INSIDE


def test_ports_are_preserved_until_another_host_has_them() -> None:
    nat = translation(Nat())

    assert public(nat, INSIDE, REMOTE, 0)[1] == INSIDE[1]
    assert public(nat, ("192.168.1.3", INSIDE[1]), REMOTE, 0)[1] != INSIDE[1]


@pytest.mark.parametrize("delta", [1, 2, -1])
def test_sequential_ports_differ_by_delta_and_what_other_hosts_took(delta: int) -> None:
    policy = Nat(
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
        allocation=PortAllocation.SEQUENTIAL,
        delta=delta,
    )
    nat = translation(policy)

    first, second = (public(nat, INSIDE, to, 0)[1] for to in (REMOTE, SAME_HOST))
    nat.use_up_ports(3)
    third = public(nat, INSIDE, OTHER_HOST, 0)[1]

    assert (second - first, third - second) == (delta, 4 * delta)


def test_random_ports_are_distinct_and_show_no_step() -> None:
    policy = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, allocation=PortAllocation.RANDOM)
    nat = translation(policy)

    ports = [public(nat, INSIDE, ("198.51.100.1", n), 0)[1] for n in range(1, 200)]

    assert len(set(ports)) == len(ports)
    assert len({b - a for a, b in itertools.pairwise(ports)}) > 100


def test_paired_pooling_keeps_one_address_per_host_and_arbitrary_does_not() -> None:
    addresses = ("203.0.113.1", "203.0.113.2")
    targets = [("198.51.100.1", port) for port in range(1, 40)]
    used = {}
    for pooling in Pooling:
        policy = Nat(Mapping.ADDRESS_AND_PORT_DEPENDENT, pooling=pooling)
        nat = Translation(policy, addresses, random.Random(1))
        used[pooling] = {public(nat, INSIDE, target, 0)[0] for target in targets}

    assert len(used[Pooling.PAIRED]) == 1
    assert used[Pooling.ARBITRARY] == set(addresses)


def test_a_full_table_refuses_new_mappings_until_one_expires() -> None:
    nat = translation(Nat(capacity=1, lifetime=30))
    nat.outbound(INSIDE, REMOTE, 0)

    assert nat.outbound(("192.168.1.3", 1), REMOTE, 10) is None
    assert nat.outbound(("192.168.1.3", 1), REMOTE, 31) is not None


def test_a_customer_holds_so_many_mappings_and_leaves_others_theirs() -> None:
    nat = translation(Nat(host_capacity=1, lifetime=30))
    nat.outbound(INSIDE, REMOTE, 0)

    assert nat.outbound((INSIDE[0], 1), REMOTE, 10) is None
    assert nat.outbound(("192.168.1.3", 1), REMOTE, 10) is not None
    assert nat.outbound((INSIDE[0], 1), REMOTE, 31) is not None


def test_a_sloppy_router_is_poisoned_by_an_early_datagram() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = public(nat, INSIDE, REMOTE, 0)

    assert nat.inbound(kept, OTHER_HOST, 1) is None

    assert nat.outbound(INSIDE, SAME_HOST, 2) == kept
    moved = public(nat, INSIDE, OTHER_HOST, 2)
    assert moved != kept
    assert nat.inbound(kept, OTHER_HOST, 3) is None
    assert nat.inbound(moved, OTHER_HOST, 3) == INSIDE


def test_an_opener_sent_in_time_prevents_the_poisoning() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = public(nat, INSIDE, OTHER_HOST, 0)

    assert nat.inbound(kept, OTHER_HOST, 1) == INSIDE
    assert nat.outbound(INSIDE, OTHER_HOST, 2) == kept


def test_poison_wears_off() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = public(nat, INSIDE, REMOTE, 0)
    nat.inbound(kept, OTHER_HOST, 1)

    assert nat.outbound(INSIDE, OTHER_HOST, 32) == kept


def test_flows_after_a_spoiled_one_go_by_its_port_too() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = public(nat, INSIDE, REMOTE, 0)
    nat.inbound(kept, OTHER_HOST, 0)

    moved = public(nat, INSIDE, OTHER_HOST, 1)
    assert moved != kept
    assert public(nat, INSIDE, SAME_HOST, 2) == moved
    assert public(nat, INSIDE, REMOTE, 3) == kept
    assert public(nat, (INSIDE[0], 7), SAME_HOST, 3)[1] == 7


def test_the_first_flow_of_a_socket_can_be_spoiled() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = "203.0.113.1", INSIDE[1]
    nat.inbound(kept, OTHER_HOST, 0)

    moved = public(nat, INSIDE, OTHER_HOST, 1)
    assert moved != kept
    assert public(nat, INSIDE, REMOTE, 2) == moved


def test_a_spoiled_flow_keeps_its_port_until_nothing_was_sent_for_a_while() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY))
    kept = public(nat, INSIDE, REMOTE, 0)
    nat.inbound(kept, OTHER_HOST, 1)
    moved = public(nat, INSIDE, OTHER_HOST, 2)

    assert nat.outbound(INSIDE, OTHER_HOST, 31) == moved
    assert nat.outbound(INSIDE, OTHER_HOST, 60) == moved
    assert nat.outbound(INSIDE, OTHER_HOST, 91) == kept


def test_a_flow_that_was_never_answered_is_forgotten_sooner() -> None:
    nat = translation(Nat(wan_input=WanInput.SLOPPY, unanswered=30))
    kept = public(nat, INSIDE, REMOTE, 0)
    nat.outbound(INSIDE, OTHER_HOST, 0)
    nat.inbound(kept, REMOTE, 1)

    assert nat.inbound(kept, OTHER_HOST, 31) is None
    assert nat.outbound(INSIDE, OTHER_HOST, 32) != kept
    assert nat.inbound(kept, REMOTE, 32) == INSIDE


def test_a_dropping_router_is_not_poisoned() -> None:
    nat = translation(Nat())
    kept = public(nat, INSIDE, REMOTE, 0)

    assert nat.inbound(kept, OTHER_HOST, 1) is None
    assert nat.outbound(INSIDE, OTHER_HOST, 2) == kept


def test_a_forwarded_port_lets_everyone_in_and_is_never_given_away() -> None:
    nat = translation(Nat())
    outside = ("203.0.113.1", INSIDE[1])
    nat.map_port(outside, INSIDE)

    assert nat.inbound(outside, OTHER_HOST, 0) == INSIDE
    assert nat.outbound(("192.168.1.3", INSIDE[1]), REMOTE, 0) != outside
    nat.unmap_port(outside)
    assert nat.inbound(outside, OTHER_HOST, 0) is None


def test_a_reboot_forgets_every_mapping() -> None:
    nat = translation(Nat())
    outside = public(nat, INSIDE, REMOTE, 0)

    nat.reboot()

    assert nat.inbound(outside, REMOTE, 1) is None


@pytest.mark.parametrize("filtering", FILTERINGS)
def test_a_firewall_filters_as_a_nat_does(filtering: Filtering) -> None:
    firewall = StatefulFilter(Firewall(filtering, lifetime=30))
    nat = translation(Nat(filtering=filtering, lifetime=30))
    outside = public(nat, INSIDE, REMOTE, 0)
    firewall.outbound(INSIDE, REMOTE, 0)

    for sender in (REMOTE, SAME_HOST, OTHER_HOST):
        allowed = nat.inbound(outside, sender, 1) is not None
        assert firewall.inbound(INSIDE, sender, 1) is allowed


def test_a_firewall_forgets_by_time_and_by_reboot() -> None:
    firewall = StatefulFilter(Firewall(lifetime=30))
    firewall.outbound(INSIDE, REMOTE, 0)

    assert firewall.inbound(INSIDE, REMOTE, 29)
    assert not firewall.inbound(INSIDE, REMOTE, 60)
    firewall.outbound(INSIDE, REMOTE, 60)
    firewall.reboot()
    assert not firewall.inbound(INSIDE, REMOTE, 61)


def translation(policy: Nat) -> Translation:
    return Translation(policy, ["203.0.113.1"], random.Random(1))


def public(nat: Translation, inside: Address, remote: Address, now: float) -> Address:
    outside = nat.outbound(inside, remote, now)
    assert outside is not None
    return outside
