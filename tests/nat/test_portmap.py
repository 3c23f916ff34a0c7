"""Port mapping against gateways that speak, stay silent, restart and lie."""

import itertools
import random

import pytest

from meshwg.nat.gateway import (
    SERVER_PORT,
    GatewayDrop,
    Mapped,
    MappingChanged,
    MappingMethod,
    UpnpReleased,
    UpnpRequested,
)
from meshwg.nat.portmap import PortMapping
from meshwg.transmit import Endpoint
from tests.nat.home import BOTH, GATEWAY, LOCAL, ONLY, PORT, PUBLIC, Gateway, Home

# Finding a method.


def test_a_port_is_mapped_by_pcp_at_once() -> None:
    home = Home()
    home.run()
    mapped = home.machine.mapped
    assert mapped == Mapped(
        Endpoint(PUBLIC, PORT), MappingMethod.PCP, 7200.0, public=True
    )
    assert home.events == [
        MappingChanged(None, "The gateway is being asked to map a port."),
        MappingChanged(mapped, "The gateway maps the port by PCP."),
    ]
    assert home.sent == [(0.0, "pcp map 7200")]


def test_a_gateway_of_another_version_is_asked_by_nat_pmp_at_once() -> None:
    home = Home(Gateway(speaks={MappingMethod.NAT_PMP}))
    home.run()
    assert home.machine.mapped == Mapped(
        Endpoint(PUBLIC, PORT), MappingMethod.NAT_PMP, 7200.0, public=True
    )
    assert home.sent == [
        (0.0, "pcp map 7200"),
        (0.0, "natpmp address"),
        (0.0, "natpmp address"),
        (0.0, "natpmp map 7200"),
    ]


def test_a_gateway_that_is_silent_to_pcp_is_asked_by_nat_pmp_a_little_later() -> None:
    home = Home(Gateway(speaks={MappingMethod.NAT_PMP}, admits_version=False))
    home.run()
    assert home.mapped_by() is MappingMethod.NAT_PMP
    assert [at for at, what in home.sent if what == "natpmp map 7200"] == [0.25]


def test_a_silent_gateway_is_asked_three_times_and_then_by_upnp() -> None:
    home = Home(Gateway(speaks=set()))
    home.run()
    assert home.sent == [
        (0.0, "pcp map 7200"),
        (0.25, "pcp map 7200"),
        (0.25, "natpmp address"),
        (0.5, "pcp map 7200"),
        (0.5, "natpmp address"),
    ]
    assert home.upnp_requests == [(1.0, UpnpRequested(PORT, PORT, 7200))]


def test_a_lost_question_is_asked_again() -> None:
    home = Home(Gateway(loses=1))
    home.run()
    assert home.mapped_by() is MappingMethod.PCP
    assert home.now == 0.25


def test_port_unreachable_leads_to_upnp_at_once() -> None:
    home = Home(Gateway(speaks=set()))
    home.run(until=0.01)
    home.machine.receive_unreachable(0.01)
    home.run()
    assert home.upnp_requests == [(0.01, UpnpRequested(PORT, PORT, 7200))]
    home.machine.receive_upnp_failure("finds no gateway", 1.2)
    assert home.machine.reason == (
        "The gateway maps no port: PCP is not supported, NAT-PMP is not supported, "
        "UPnP finds no gateway."
    )


def test_a_refusal_of_every_method_is_reported_with_its_reasons() -> None:
    home = Home(Gateway(result=2))
    home.run()
    home.machine.receive_upnp_failure("is not permitted", 0.5)
    home.run()
    assert home.mapped_by() is None
    assert home.machine.reason == (
        "The gateway maps no port: "
        "PCP is refused (it does not permit this host to map ports), "
        "NAT-PMP is refused (it does not permit this host to map ports), "
        "UPnP is not permitted."
    )


def test_a_late_answer_counts_while_nothing_is_mapped() -> None:
    home = Home(Gateway(delay=2.5))
    home.run(until=2.0)
    assert home.mapped_by() is None
    home.run(until=3.0)
    assert home.mapped_by() is MappingMethod.PCP

    home.machine.receive_upnp(Endpoint(PUBLIC, 4711), 3600, 3.1)
    home.drain()
    assert home.events[-1] == UpnpReleased(4711), "one mapping is enough"
    assert home.mapped_by() is MappingMethod.PCP


def test_a_late_nat_pmp_gateway_is_used_too() -> None:
    home = Home(
        Gateway(speaks={MappingMethod.NAT_PMP}, admits_version=False, delay=1.5)
    )
    home.run(until=10.0)
    assert home.mapped_by() is MappingMethod.NAT_PMP


def test_only_allowed_methods_are_tried() -> None:
    for method, words in [
        (MappingMethod.PCP, "pcp"),
        (MappingMethod.NAT_PMP, "natpmp"),
    ]:
        home = Home(methods=ONLY[method])
        home.run()
        assert home.mapped_by() is method
        assert all(what.startswith(words) for _, what in home.sent)
    upnp = Home(methods=ONLY[MappingMethod.UPNP])
    upnp.run()
    assert not upnp.sent
    assert len(upnp.upnp_requests) == 1


def test_over_ipv6_only_pcp_is_spoken() -> None:
    gateway = Gateway(address="fe80::1%eth0", external="2600::10", speaks=set())
    home = Home(gateway, local="2600::10")
    home.run(until=2.0)
    assert {what for _, what in home.sent} == {"pcp map 7200"}
    assert not home.upnp_requests
    gateway.speaks.add(MappingMethod.PCP)
    home.run(until=60.0)
    assert home.external() == Endpoint("2600::10", PORT)
    assert home.machine.reason == "The gateway opens the port by PCP."


def test_without_a_gateway_nothing_is_sent_and_the_reason_says_so() -> None:
    machine = PortMapping(PORT, random.randbytes)
    assert machine.get_timer() is None
    machine.set_gateway(None, "", 0.0)
    assert machine.get_timer() is None
    assert not machine.datagrams_to_send()
    assert machine.reason == "There is no default gateway that could map a port."
    machine.set_gateway(GATEWAY, LOCAL, 5.0)
    assert machine.datagrams_to_send()


def test_rounds_are_repeated_with_growing_pauses() -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.PCP])
    home.run(until=6000.0)
    starts = [at for at, _ in home.sent][::3]
    pauses = [later - at for at, later in itertools.pairwise(starts)]
    assert 27 <= pauses[0] - 1 <= 33
    assert all(later > 1.5 * at for at, later in itertools.pairwise(pauses[:5]))
    assert max(pauses) <= 1024 * 1.1 + 1
    assert len(home.changes) == 2, "the same failure is told once"


def test_a_refusal_for_a_time_is_respected_up_to_half_an_hour() -> None:
    for named, waited in [(600, 600), (2**32 - 1, 1800)]:
        gateway = Gateway(speaks={MappingMethod.PCP}, result=8, lifetime=named)
        home = Home(gateway, methods=ONLY[MappingMethod.PCP])
        home.run(until=2000.0)
        assert [at for at, _ in home.sent][:2] == [0.0, waited]


# Keeping the mapping.


def test_a_mapping_is_renewed_after_half_its_lifetime_with_the_same_nonce() -> None:
    home = Home(Gateway(lifetime=600))
    home.run(until=3000.0)
    times = [at for at, _ in home.sent]
    assert all(300 <= b - a <= 375 for a, b in itertools.pairwise(times))
    assert len(home.gateway.nonces) == 1
    assert len(home.changes) == 2, "a renewal is no news"
    assert home.machine.mapped is not None
    assert home.machine.mapped.expires_at > 3000.0


def test_a_renewal_requests_the_port_that_was_granted() -> None:
    home = Home(Gateway(port=40_001, lifetime=600))
    home.run(until=400.0)
    assert home.gateway.wishes == [PORT, 40_001]


@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_unanswered_renewals_are_repeated_ever_sooner_without_a_flood(
    method: MappingMethod,
) -> None:
    home = Home(Gateway(lifetime=600), methods=ONLY[method])
    home.run()
    home.gateway.speaks.clear()
    home.run(until=599.9)
    asked = sorted({at for at, _ in home.sent if at > 0})
    assert 4 <= len(asked) <= 8
    assert all(b - a >= 4 for a, b in itertools.pairwise(asked))
    assert home.mapped_by() is method, "it stands until its time is over"

    home.run(until=600.0)
    assert home.mapped_by() is None
    assert home.changes[-1] == MappingChanged(None, "The port mapping has expired.")
    home.gateway.speaks.add(method)
    home.run(until=600.5)
    assert home.mapped_by() is method


def test_a_refused_renewal_ends_nothing_before_its_time() -> None:
    home = Home(Gateway(lifetime=600))
    home.run()
    home.gateway.result = 8
    home.run(until=599.0)
    assert home.mapped_by() is MappingMethod.PCP
    home.gateway.result = 0
    home.run(until=1000.0)
    assert home.mapped_by() is MappingMethod.PCP


def test_another_external_endpoint_is_reported() -> None:
    home = Home(Gateway(lifetime=600))
    home.run()
    home.gateway.external, home.gateway.port = "80.94.9.9", 1234
    home.run(until=400.0)
    assert home.external() == Endpoint("80.94.9.9", 1234)
    assert isinstance(home.events[-1], MappingChanged)


def test_a_new_nat_pmp_address_is_reported() -> None:
    home = Home(Gateway(lifetime=600), methods=ONLY[MappingMethod.NAT_PMP])
    home.run()
    home.gateway.external = "80.94.9.9"
    home.run(until=400.0)
    assert home.external() == Endpoint("80.94.9.9", PORT)


def test_a_move_to_another_network_replaces_the_old_mapping() -> None:
    home = Home()
    home.run()
    home.run(until=100.0)
    cafe = home.gateway = Gateway(address="10.0.0.1", external="80.94.7.7")
    home.local = "10.0.0.5"
    home.machine.set_gateway("10.0.0.1", home.local, 100.0)
    assert home.mapped_by() is None
    home.run(until=100.0)
    assert home.external() == Endpoint("80.94.7.7", PORT)
    assert cafe.clients == {"10.0.0.5"}


def test_hints_of_a_change_renew_a_mapping_without_a_flood() -> None:
    home = Home()
    home.run()
    for at in range(100, 120):
        home.run(until=at)
        home.machine.set_gateway(GATEWAY, LOCAL, at)
    home.run(until=130)
    times = [at for at, _ in home.sent]
    assert times == [0.0, 100.0, 104.0, 108.0, 112.0, 116.0, 120.0]
    assert home.mapped_by() is MappingMethod.PCP


def test_a_hint_of_a_change_ends_the_pause_after_a_failure() -> None:
    home = Home(Gateway(speaks=set()), methods=BOTH)
    home.run(until=10.0)
    home.gateway.speaks.add(MappingMethod.PCP)
    home.machine.set_gateway(GATEWAY, LOCAL, 10.0)
    home.run(until=10.0)
    assert home.mapped_by() is MappingMethod.PCP


def test_a_hint_of_a_change_does_not_disturb_a_round() -> None:
    home = Home(Gateway(speaks=set()), methods=BOTH)
    home.start()
    home.machine.set_gateway(GATEWAY, LOCAL, 0.1)
    home.run(until=0.9)
    assert len(home.sent) == 5


# Gateways that restart.


@pytest.mark.parametrize("announced_by", sorted(BOTH, key=str))
@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_an_announced_restart_recreates_the_mapping(
    method: MappingMethod, announced_by: MappingMethod
) -> None:
    home = Home(methods=ONLY[method])
    home.run(until=1000.0)
    home.gateway.restart(1000.0)
    home.announce(announced_by)
    home.run(until=1005.0)
    assert home.gateway.mappings == 1
    assert home.mapped_by() is method


def test_an_announcement_without_a_restart_changes_nothing() -> None:
    home = Home()
    home.run(until=1000.0)
    for method in BOTH:
        home.announce(method)
    home.run(until=1010.0)
    assert len(home.sent) == 1


def test_announcements_cannot_cause_a_flood() -> None:
    home = Home(methods=ONLY[MappingMethod.NAT_PMP])
    home.run(until=1000.0)
    for step in range(1000):
        home.run(until=1000.0 + step / 100)
        home.machine.receive_announcement(
            bytes.fromhex("0080000000000000") + bytes((6, 6, 6, step % 256)),
            Endpoint(GATEWAY, SERVER_PORT),
            home.now,
        )
    asked = {at for at, _ in home.sent if at >= 1000.0}
    assert 1 <= len(asked) <= 3
    assert home.machine.mapped is not None
    assert home.machine.mapped.external.host == PUBLIC, "an announcement only hints"


def test_an_announcement_from_elsewhere_is_not_believed() -> None:
    home = Home()
    home.run(until=1000.0)
    home.gateway.restart(1000.0)
    home.announce(MappingMethod.PCP, source=Endpoint("192.168.1.66", SERVER_PORT))
    home.run(until=1010.0)
    assert len(home.sent) == 1
    assert home.machine.drops == {GatewayDrop.WRONG_SOURCE: 1}


def test_an_invalid_announcement_is_counted() -> None:
    home = Home()
    home.run(until=1000.0)
    source = Endpoint(GATEWAY, SERVER_PORT)
    home.machine.receive_announcement(b"NOTIFY * HTTP/1.1", source, 1000.0)
    home.run(until=1010.0)
    assert len(home.sent) == 1
    assert home.machine.drops == {GatewayDrop.MALFORMED: 1}


def test_an_announcement_before_there_is_a_mapping_is_ignored() -> None:
    home = Home(Gateway(speaks=set()))
    home.start()
    home.announce(MappingMethod.PCP)
    home.announce(MappingMethod.NAT_PMP)
    assert home.mapped_by() is None


def test_an_epoch_that_went_back_in_an_answer_recreates_the_mapping() -> None:
    home = Home(Gateway(lifetime=600))
    home.run(until=100.0)
    home.gateway.restart(100.0)
    home.gateway.result = 8
    while len(home.sent) == 1:
        home.run(until=home.now + 1)
    home.gateway.result = 0
    home.run(until=home.now + 5)
    assert home.gateway.mappings == 1


# Two NATs.


def test_an_address_mismatch_is_reported_as_a_double_nat() -> None:
    home = Home(Gateway(sees="10.9.9.9"))
    home.run(until=20.0)
    assert home.mapped_by() is None
    assert "double NAT" in home.machine.reason
    assert not home.upnp_requests, "no other method could do better"


@pytest.mark.parametrize("external", ["100.64.3.4", "192.168.0.2", "10.1.1.1"])
@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_an_external_address_that_is_not_public_is_a_double_nat(
    external: str, method: MappingMethod
) -> None:
    home = Home(Gateway(external=external), methods=ONLY[method])
    home.run()
    assert home.machine.mapped is not None
    assert not home.machine.mapped.public
    assert home.machine.mapped.external == Endpoint(external, PORT)
    assert home.machine.reason == (
        f"The gateway's own address {external} is not public (double NAT)."
    )


def test_a_late_mismatch_does_not_put_off_the_next_round() -> None:
    home = Home(Gateway(sees="10.9.9.9"))
    home.run(until=5.0)
    due = home.machine.get_timer()
    for answer in home.gateway.answers[:1] * 50:
        home.machine.receive_datagram(answer, Endpoint(GATEWAY, SERVER_PORT), 6.0)
    assert home.machine.get_timer() == due


# UPnP.


def test_a_upnp_mapping_is_kept_renewed_and_released() -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.UPNP])
    home.run()
    home.machine.receive_upnp(Endpoint(PUBLIC, 40_001), 3600, 0.4)
    home.run(until=3000.0)
    assert home.mapped_by() is MappingMethod.UPNP
    assert home.machine.reason == "The gateway maps the port by UPnP."
    renewals = home.upnp_requests[1:]
    assert renewals
    assert 1800 <= renewals[0][0] - 0.4 <= 2250
    assert renewals[0][1] == UpnpRequested(PORT, 40_001, 7200)

    home.machine.receive_upnp(Endpoint(PUBLIC, 40_001), 3600, 3000.0)
    home.machine.stop(3001.0)
    home.drain()
    assert UpnpReleased(40_001) in home.events
    assert home.machine.finished


def test_a_failed_upnp_renewal_ends_nothing_before_its_time() -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.UPNP])
    home.run()
    home.machine.receive_upnp(Endpoint(PUBLIC, PORT), 3600, 0.0)
    home.run(until=2300.0)
    home.machine.receive_upnp_failure("gets no answer", 2300.0)
    assert home.mapped_by() is MappingMethod.UPNP
    home.run(until=3600.0)
    assert home.mapped_by() is None


def test_a_permanent_upnp_mapping_is_still_monitored() -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.UPNP])
    home.run()
    home.machine.receive_upnp(Endpoint(PUBLIC, PORT), 0, 0.0)
    home.run(until=4600.0)
    assert len(home.upnp_requests) == 2


@pytest.mark.parametrize("host", ["", "0.0.0.0", "router.example", "::1"])
def test_a_useless_upnp_mapping_is_released(host: str) -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.UPNP])
    home.run()
    home.machine.receive_upnp(Endpoint(host, PORT), 3600, 0.5)
    home.drain()
    assert UpnpReleased(PORT) in home.events
    assert home.mapped_by() is None
    assert home.machine.drops == {GatewayDrop.ADDRESS: 1}
    assert "UPnP grants an unusable mapping" in home.machine.reason


def test_a_runtime_that_forgets_to_report_does_not_stop_the_machine() -> None:
    home = Home(Gateway(speaks=set()), methods=ONLY[MappingMethod.UPNP])
    home.run(until=100.0)
    assert "UPnP takes too long" in home.machine.reason
    assert len(home.upnp_requests) > 1


# Stopping.


@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_a_mapping_is_released_when_the_node_stops(method: MappingMethod) -> None:
    home = Home(methods=ONLY[method])
    home.run(until=100.0)
    home.machine.stop(100.0)
    assert home.machine.get_timer() is not None
    home.run(until=100.0)
    assert home.machine.finished
    assert home.machine.get_timer() is None
    assert home.gateway.mappings == 0
    assert len(home.gateway.nonces) <= 1
    assert home.changes[-1].mapped is None


def test_a_lost_release_is_retransmitted_but_not_awaited_for_long() -> None:
    home = Home()
    home.run(until=1.0)
    home.gateway.loses = 10
    home.machine.stop(1.0)
    home.run(until=2.0)
    assert [at for at, what in home.sent if what == "pcp map 0"] == [1.0, 1.25]
    assert home.machine.finished
    assert home.now == 1.5


def test_a_mapping_that_may_yet_be_granted_is_released_too() -> None:
    home = Home(Gateway(delay=0.2))
    home.run(until=0.1)
    home.machine.stop(0.1)
    home.run(until=1.0)
    assert home.gateway.mappings == 0
    assert home.machine.finished


def test_a_machine_that_mapped_nothing_stops_at_once_and_for_good() -> None:
    machine = PortMapping(PORT, random.randbytes)
    machine.stop(0.0)
    assert machine.get_timer() is None
    machine.set_gateway(GATEWAY, LOCAL, 1.0)
    machine.stop(2.0)
    machine.handle_timer(3.0)
    machine.receive_unreachable(3.0)
    machine.receive_upnp_failure("is late", 3.0)
    assert machine.finished
    assert not machine.datagrams_to_send()
