"""The compiled data path against the one in Python, and what follows when it fails.

All tests of engines run over it, too (see ``conftest.py``). Here both get the same
random sequences of what may happen to a data path, and everything that comes out has to
be the same, every counter included.
"""

import importlib
import random

import pytest

from meshwg.wireguard.constants import REJECT_AFTER_MESSAGES
from meshwg.wireguard.core_datapath import (
    JUDGED_AT_ONCE,
    SKIPPED_COUNTERS,
    CoreDatapath,
)
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import flow_key
from tests import datapaths
from tests.wireguard.pair import ipv4
from tests.wireguard.steps import (
    ENDPOINTS,
    NOW,
    OWN,
    PEERS,
    Steps,
    Verdicts,
    make_session,
)

needs_core = pytest.mark.skipif(
    not datapaths.has_core(), reason="the compiled core is not installed"
)
pytestmark = needs_core


@pytest.mark.parametrize("seed", range(15))
def test_both_do_the_same_with_whatever_happens(seed: int) -> None:
    steps = Steps(seed)
    for _ in range(60):
        steps.do_one()
        steps.compare()


@pytest.mark.parametrize("seed", range(15))
def test_both_let_the_same_pass_with_a_filter(seed: int) -> None:
    steps = Steps(seed)
    steps.filter()
    for _ in range(60):
        steps.do_one()
        steps.compare()


def test_both_have_the_same_keys_of_flows() -> None:
    module, pick = importlib.import_module("meshwg_core"), random.Random(1)
    kinds = set()
    for _ in range(20_000):
        packet = bytearray(
            pick.randbytes(pick.choice([27, 28, 39, 40, 48, 59, 60, 90]))
        )
        packet[0] = pick.choice([0x45, 0x45, 0x46, 0x60, 0x6F, packet[0]])
        packet[6:8] = pick.choice([b"\0\0", b"\x40\0", b"\x20\0", packet[6:8]])
        place = 9 if packet[0] < 0x50 else 6
        packet[place] = pick.choice([1, 6, 17, 58, packet[place]])
        for place, values in (20, [0, 8, 3]), (40, [128, 129, 1]):
            if len(packet) > place:
                packet[place] = pick.choice([*values, packet[place]])
        key = flow_key(bytes(packet))
        kinds.add(None if key is None else len(key))
        assert module.flow_key(bytes(packet)) == key
    assert kinds == {None, 13, 11, 37, 35}


def test_what_waits_when_the_filter_goes_passes() -> None:
    steps = Steps(6)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    core.set_filter(Verdicts())
    core.core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.datagrams_to_send() == []
    core.set_filter(None)
    assert len(core.datagrams_to_send()) == 1


def test_what_is_taken_up_is_judged_in_bounded_portions() -> None:
    steps = Steps(7)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    core.core.receive_packets([ipv4(OWN, PEERS[0])] * (JUDGED_AT_ONCE + 1), NOW)
    core.take_exceptions()
    assert core.taken == JUDGED_AT_ONCE
    core.take_exceptions()
    assert core.taken == JUDGED_AT_ONCE + 1


def test_a_new_generation_is_noticed_without_any_packet_to_judge() -> None:
    steps = Steps(8)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    packet = passing(verdicts)
    core.receive_packets([packet], NOW)
    core.core.receive_packets([packet], NOW)
    assert core.core.take_unjudged(9) == []
    verdicts.generation += 1
    core.take_notes()
    core.core.receive_packets([packet], NOW)
    assert len(core.core.take_unjudged(9)) == 1


def test_after_a_failure_the_filter_stays() -> None:
    steps = Steps(9)
    core, verdicts = steps.ours, Verdicts()
    assert isinstance(core, CoreDatapath)
    core.set_filter(verdicts)
    waits = passing(verdicts)
    core.core.receive_packets([waits], NOW)
    core.fall_back("a test wants it")
    core.take_exceptions()
    assert len(core.datagrams_to_send()) == 1
    core.receive_packets([waits, refused(verdicts)], NOW)
    transmit, _answer = core.datagrams_to_send()
    assert len(transmit.datagrams) == 1
    assert core.drops[Drop.DENIED_OUTBOUND] == 1


def test_keepalives_and_data_are_told_apart() -> None:
    steps = Steps(1)
    steps.receive([steps.far[0].message(b""), steps.far[0].message(b"")], ENDPOINTS[0])
    (note,) = notes_of(steps.ours)
    assert note[4] is False


def test_if_it_fails_python_goes_on_with_the_same_sessions() -> None:
    steps = Steps(2)
    core, far = steps.ours, steps.far[0]
    assert isinstance(core, CoreDatapath)
    used = far.message(ipv4(PEERS[0], OWN))
    core.receive_datagrams([used], ENDPOINTS[0], NOW)
    core.receive_packets([ipv4(OWN, PEERS[0])] * 3, NOW)
    before = core.datagrams_to_send()
    core.packets_to_write()
    core.fall_back("a test wants it")
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    (transmit,) = core.datagrams_to_send()
    assert transmit.destination == before[0].destination
    assert far.opens(transmit.datagrams)
    assert counter(transmit.datagrams[0]) == 3 + SKIPPED_COUNTERS
    core.receive_datagrams([used, far.message(ipv4(PEERS[0], OWN))], ENDPOINTS[0], NOW)
    assert len(core.packets_to_write()) == 1
    assert core.drops[Drop.REPLAY] == 1


def test_a_failure_at_the_end_of_the_counters_uses_none_twice() -> None:
    steps = Steps(3)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    steps.sessions[0][0].sent = REJECT_AFTER_MESSAGES - 1
    core.fall_back("a test wants it")
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.datagrams_to_send() == []
    assert len(core.take_unsent()) == 1


def test_sessions_made_after_a_failure_work() -> None:
    core = datapaths.core()
    assert isinstance(core, CoreDatapath)
    core.fall_back("a test wants it")
    session = make_session(core, 0, is_initiator=True)
    lane = core.add_lane()
    core.add_session(lane, session)
    core.seal_with(lane, session)
    core.steer(lane, ENDPOINTS[0])
    assert core.seal(lane, [b"packet"], NOW)[0] == 1
    assert len(core.datagrams_to_send()) == 1


def test_a_panic_inside_a_call_is_such_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = Steps(4)
    core = steps.ours
    assert isinstance(core, CoreDatapath)
    broken = Panicking(core.core)
    monkeypatch.setattr(core, "core", broken)
    core.receive_packets([ipv4(OWN, PEERS[0])], NOW)
    assert core.failure == "it broke"
    assert len(core.datagrams_to_send()) == 1


def test_notes_of_a_lane_that_was_removed_are_nobodys() -> None:
    steps = Steps(5)
    steps.receive([steps.far[0].message(b"")], ENDPOINTS[0])
    for path, lanes in steps.both:
        path.remove_session(steps.sessions[0][0 if path is steps.ours else 1])
        path.remove_lane(lanes[0])
    assert steps.ours.take_notes() == []


def passing(verdicts: Verdicts) -> bytes:
    """Return a packet of a flow that passes for a while."""
    return next(
        packet
        for packet in map(udp_from, range(100))
        if verdicts.judge(packet, NOW, inbound=False) > NOW
    )


def refused(verdicts: Verdicts) -> bytes:
    """Return a packet that does not pass."""
    return next(
        packet
        for packet in map(udp_from, range(100))
        if verdicts.judge(packet, NOW, inbound=False) < 0
    )


def udp_from(port: int) -> bytes:
    """Return a packet to the first peer from that port."""
    return ipv4(OWN, PEERS[0], port.to_bytes(2) + bytes(10))


class Panicking:
    """A core that breaks when it is to carry packets."""

    def __init__(self, core: object) -> None:
        self._core = core

    def __getattr__(self, name: str) -> object:
        return getattr(self._core, name)

    def receive_packets(self, packets: list[bytes], now: float) -> None:
        raise RuntimeError("it broke")


def notes_of(path: Datapath) -> list[tuple[object, ...]]:
    return [*path.take_notes()]


def counter(message: bytes) -> int:
    return int.from_bytes(message[8:16], "little")
