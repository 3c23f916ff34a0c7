"""Which flows count, and which of them a policy would cut."""

from coordinator.mesh.flows import CutFlow, Flow, cut_by
from coordinator.mesh.operations import ApplyPolicy, Assign, NoteFlows, Remove
from coordinator.mesh.policies import ActivePolicy, User, make_version
from coordinator.policy.compile import Policy
from meshwg.wire.control import SeenFlow
from tests.coordinator.mesh.drafting import Mesh, join
from tests.coordinator.policy.policies import ALICE

POLICY = """
[[allow]]
from = ["alice@example.org"]
to = ["tag:db", "10.0.5.0/24"]
ports = ["tcp/22", "tcp/5432", "icmp"]
"""
WITHOUT_SSH = POLICY.replace('"tcp/22", ', "")
HERS, DB, ROUTER = (f"{letter * 42}A=" for letter in "ABC")


def made() -> Mesh:
    mesh = Mesh(approved=("10.0.0.0/8",))
    mesh.users = {ALICE: User(ALICE, 0.0)}
    for key, name, routes in (
        (HERS, "hers", ()),
        (DB, "db", ()),
        (ROUTER, "router", ("10.0.5.0/24",)),
    ):
        mesh.do(join(key, name=name, auth_key=str(mesh.text), routes=routes))
    mesh.do(Assign("hers", ALICE, ()), Assign("db", "", ("db",)))
    mesh.do(ApplyPolicy(POLICY, "me"))
    return mesh


def addresses(mesh: Mesh, key: str) -> tuple[str, str]:
    registry = mesh.registry
    return registry.networks.addresses(registry.nodes[key].number)


def told(mesh: Mesh, key: str, *flows: tuple[str, str, str]) -> dict[Flow, float]:
    """Return what is noted when a node tells of flows."""
    draft = mesh.draft()
    seen = [SeenFlow(source=s, destination=d, port=p) for s, d, p in flows]
    draft.perform(NoteFlows(key, tuple(seen)))
    return draft.flows


def policy(text: str) -> Policy:
    return ActivePolicy(make_version(1, text, "me", 0.0)).policy


def test_nodes_are_named_by_their_keys_in_either_protocol() -> None:
    mesh = made()
    (alice4, alice6), (db4, db6) = addresses(mesh, HERS), addresses(mesh, DB)

    flows = told(mesh, DB, (alice4, db4, "tcp/22"), (alice6, db6, "tcp/22"))

    assert flows == {Flow(HERS, DB, "tcp/22"): mesh.unix_time}


def test_a_node_speaks_for_itself_and_what_is_behind_it() -> None:
    mesh = made()
    (alice, _), (db, _) = addresses(mesh, HERS), addresses(mesh, DB)

    assert told(mesh, HERS, (alice, db, "tcp/22")) == {}
    assert told(mesh, DB, (alice, "10.0.5.9", "tcp/22")) == {}
    assert told(mesh, "stranger", (alice, db, "tcp/22")) == {}
    assert list(told(mesh, ROUTER, (alice, "10.0.5.9", "tcp/22"))) == [
        Flow(HERS, "10.0.5.9", "tcp/22")
    ]


def test_what_is_no_port_is_left_out() -> None:
    mesh = made()
    (alice, _), (db, _) = addresses(mesh, HERS), addresses(mesh, DB)

    assert told(mesh, DB, (alice, db, "tcp/0"), (alice, db, "udp/99999")) == {}


def test_what_a_policy_does_not_allow_any_more_would_be_cut() -> None:
    mesh = made()
    flows = {
        Flow(HERS, DB, "tcp/22"): 5.0,
        Flow(HERS, DB, "tcp/5432"): 6.0,
        Flow(HERS, "10.0.5.9", "tcp/22"): 7.0,
        # It is not allowed today.
        Flow(DB, HERS, "tcp/22"): 8.0,
    }

    found = cut_by(policy(WITHOUT_SSH), policy(POLICY), flows, mesh.registry)

    assert found == [
        CutFlow("hers", "10.0.5.9", "tcp/22", 7.0),
        CutFlow("hers", "db", "tcp/22", 5.0),
    ]
    assert cut_by(policy(POLICY), policy(POLICY), flows, mesh.registry) == []


def test_flows_of_nodes_that_are_gone_are_nobody_s() -> None:
    mesh = made()
    mesh.do(Remove("hers"))
    flows = {Flow(HERS, DB, "tcp/22"): 5.0}

    assert cut_by(policy(WITHOUT_SSH), policy(POLICY), flows, mesh.registry) == []
