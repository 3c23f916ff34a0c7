"""Each class is told what it may see, by messages that are made once."""

import random
from typing import Any

from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import ApplyPolicy, Assign, Operation
from coordinator.mesh.policies import User
from coordinator.mesh.views import Views
from meshwg.control.netmap import PeerTable
from meshwg.wire import control
from meshwg.wire.control import decode_from_coordinator
from meshwg.wire.digest import format_digest
from tests.coordinator.mesh.drafting import Mesh
from tests.coordinator.policy.policies import ALICE, BOB

POLICY = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db"]
ports = ["tcp/5432"]
note = "ticket"
"""
KEYS = [f"{letter * 42}A=" for letter in "ABCDEFGH"]


def test_without_a_policy_all_have_one_view_and_no_message() -> None:
    stage = Stage()

    view = stage.views.of(KEYS[0])

    assert view is stage.views.of(KEYS[1])
    assert (view.policy, view.seen, view.digest) == (b"", "", "")
    assert stage.views.itself(KEYS[0]) is None


def test_nodes_of_a_class_share_a_view_and_others_have_their_own() -> None:
    stage = Stage(POLICY)

    assert stage.views.of(KEYS[0]) is stage.views.of(KEYS[1])
    assert stage.views.of(KEYS[0]) is not stage.views.of(KEYS[2])
    assert stage.seen(KEYS[0]) == {"n3"}
    assert stage.seen(KEYS[3]) == {"n0", "n1"}
    assert stage.seen(KEYS[2]) == set()


def test_a_class_is_told_its_own_rules_in_a_message_that_nodes_understand() -> None:
    stage = Stage(POLICY)

    message = decode_from_coordinator(stage.views.of(KEYS[3]).policy)

    assert isinstance(message, control.PolicyMessage)
    (rule,) = message.rules
    assert rule.destinations == (message.own,)
    assert (rule.ports, rule.line, rule.note) == (("tcp/5432",), 2, "ticket")
    labels = {each.number: each.labels for each in message.classes}
    assert labels == {message.own: ("tag:db",), rule.sources[0]: (ALICE,)}
    other = decode_from_coordinator(stage.views.of(KEYS[2]).policy)
    assert isinstance(other, control.PolicyMessage)
    assert other.rules == ()


def test_who_is_not_seen_by_his_own_class_is_told_of_himself() -> None:
    stage = Stage(POLICY)

    itself = stage.views.itself(KEYS[3])

    assert itself is not None
    message = decode_from_coordinator(stage.views.entry(itself))
    assert isinstance(message, control.ItselfMessage)
    assert message.peer.name == "n3"


def test_a_join_costs_the_same_for_every_view_that_sees_it_and_nothing_for_others() -> (
    None
):
    stage = Stage(POLICY)
    views = [stage.views.of(key) for key in (KEYS[0], KEYS[2], KEYS[3])]
    for view in views:
        view.history.full()
    built = [view.history.built for view in views]
    version = [view.history.version for view in views]

    stage.add(KEYS[4], owner=ALICE)

    assert [stage.views.of(key) for key in (KEYS[0], KEYS[2], KEYS[3])] == views
    told = [
        view.history.since(before) for view, before in zip(views, version, strict=True)
    ]
    assert [len(each) for each in told] == [0, 0, 1]
    assert [v.history.built - b for v, b in zip(views, built, strict=True)] == [0, 0, 1]


def test_a_view_in_which_the_same_is_seen_keeps_its_history() -> None:
    stage = Stage(POLICY)
    before = stage.views.of(KEYS[0])

    stage.do(ApplyPolicy(POLICY.replace("5432", "5433"), "me"))

    after = stage.views.of(KEYS[0])
    assert after.history is before.history
    assert after.seen == before.seen
    assert after.digest != before.digest


def test_who_gets_out_of_sight_is_removed_and_who_comes_into_it_appears() -> None:
    stage = Stage(POLICY)
    view = stage.views.of(KEYS[0])
    version = view.history.version

    stage.do(Assign("n3", "", ("web",)), Assign("n2", "", ("db",)))

    (payload,) = view.history.since(version)
    delta = decode_from_coordinator(payload)
    assert isinstance(delta, control.Delta)
    assert [each.name for each in delta.changed] == ["n2"]
    assert delta.removed == (KEYS[3],)


def test_views_are_those_of_every_pair_at_every_version() -> None:
    rng = random.Random(7)
    stage = Stage()
    policies = [POLICY, POLICY.replace("tag:db", "any"), POLICY.replace("alice", "bob")]
    tables: dict[str, Any] = {}
    for turn in range(60):
        key = rng.choice(KEYS)
        if key not in stage.mesh.registry.nodes:
            stage.add(key, owner=rng.choice((ALICE, BOB, "")))
        elif turn % 7 == 3:
            stage.do(ApplyPolicy(rng.choice(policies) + f"# {turn}", "me"))
        else:
            name = stage.mesh.registry.nodes[key].name
            stage.do(
                Assign(name, rng.choice((ALICE, BOB, "")), rng.choice(((), ("db",))))
            )
        stage.follow(tables)
        for key, (table, _) in tables.items():
            assert {each.name for each in table.peers} == stage.expected(key)
            assert table.digest == format_digest(stage.views.of(key).history._digest)


class Stage:
    """A mesh of four nodes: two of alice's, one of bob's, and a database."""

    def __init__(self, policy: str = "") -> None:
        self.mesh = Mesh()
        self.mesh.users = {name: User(name, 0.0) for name in (ALICE, BOB)}
        networks = self.mesh.registry.networks
        self.views = Views(self.mesh.registry, NetMapHistory(networks))
        self.add(KEYS[0], owner=ALICE)
        self.add(KEYS[1], owner=ALICE)
        self.add(KEYS[2], owner=BOB)
        self.add(KEYS[3], tags=("db",))
        if policy:
            self.do(ApplyPolicy(policy, "me"))

    def add(self, key: str, *, owner: str = "", tags: tuple[str, ...] = ()) -> None:
        self.do_draft(self.mesh.joining(key, f"n{KEYS.index(key)}"))
        self.do(Assign(key, owner, tags))

    def do(self, *operations: Operation) -> None:
        self.do_draft(operations)

    def do_draft(self, operations: Any) -> None:
        draft = self.mesh.draft()
        for operation in operations:
            draft.perform(operation)
        self.mesh.auth_keys |= draft.auth_keys
        if draft.is_new_version:
            self.mesh.registry.apply(draft.changes)
            self.views.apply(draft.changes)

    def seen(self, key: str) -> set[str]:
        """Return the names of the others in a node's netmap."""
        table = PeerTable(key)
        for payload in self.views.of(key).history.full():
            take(table, payload)
        return {each.name for each in table.peers}

    def expected(self, key: str) -> set[str]:
        """Return whom a node sees, as a look at every pair says."""
        registry = self.mesh.registry
        me = registry.nodes[key]
        policy = registry.policy
        found = set()
        for other in registry.nodes.values():
            if other is me:
                continue
            pairs = ((me.subject, other.subject), (other.subject, me.subject))
            if policy is None or any(
                policy.policy.is_source(rule, a)
                and policy.policy.is_destination(rule, a, b)
                for rule in policy.policy.document.allows
                for a, b in pairs
            ):
                found.add(other.name)
        return found

    def follow(self, tables: dict[str, Any]) -> None:
        """Tell every node what is new, as its connection would."""
        for key in self.mesh.registry.nodes:
            view = self.views.of(key)
            table, history = tables.get(key, (PeerTable(key), None))
            version = table.version if history is view.history else -1
            for payload in view.history.since(version):
                take(table, payload)
            tables[key] = table, view.history


def take(table: PeerTable, payload: bytes) -> None:
    message = decode_from_coordinator(payload)
    if isinstance(message, control.NetMap):
        table.replace(message)
    else:
        assert isinstance(message, control.Delta)
        assert table.update(message) is not None
