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
from tests.control.link import REGISTERED

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
    again.load(load_cache(b"".join(table.cache(registered))))
    assert (again.nodes, again.version, again.digest) == (
        table.nodes,
        table.version,
        table.digest,
    )


# Slices.


def test_a_netmap_in_slices_is_complete_up_to_each_of_them() -> None:
    table, truth = PeerTable(OWN_KEY), {key: peer(key, 4) for key in KEYS[:6]}
    first, *others = sliced(truth, 2, version=9)
    assert isinstance(first, NetMap)
    change = table.replace(first)
    assert (change.consistent, change.is_last) == (True, False)
    assert (table.version, table.through) == (3, 9)
    lasts = []
    for slice_ in others:
        assert isinstance(slice_, Delta)
        applied = table.update(slice_)
        assert applied is not None
        assert applied.consistent
        lasts.append(applied.is_last)
    assert lasts == [False, True]
    assert (table.version, table.through) == (9, 0)
    assert {each.public_key: each for each in table.nodes} == truth


def test_whoever_is_not_named_is_gone_only_after_the_last_slice() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(2, {KEYS[7]: peer(KEYS[7], 1), KEYS[1]: peer(KEYS[1], 2)}))
    truth = {key: peer(key, 4) for key in KEYS[1:5]}
    first, last = sliced(truth, 2, version=9)
    assert isinstance(first, NetMap)
    assert table.replace(first).peers.removed == ()
    assert table.get(KEYS[7]) is not None
    assert isinstance(last, Delta)
    change = table.update(last)
    assert change is not None
    assert change.peers.removed == (KEYS[7],)
    assert change.consistent


def test_what_is_missing_of_slices_may_come_in_one_message() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(2, {KEYS[7]: peer(KEYS[7], 1)}))
    truth = {key: peer(key, 4) for key in KEYS[1:5]}
    first = sliced(truth, 2, version=9)[0]
    assert isinstance(first, NetMap)
    table.replace(first)
    rest = Delta(
        base=table.version,
        version=10,
        digest=digest_of(truth),
        changed=tuple(truth.values()),
    )
    change = table.update(rest)
    assert change is not None
    assert change.consistent
    assert change.peers.removed == (KEYS[7],)


def test_a_slice_out_of_order_does_not_apply() -> None:
    table = PeerTable(OWN_KEY)
    truth = {key: peer(key, number) for number, key in enumerate(KEYS, 1)}
    first, second, third, *_ = sliced(truth, 2, version=9)
    assert isinstance(first, NetMap)
    assert isinstance(second, Delta)
    assert isinstance(third, Delta)
    table.replace(first)
    assert table.update(third) is None
    assert table.update(second) is not None
    again = table.update(second)
    assert again is not None
    assert again.peers.changed == ()
    assert table.update(third) is not None
    assert table.update(second) is None


def test_a_netmap_that_is_under_way_is_begun_anew_after_a_restart() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(2, {KEYS[7]: peer(KEYS[7], 1)}))
    truth = {key: peer(key, 4) for key in KEYS[1:5]}
    first, last = sliced(truth, 2, version=9)
    assert isinstance(first, NetMap)
    assert isinstance(last, Delta)
    table.replace(first)
    cache = load_cache(b"".join(table.cache(REGISTERED)))
    assert cache.version == 0
    assert KEYS[7] in {each.public_key for each in cache.peers}
    table.update(last)
    assert load_cache(b"".join(table.cache(REGISTERED))).version == 9


def test_what_is_kept_is_of_the_moment_in_which_it_was_asked_for() -> None:
    table = PeerTable(OWN_KEY)
    table.replace(netmap(2, {KEYS[1]: peer(KEYS[1], 1)}))
    parts = table.cache(REGISTERED)
    table.replace(netmap(3, {KEYS[2]: peer(KEYS[2], 3)}))
    cache = load_cache(b"".join(parts))
    assert (cache.version, [each.public_key for each in cache.peers]) == (2, [KEYS[1]])


def sliced(
    truth: dict[str, PeerEntry], size: int, version: int
) -> list[NetMap | Delta]:
    """Return a netmap in slices, as a coordinator makes them."""
    peers = sorted(truth.values(), key=lambda each: each.version)
    starts = range(0, len(peers), size)
    made: list[NetMap | Delta] = []
    base = 0
    for start in starts:
        part = tuple(peers[start : start + size])
        rest = peers[start + size :]
        is_last = not rest
        reached = version if is_last else rest[0].version - 1
        through = None if is_last else version
        digest = digest_of(truth) if is_last else ""
        if start == 0:
            made.append(
                NetMap(version=reached, digest=digest, peers=part, through=through)
            )
        else:
            made.append(
                Delta(
                    base=base,
                    version=reached,
                    digest=digest,
                    changed=part,
                    through=through,
                )
            )
        base = reached
    return made


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
