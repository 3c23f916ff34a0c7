"""Which records the nodes of each class are told of."""

import random

import pytest

from coordinator.mesh.operations import (
    AddRecord,
    ApplyPolicy,
    Assign,
    Operation,
    RemoveRecord,
    Rename,
)
from coordinator.mesh.policies import User
from coordinator.mesh.recordviews import RecordViews, leads_of
from meshwg.control.records import RecordTable
from meshwg.wire.control import Records, decode_from_coordinator
from meshwg.wire.dnsrecords import DnsRecord, read_record
from tests.coordinator.mesh.drafting import Mesh, join
from tests.coordinator.policy.policies import ALICE, BOB

POLICY = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db", "10.0.5.0/24"]
"""
HERS, HIS, DB, ROUTER = (f"{letter * 42}A=" for letter in "ABCD")


class Stage:
    """A mesh of alice, bob, a database and a router, and what they see of records."""

    def __init__(self, policy: str = POLICY) -> None:
        self.mesh = Mesh(approved=("10.0.0.0/8", "0.0.0.0/0"))
        self.mesh.users = {name: User(name, 0.0) for name in (ALICE, BOB)}
        self.views = RecordViews(self.mesh.registry)
        for key, name, routes in (
            (HERS, "hers", ()),
            (HIS, "his", ()),
            (DB, "db", ()),
            (ROUTER, "router", ("10.0.5.0/24", "0.0.0.0/0")),
        ):
            text = str(self.mesh.text)
            self.do(join(key, name=name, auth_key=text, routes=routes))
        self.do(Assign("hers", ALICE, ()), Assign("his", BOB, ()))
        self.do(Assign("db", "", ("db",)))
        if policy:
            self.do(ApplyPolicy(policy, "me"))

    def do(self, *operations: Operation) -> bool:
        """Carry operations out; return whether anybody sees other records."""
        draft = self.mesh.draft()
        for each in operations:
            draft.perform(each)
        self.mesh.auth_keys |= draft.auth_keys
        self.mesh.registry.apply(draft.changes)
        return self.views.apply(draft.changes)

    def add(self, name: str, kind: str, value: str) -> DnsRecord:
        record = read_record(name, kind, value)
        assert self.do(AddRecord(record))
        return record

    def address(self, key: str) -> str:
        registry = self.mesh.registry
        return registry.networks.addresses(registry.nodes[key].number)[0]

    def sees(self, key: str) -> frozenset[int]:
        """Return the classes that a node may see."""
        registry = self.mesh.registry
        assert registry.classes is not None
        return registry.classes.sees(registry.nodes[key].policy_class)

    def seen(self, key: str) -> set[str]:
        """Return the names that a node which holds none is told of."""
        table = RecordTable()
        for payload in self.views.of(key).since(0):
            message = decode_from_coordinator(payload)
            assert isinstance(message, Records)
            table.update(message)
        return {record.name for record in table.records}


def test_without_a_policy_all_are_told_the_same() -> None:
    stage = Stage(policy="")
    stage.add("api", "A", stage.address(DB))

    assert stage.views.of(HERS) is stage.views.of(HIS)
    assert stage.seen(HIS) == {"api"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("CNAME", "db"),
        ("SRV", "0 5 5432 db"),
        ("A", "10.0.5.9"),
    ],
)
def test_a_record_is_for_those_who_may_see_what_it_leads_to(
    kind: str, value: str
) -> None:
    stage = Stage()
    stage.add("api", kind, value)

    assert stage.seen(HERS) == {"api"}
    assert stage.seen(HIS) == set()


def test_an_address_of_a_node_is_for_those_who_may_see_the_node() -> None:
    stage = Stage()
    stage.add("api", "A", stage.address(DB))

    assert stage.seen(HERS) == {"api"}
    assert stage.seen(HIS) == set()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("A", "203.0.113.5"),
        ("AAAA", "2001:db8::5"),
        ("CNAME", "nobody"),
        ("TXT", "hello"),
    ],
)
def test_what_leads_to_no_node_is_for_all(kind: str, value: str) -> None:
    stage = Stage()
    stage.add("web", kind, value)

    assert stage.seen(HERS) == stage.seen(HIS) == {"web"}


def test_names_are_followed_over_others_also_in_circles() -> None:
    stage = Stage()
    stage.add("a", "CNAME", "b")
    stage.add("b", "CNAME", "c")
    stage.add("c", "CNAME", "db")
    stage.add("x", "CNAME", "y")
    stage.add("y", "CNAME", "x")

    assert stage.seen(HERS) == {"a", "b", "c", "x", "y"}
    assert stage.seen(HIS) == {"x", "y"}


def test_a_text_follows_the_node_or_the_records_of_its_name() -> None:
    stage = Stage()
    stage.add("db", "TXT", "of the node")
    stage.add("api", "A", "10.0.5.9")
    stage.add("api", "TXT", "of the name")

    assert stage.seen(HERS) == {"db", "api"}
    assert stage.seen(HIS) == set()


def test_records_come_and_go_with_what_may_be_seen() -> None:
    stage = Stage()
    stage.add("api", "CNAME", "db")
    before = stage.views.of(HIS).version

    stage.do(ApplyPolicy(POLICY.replace("alice", "bob"), "me"))

    assert stage.seen(HIS) == {"api"}
    assert stage.seen(HERS) == set()
    assert stage.views.of(HIS).version > before
    assert stage.do(Rename("db", "store"))
    # The name is nobody's now.
    assert stage.seen(HERS) == {"api"}


def test_who_asks_before_a_change_is_taken_over_is_told_of_it_after() -> None:
    stage = Stage()
    draft = stage.mesh.draft()
    draft.perform(AddRecord(read_record("api", "CNAME", "db")))
    stage.mesh.registry.apply(draft.changes)

    early = stage.views.of(HERS)
    assert early.since(0) == []
    assert stage.views.apply(draft.changes)

    assert stage.views.of(HERS) is early
    assert stage.seen(HERS) == {"api"}


def test_what_no_record_follows_is_no_news() -> None:
    stage = Stage()
    assert not stage.do(Rename("db", "store"))
    stage.add("api", "A", stage.address(DB))

    assert not stage.do(*stage.mesh.joining("E" * 42 + "A=", "new"))
    assert not stage.do(Rename("store", "db"))


def test_histories_are_those_of_every_pair_at_every_version() -> None:
    rng = random.Random(5)
    stage = Stage()
    tables = {key: RecordTable() for key in (HERS, HIS, DB, ROUTER)}
    held = dict.fromkeys(tables, 0)
    views: dict[str, frozenset[int]] = {}
    for _ in range(300):
        stage.do(_anything(rng))
        if rng.random() < 0.5:
            continue
        for key in [each for each in tables if each in stage.mesh.registry.nodes]:
            if held[key] and stage.sees(key) != views.get(key):
                # A node whose view is another one is told everything.
                held[key] = -1
            views[key] = stage.sees(key)
            history = stage.views.of(key)
            for payload in history.since(held[key]):
                message = decode_from_coordinator(payload)
                assert isinstance(message, Records)
                assert tables[key].update(message) is not None
                held[key] = history.version
            assert set(tables[key].records) == _expected(stage, key)


def _anything(rng: random.Random) -> Operation:
    name = rng.choice(["a", "b", "c"])
    target = rng.choice(["a", "b", "db", "his", "router"])
    value = rng.choice(["10.0.5.9", "203.0.113.5"])
    user = rng.choice([ALICE, BOB])
    return rng.choice(
        [
            AddRecord(read_record(name, "CNAME", target)),
            AddRecord(read_record(name, "A", value)),
            AddRecord(read_record(name, "TXT", "x")),
            RemoveRecord(name),
            ApplyPolicy(POLICY.replace(ALICE, user), "me"),
            Rename("db", "store"),
            Rename("store", "db"),
        ]
    )


def _expected(stage: Stage, key: str) -> set[DnsRecord]:
    seen = stage.sees(key)
    return {
        record
        for record, classes in leads_of(stage.mesh.registry).items()
        if classes is None or seen & classes
    }
