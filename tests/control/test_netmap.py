"""The peer table: netmaps, deltas and their digest, whatever the order of things."""

from hypothesis import given
from hypothesis import strategies as st

from meshwg.control.netmap import PeerTable
from meshwg.keys import format_key
from meshwg.wire.control import (
    Delta,
    NetMap,
    PeerEntry,
    Registered,
    load_cache,
)
from meshwg.wire.digest import format_digest, peer_digest

KEYS = [format_key(bytes([number]) * 32) for number in range(8)]
OWN_KEY = KEYS[0]


@given(st.lists(st.lists(st.tuples(st.sampled_from(KEYS), st.booleans()), max_size=4)))
def test_deltas_lead_where_the_whole_netmap_leads(
    steps: list[list[tuple[str, bool]]],
) -> None:
    table, truth = PeerTable(OWN_KEY), dict[str, PeerEntry]()
    for version, step in enumerate(steps, 1):
        changed, removed = dict[str, PeerEntry](), list[str]()
        for key, present in step:
            changed.pop(key, None)
            if present:
                changed[key] = truth[key] = peer(key, version)
            elif truth.pop(key, None) is not None:
                removed.append(key)
        delta = Delta(
            base=version - 1,
            version=version,
            digest=digest_of(truth),
            changed=tuple(changed.values()),
            removed=tuple(key for key in removed if key not in changed),
        )
        change = table.update(delta)
        assert change is not None
        assert change.consistent
        assert {each.public_key: each for each in table.nodes} == truth
    whole = PeerTable(OWN_KEY)
    whole.replace(netmap(len(steps), truth))
    assert whole.digest == table.digest


def test_a_delta_applies_to_any_version_it_covers() -> None:
    truth = {key: peer(key, 4) for key in KEYS[:3]}
    for version in range(2, 6):
        table = PeerTable(OWN_KEY)
        table.replace(netmap(version, truth))
        everything = tuple(truth.values())
        delta = Delta(base=2, version=5, digest=digest_of(truth), changed=everything)
        change = table.update(delta)
        assert change is not None
        assert change.consistent
        assert table.version == 5


def test_a_delta_from_the_future_or_the_past_does_not_apply() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(5, {}))
    assert table.update(Delta(base=6, version=7, digest="")) is None
    assert table.update(Delta(base=2, version=4, digest="")) is None
    assert table.version == 5


def test_removing_an_unknown_node_makes_no_difference() -> None:
    table = PeerTable(OWN_KEY)
    delta = Delta(base=0, version=1, digest=format_digest(0), removed=(KEYS[3],))
    change = table.update(delta)
    assert change is not None
    assert change.peers.removed == ()


def test_the_node_itself_is_not_a_peer() -> None:
    table = PeerTable(OWN_KEY)
    change = table.replace(netmap(1, {key: peer(key, 1) for key in KEYS[:2]}))
    assert [each.public_key for each in table.peers] == [KEYS[1]]
    assert change.itself == peer(OWN_KEY, 1)
    assert table.clear().removed == (KEYS[1],)


def test_a_table_survives_the_disk() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(7, {key: peer(key, 1) for key in KEYS}))
    registered = Registered(epoch="e", name="n", addresses=(), networks=())
    again = PeerTable(OWN_KEY)
    again.load(load_cache(table.cache(registered)))
    assert (again.nodes, again.version, again.digest) == (
        table.nodes,
        table.version,
        table.digest,
    )


def peer(key: str, version: int) -> PeerEntry:
    addresses = ("100.64.0.1", "fd00::1")
    return PeerEntry(public_key=key, name="n", addresses=addresses, version=version)


def digest_of(truth: dict[str, PeerEntry]) -> str:
    digest = 0
    for each in truth.values():
        digest ^= peer_digest(each.public_key, each.version)
    return format_digest(digest)


def netmap(version: int, truth: dict[str, PeerEntry]) -> NetMap:
    peers = tuple(truth.values())
    return NetMap(version=version, digest=digest_of(truth), peers=peers)
