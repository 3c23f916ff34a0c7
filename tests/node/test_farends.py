"""Whether hubs forward is measured to the far end, and by nothing else."""

import random

from meshwg.keys import PrivateKey, format_key
from meshwg.node.farends import (
    EAGER_INTERVAL,
    FAILED_INTERVAL,
    FORGIVEN,
    INTERVAL,
    MAX_ASKED,
    PATIENCE,
    FarEnds,
)
from meshwg.peer import MeshPeer
from meshwg.wire import control
from meshwg.wireguard.device import Device

NOW = 1000.0
BOB = "100.64.0.2"


def test_nothing_is_known_until_an_echo_has_come_back() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    assert ends.get_timer() is None

    ends.begin(bob, hub, NOW)
    ((peer, sequence),) = ends.take_due(NOW)

    assert peer is bob
    assert bob.is_forwarded is None
    assert ends.get_timer() == NOW + EAGER_INTERVAL
    ends.answered(sequence, BOB)
    assert bob.is_forwarded is True


def test_a_hub_that_forwards_is_asked_seldom() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    answer(ends, NOW)

    answer(ends, NOW + 1)

    assert ends.get_timer() == NOW + 1 + INTERVAL
    assert ends.take_due(NOW + 2) == []


def test_a_hub_by_which_no_echo_comes_back_has_failed() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)

    for step in range(PATIENCE):
        assert ends.take_due(NOW + step)
        assert bob.is_forwarded is None
    ends.take_due(NOW + PATIENCE)

    assert bob.is_forwarded is False
    assert ends.failed_at(bob, hub) == NOW + PATIENCE
    assert ends.get_timer() == NOW + PATIENCE + FAILED_INTERVAL


def test_a_hub_that_forwards_no_longer_is_noticed() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    answer(ends, NOW)

    for step in range(PATIENCE + 1):
        ends.take_due(NOW + 20 * (step + 1))

    assert bob.is_forwarded is False


def test_one_that_forwards_again_is_believed_again() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    for step in range(PATIENCE + 1):
        ends.take_due(NOW + step)

    answer(ends, NOW + 100)

    assert bob.is_forwarded is True
    assert ends.failed_at(bob, hub) == float("-inf")


def test_a_failure_is_forgiven_after_a_while() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    for step in range(PATIENCE + 1):
        ends.take_due(NOW + step)
    ends.end(bob)

    ends.take_due(NOW + PATIENCE + FORGIVEN - 1)
    assert ends.failed_at(bob, hub) > NOW
    ends.take_due(NOW + PATIENCE + FORGIVEN)
    assert ends.failed_at(bob, hub) == float("-inf")


def test_answers_of_others_or_to_what_nobody_asked_say_nothing() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    ((_, sequence),) = ends.take_due(NOW)

    ends.answered(sequence, "100.64.0.66")
    ends.answered(sequence + 1, BOB)

    assert bob.is_forwarded is None


def test_an_answer_by_the_hub_before_says_nothing_of_the_next() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    _, other = make_peers(seed=2)
    ends.begin(bob, hub, NOW)
    ((_, sequence),) = ends.take_due(NOW)
    ends.end(bob)
    ends.answered(sequence, BOB)
    ends.begin(bob, other, NOW)

    ends.answered(sequence, BOB)

    assert bob.is_forwarded is None


def test_who_has_gone_is_forgotten() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    for step in range(PATIENCE + 1):
        ends.take_due(NOW + step)

    ends.forget(bob)

    assert ends.get_timer() is None
    assert ends.failed_at(bob, hub) == float("-inf")


def test_requests_that_nobody_answers_take_no_room() -> None:
    ends, (bob, hub) = FarEnds(), make_peers()
    ends.begin(bob, hub, NOW)
    first = ends.take_due(NOW)[0][1]

    for step in range(MAX_ASKED):
        ends.take_due(NOW + 20.0 * (step + 1))
    ends.answered(first, BOB)

    assert bob.is_forwarded is False


def answer(ends: FarEnds, now: float) -> None:
    """Let the far end answer all that is asked now."""
    due = ends.take_due(now)
    assert due
    for peer, sequence in due:
        ends.answered(sequence, peer.entry.addresses[0])


def make_peers(seed: int = 1) -> tuple[MeshPeer, MeshPeer]:
    """Return a peer and a hub."""
    seeded = random.Random(seed).randbytes
    device = Device(random=seeded, unix_time=lambda now: now)
    peers = []
    for name, address in (("bob", BOB), ("hub", "100.64.0.9")):
        key = PrivateKey.generate(seeded).public_bytes
        entry = control.PeerEntry(
            public_key=format_key(key), name=name, addresses=(address,), version=1
        )
        peers.append(MeshPeer(entry, device.add_peer(key)))
    return peers[0], peers[1]
