"""What a node was told of its mesh."""

from collections import deque
from dataclasses import replace

from meshwg.control.briefing import TOLD_AT_ONCE, Briefing
from meshwg.control.events import (
    ControlEvent,
    PeersChanged,
    PolicyChanged,
    RecordsChanged,
    SelfChanged,
)
from meshwg.keys import format_key
from meshwg.wire import control
from meshwg.wire.control import PeerEntry, PolicyMessage, Records
from meshwg.wire.digest import format_digest, peer_digest
from meshwg.wire.dnsrecords import DnsRecord
from tests.control.link import OTHER_KEY, OWN_KEY, REGISTERED

POLICY = PolicyMessage(version=2, sha256="0" * 64, own=7, view="v.1")
API = DnsRecord(name="api", kind="A", value="10.0.0.5")
ITSELF = PeerEntry(
    public_key=OWN_KEY, name="node", addresses=REGISTERED.addresses, version=1
)


class Listener:
    """A briefing that has begun, and what it has told."""

    def __init__(self, registered: control.Registered = REGISTERED) -> None:
        self.events: deque[ControlEvent] = deque()
        self.briefing = Briefing(OWN_KEY, self.events, None)
        self.briefing.begin(registered)

    def hear(self, message: control.FromCoordinator) -> list[ControlEvent]:
        """Return what is told of a message that adds up."""
        assert self.briefing.receive(message)
        return self.drain()

    def drain(self) -> list[ControlEvent]:
        found = list(self.events)
        self.events.clear()
        return found


def netmap(*peers: PeerEntry, version: int = 1) -> control.NetMap:
    digest = 0
    for peer in peers:
        digest ^= peer_digest(peer.public_key, peer.version)
    return control.NetMap(version=version, digest=format_digest(digest), peers=peers)


def test_a_policy_waits_for_the_netmap_that_follows_it() -> None:
    listener = Listener()

    assert listener.hear(POLICY) == []
    assert listener.briefing.view == ""

    assert listener.hear(netmap()) == [PolicyChanged()]
    assert listener.briefing.policy == POLICY
    assert listener.briefing.view == "v.1"
    assert listener.briefing.registered == replace(REGISTERED, policy=2)


def test_a_policy_without_its_netmap_is_void_at_the_next_connection() -> None:
    listener = Listener()
    listener.hear(POLICY)

    listener.briefing.begin(REGISTERED)

    assert listener.hear(netmap()) == []
    assert listener.briefing.policy is None


def test_a_coordinator_without_a_policy_ends_the_one_there_was() -> None:
    listener = Listener()
    listener.hear(POLICY)
    listener.hear(netmap())

    listener.briefing.begin(REGISTERED)

    assert listener.drain() == [PolicyChanged()]
    assert listener.briefing.policy is None
    assert listener.briefing.view == ""


def test_a_policy_that_was_lost_is_missed_at_each_netmap() -> None:
    listener = Listener(replace(REGISTERED, policy=2))

    assert listener.hear(netmap()) == [PolicyChanged()]


def test_the_own_entry_changes_what_this_node_is_called() -> None:
    listener = Listener()
    renamed = replace(ITSELF, name="other")

    assert listener.hear(control.ItselfMessage(peer=renamed)) == [
        SelfChanged(renamed),
        PeersChanged((), ()),
    ]
    assert listener.briefing.registered == replace(REGISTERED, name="other")


def test_what_others_are_told_of_this_node_is_news_and_where_it_is_is_none() -> None:
    listener = Listener()
    assert listener.hear(netmap(ITSELF)) == []

    moved = replace(ITSELF, version=2, online=True)
    assert listener.hear(netmap(moved, version=2)) == []
    for version, entry in enumerate(
        (
            replace(ITSELF, routes=("10.1.0.0/16",)),
            replace(ITSELF, exit=True),
            replace(ITSELF, role="hub"),
            ITSELF,
        ),
        start=3,
    ):
        told = netmap(replace(entry, version=version), version=version)
        assert listener.hear(told) == [PeersChanged((), ())]


def test_what_does_not_add_up_has_to_be_told_again() -> None:
    briefing = Listener().briefing

    assert not briefing.receive(control.Delta(base=5, version=6, digest="0" * 16))
    assert not briefing.receive(control.Delta(base=0, version=1, digest="1" * 16))
    assert not briefing.receive(Records(version=9, base=8))


def test_another_mesh_and_the_end_of_membership_leave_nothing() -> None:
    listener = Listener()
    peer = PeerEntry(public_key=OTHER_KEY, name="b", addresses=(), version=1)
    listener.hear(netmap(peer))
    assert listener.hear(Records(version=3, added=(API,))) == [RecordsChanged()]

    listener.briefing.begin(replace(REGISTERED, epoch="another"))

    assert listener.drain() == [PeersChanged((), (OTHER_KEY,))]
    assert listener.briefing.records.records == ()
    listener.hear(netmap(peer))
    listener.briefing.end()
    assert listener.drain() == [PeersChanged((), (OTHER_KEY,))]
    assert listener.briefing.registered is None
    assert listener.briefing.cache() is None


def test_the_cache_brings_back_what_was_told() -> None:
    listener = Listener()
    listener.hear(POLICY)
    listener.hear(netmap(ITSELF))
    listener.hear(Records(version=3, added=(API,)))
    parts = listener.briefing.cache()
    assert parts is not None

    again = Briefing(OWN_KEY, deque(), control.load_cache(b"".join(parts)))

    assert again.policy == POLICY
    assert again.records.records == (API,)
    assert again.peers.version == 1


def test_what_is_about_something_else_is_left_alone() -> None:
    assert Listener().hear(control.Ping(id=1)) == []


# Slices.


def test_a_policy_is_in_force_with_the_last_slice() -> None:
    listener = Listener()
    listener.hear(POLICY)
    bob, carol = (entry(key, number) for number, key in enumerate("bc", 2))
    first = replace(netmap(bob, version=2), through=9)

    assert listener.hear(first) == [PeersChanged((bob,), (), is_ahead=True)]
    assert listener.briefing.policy is None
    assert listener.briefing.view == POLICY.view, "of which the slices are"

    digest = netmap(bob, carol).digest
    last = control.Delta(base=2, version=9, digest=digest, changed=(carol,))
    assert listener.hear(last) == [
        PeersChanged((carol,), (), is_ahead=True),
        PolicyChanged(),
    ]
    assert listener.briefing.policy == POLICY


def test_slices_go_on_after_another_connection_has_begun() -> None:
    listener = Listener()
    listener.hear(POLICY)
    bob = entry("b", 2)
    listener.hear(replace(netmap(bob, version=2), through=9))

    listener.briefing.begin(REGISTERED)
    assert listener.briefing.view == POLICY.view
    listener.drain()
    last = control.Delta(base=2, version=9, digest=netmap(bob).digest)
    assert PolicyChanged() in listener.hear(last)
    assert listener.briefing.policy == POLICY


def test_a_policy_whose_netmap_never_began_is_forgotten_with_the_connection() -> None:
    listener = Listener()
    listener.hear(POLICY)
    listener.briefing.begin(REGISTERED)
    assert listener.briefing.view == ""
    listener.hear(netmap())
    assert listener.briefing.policy is None


def test_many_peers_are_told_of_in_parts() -> None:
    listener = Listener()
    peers = tuple(entry(str(number), number) for number in range(1, 101))
    told = listener.hear(netmap(*peers, version=100))
    changes = [each for each in told if isinstance(each, PeersChanged)]
    assert max(len(each.changed) for each in changes) == TOLD_AT_ONCE
    assert tuple(peer for each in changes for peer in each.changed) == peers

    gone = listener.hear(netmap(version=101))
    changes = [each for each in gone if isinstance(each, PeersChanged)]
    assert max(len(each.removed) for each in changes) == TOLD_AT_ONCE
    assert sum(len(each.removed) for each in changes) == len(peers)


def entry(name: str, version: int) -> PeerEntry:
    key = format_key(name.encode().ljust(32, b"x"))
    return PeerEntry(public_key=key, name=name, addresses=(), version=version)
