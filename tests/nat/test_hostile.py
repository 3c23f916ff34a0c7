"""What gateways, and who poses as one, may answer to a whole port mapper."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwg.nat.gateway import SERVER_PORT, GatewayDrop, MappingMethod
from meshwg.nat.portmap import MAX_LIFETIME
from meshwg.transmit import Endpoint
from tests.nat.home import BOTH, GATEWAY, LOCAL, ONLY, PORT, PUBLIC, Gateway, Home


@pytest.mark.parametrize("lifetime", [0, 1, 7])
@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_a_lifetime_too_short_to_maintain_is_refused(
    lifetime: int, method: MappingMethod
) -> None:
    home = Home(Gateway(lifetime=lifetime), methods=ONLY[method])
    home.run(until=20.0)
    assert home.mapped_by() is None
    assert home.machine.drops[GatewayDrop.LIFETIME] >= 1
    assert "grants an unusable mapping" in home.machine.reason
    assert len(home.sent) <= 5


def test_an_endless_lifetime_is_taken_for_a_day() -> None:
    home = Home(Gateway(lifetime=2**32 - 1))
    home.run()
    assert home.machine.mapped is not None
    assert home.machine.mapped.expires_at == MAX_LIFETIME
    assert home.machine.drops == {GatewayDrop.LIFETIME: 1}


def test_answers_from_elsewhere_are_counted_and_not_believed() -> None:
    home = Home(Gateway(speaks={MappingMethod.PCP}))
    home.start()
    (answer,) = home.gateway.answer(home.questions[0], LOCAL, 0.0)
    for source in (Endpoint("192.168.1.66", SERVER_PORT), Endpoint(GATEWAY, 5352)):
        home.machine.receive_datagram(answer, source, 0.0)
    assert home.mapped_by() is None
    assert home.machine.drops == {GatewayDrop.WRONG_SOURCE: 2}


def test_a_nonce_that_is_not_ours_is_counted() -> None:
    home = Home(Gateway(speaks={MappingMethod.PCP}))
    home.start()
    question = bytearray(home.questions[0])
    question[24] ^= 1
    (answer,) = home.gateway.answer(bytes(question), LOCAL, 0.0)
    home.machine.receive_datagram(answer, Endpoint(GATEWAY, SERVER_PORT), 0.0)
    assert home.mapped_by() is None
    assert home.machine.drops == {GatewayDrop.NOT_OURS: 1}


def test_a_mapping_granted_too_late_changes_nothing_and_is_released() -> None:
    home = Home(Gateway(speaks={MappingMethod.NAT_PMP}, admits_version=False))
    home.run()
    home.gateway.speaks.add(MappingMethod.PCP)
    (late,) = home.gateway.answer(home.questions[0], LOCAL, 1.0)
    home.machine.receive_datagram(late, Endpoint(GATEWAY, SERVER_PORT), 1.0)
    assert home.mapped_by() is MappingMethod.NAT_PMP
    assert home.machine.drops == {GatewayDrop.UNASKED: 1}

    home.run(until=2.0)
    home.machine.stop(2.0)
    home.run(until=3.0)
    assert {"pcp map 0", "natpmp map 0"} <= {what for _, what in home.sent}


@pytest.mark.parametrize("method", sorted(BOTH, key=str))
def test_an_unsolicited_nat_pmp_answer_changes_no_mapping(
    method: MappingMethod,
) -> None:
    home = Home(methods=frozenset({method, MappingMethod.NAT_PMP}))
    home.run()
    lie = bytes.fromhex("0080000000000000") + bytes((6, 6, 6, 6))
    for _ in range(100):
        home.machine.receive_datagram(lie, Endpoint(GATEWAY, SERVER_PORT), 1.0)
    assert home.external() == Endpoint(PUBLIC, PORT)
    assert home.machine.drops == {GatewayDrop.NOT_OURS: 100}


def test_a_useless_new_address_does_not_replace_a_good_one() -> None:
    home = Home(Gateway(lifetime=600), methods=ONLY[MappingMethod.NAT_PMP])
    home.run()
    home.gateway.external = "0.0.0.0"
    home.run(until=400.0)
    assert home.external() == Endpoint(PUBLIC, PORT)
    assert home.machine.drops == {GatewayDrop.ADDRESS: 2}


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.binary(max_size=80)), max_size=20))
def test_garbage_is_counted_and_harmless(arrivals: list[tuple[float, bytes]]) -> None:
    home = Home(Gateway(speaks={MappingMethod.PCP}))
    home.run()
    for at, data in sorted(arrivals):
        home.run(until=at)
        source = Endpoint(GATEWAY, SERVER_PORT)
        home.machine.receive_datagram(data, source, at)
        home.machine.receive_announcement(data, source, at)
    home.run(until=60.0)
    assert home.mapped_by() is MappingMethod.PCP


@settings(deadline=None)
@given(st.data())
def test_no_gateway_can_make_the_machine_flood_or_fail(
    data: st.DataObject,
) -> None:
    """Whatever a gateway answers, at any moment, sends stay bounded in number."""
    home = Home(
        Gateway(speaks=set()),
        methods=data.draw(st.sampled_from([BOTH, *ONLY.values()])),
    )
    home.start()
    actions = data.draw(st.lists(st.sampled_from(Gateway.moods()), max_size=40))
    for mood in actions:
        mood(home.gateway)
        for question in home.questions[-2:]:
            for answer in home.gateway.answer(question, LOCAL, home.now):
                source = Endpoint(GATEWAY, SERVER_PORT)
                home.machine.receive_datagram(answer, source, home.now)
        home.drain()
        home.run(until=home.now + data.draw(st.floats(0, 20)))
    assert len({at for at, _ in home.sent}) <= 20 + 2 * home.now
    due = home.machine.get_timer()
    assert due is None or due >= home.now
