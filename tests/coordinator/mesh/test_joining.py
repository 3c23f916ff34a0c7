"""How a node is let into the mesh, and what it is there."""

from dataclasses import replace

import pytest

from coordinator.mesh.ipam import Networks
from coordinator.mesh.joining import (
    ADMISSION_BURST,
    ADMISSION_RATE,
    make_admissions,
)
from coordinator.mesh.operations import Accepted, Disconnect, Refused, Remove, Rename
from meshwg.wire.control import ErrorCode
from tests.coordinator.mesh.drafting import Mesh, join


def test_a_stolen_key_lets_in_only_so_many_nodes_at_once() -> None:
    bench, admissions = Mesh(), make_admissions()
    text = str(bench.text)
    accepted = 0
    for second in range(20):
        bench.unix_time = 1000.0 + second
        draft = bench.draft(admissions)
        joins = [join(f"k{second}-{n}", auth_key=text) for n in range(67)]
        results = [draft.perform(each) for each in joins]
        accepted += sum(isinstance(result, Accepted) for result in results)
        refused = [each for each in results if isinstance(each, Refused)]
        assert {each.code for each in refused} <= {ErrorCode.TRY_AGAIN}
        bench.auth_keys |= draft.auth_keys
        bench.registry.apply(draft.changes)
    assert accepted <= ADMISSION_BURST + 20 * ADMISSION_RATE
    again = join("k0-0", auth_key=text)
    assert isinstance(bench.draft(admissions).perform(again), Accepted)


def test_a_node_remembers_the_key_that_let_it_in() -> None:
    bench = Mesh()
    assert bench.join("a").auth_key == bench.text.number
    assert bench.node(join("a", auth_key=None)).auth_key == bench.text.number


def test_a_node_with_an_auth_key_becomes_a_member() -> None:
    mesh = Mesh()
    node = mesh.join("a", name="Alice's laptop")
    assert (node.name, node.online, node.version) == ("alice-s-laptop", True, 1)
    assert mesh.registry.names["alice-s-laptop"] == "a"
    assert mesh.registry.nodes["a"] == node


def test_a_node_without_an_auth_key_is_refused() -> None:
    mesh = Mesh()
    assert mesh.refusal(join("a", auth_key=None)) is ErrorCode.NOT_A_MEMBER
    assert len(mesh.registry) == 0
    assert mesh.registry.version == 0


def test_a_member_returns_to_its_name_and_address_without_an_auth_key() -> None:
    mesh = Mesh()
    before = mesh.join("a", name="alice")
    mesh.do(Disconnect("a", before.session, left=True))
    after = mesh.node(join("a", name="alice", auth_key=None, session="s2"))
    assert (after.name, after.number) == (before.name, before.number)
    assert after.online


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"expires": 0.0}, ErrorCode.TOKEN_EXPIRED),
        ({"revoked": True}, ErrorCode.TOKEN_REVOKED),
        ({"reusable": False, "uses": 1}, ErrorCode.TOKEN_USED),
        ({"digest": "0" * 64}, ErrorCode.TOKEN_UNKNOWN),
    ],
)
def test_a_bad_auth_key_is_refused_with_its_reason(
    change: dict[str, object], code: ErrorCode
) -> None:
    mesh = Mesh()
    number = mesh.text.number
    mesh.auth_keys[number] = replace(mesh.auth_keys[number], **change)  # type: ignore[arg-type]
    assert mesh.refusal(join("a", auth_key=str(mesh.text))) is code


@pytest.mark.parametrize("text", ["", "x", "00", "0" * 12 + "." + "0" * 32, "é.é"])
def test_an_unknown_auth_key_is_refused(text: str) -> None:
    assert Mesh().refusal(join("a", auth_key=text)) is ErrorCode.TOKEN_UNKNOWN


def test_a_single_use_key_admits_one_node_even_in_one_transaction() -> None:
    mesh = Mesh(reusable=False)
    key = str(mesh.text)
    first, second = mesh.do(join("a", auth_key=key), join("b", auth_key=key))
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    assert second.code is ErrorCode.TOKEN_USED
    assert mesh.auth_keys[mesh.text.number].uses == 1


def test_a_join_whose_answer_was_lost_can_be_repeated_with_the_same_key() -> None:
    mesh = Mesh(reusable=False)
    first = mesh.join("a")
    again = mesh.node(join("a", auth_key=str(mesh.text), session="s2"))
    assert again.number == first.number
    assert mesh.auth_keys[mesh.text.number].uses == 1


def test_two_nodes_of_one_name_are_distinguished_and_the_later_one_is_told() -> None:
    mesh = Mesh()
    assert mesh.join("a", name="web").name == "web"
    result = mesh.do(join("b", name="web", auth_key=str(mesh.text)))[0]
    assert isinstance(result, Accepted)
    assert result.node is not None
    assert result.node.name == "web-2"
    assert "web-2" in result.notice


def test_two_nodes_of_one_name_are_distinguished_in_one_transaction_too() -> None:
    mesh = Mesh()
    key = str(mesh.text)
    mesh.do(join("a", name="web", auth_key=key), join("b", name="web", auth_key=key))
    assert set(mesh.registry.names) == {"web", "web-2"}
    assert len(mesh.registry.numbers) == 2


def test_a_node_keeps_the_name_that_an_administrator_gave_it() -> None:
    mesh = Mesh()
    mesh.join("a", name="web")
    mesh.do(Rename("web", "shop"))
    again = mesh.node(join("a", name="web", auth_key=None))
    assert again.name == "shop"


def test_a_node_that_calls_itself_something_new_is_renamed() -> None:
    mesh = Mesh()
    mesh.join("a", name="web")
    assert mesh.node(join("a", name="mail", auth_key=None)).name == "mail"


def test_a_mesh_without_free_addresses_refuses_and_uses_up_no_key() -> None:
    mesh = Mesh(networks=Networks.parse("10.0.0.0/30", "fd00::/64"), reusable=True)
    mesh.join("a")
    mesh.join("b")
    code = mesh.refusal(join("c", auth_key=str(mesh.text)))
    assert code is ErrorCode.MESH_FULL
    assert mesh.auth_keys[mesh.text.number].uses == 2
    mesh.do(Remove("a"))
    mesh.join("c")


def test_an_unknown_role_is_an_ordinary_node() -> None:
    mesh = Mesh()
    assert mesh.node(join("a", auth_key=str(mesh.text), role="king")).role == "node"


def test_only_a_token_for_hubs_lets_a_hub_in_that_nobody_approves() -> None:
    mesh, for_hubs = Mesh(), Mesh(hub=True)
    wish = join("a", auth_key=str(mesh.text), role="hub")

    node = mesh.node(wish)

    assert node.role == "node"
    assert [each.item for each in node.withheld] == ["hub"]
    hub = for_hubs.node(replace(wish, auth_key=str(for_hubs.text)))
    assert hub.role == "hub"
    assert hub.withheld == ()
    assert for_hubs.node(replace(wish, auth_key=None, role="node")).role == "node"
    assert for_hubs.node(replace(wish, auth_key=None)).role == "hub"


def test_only_approved_routes_are_told_to_peers() -> None:
    mesh = Mesh(approved=("10.42.0.0/16", "fd42::/16"))
    routes = ("10.42.7.0/24", "10.43.0.0/24", "0.0.0.0/0", "fd42:1::/32", "::/0")
    node = mesh.node(join("a", auth_key=str(mesh.text), routes=routes))
    assert node.routes == ("10.42.7.0/24", "fd42:1::/32")


def test_a_default_route_is_not_announced_even_if_everything_is_approved() -> None:
    mesh = Mesh(approved=("0.0.0.0/0", "::/0"))
    routes = ("0.0.0.0/0", "::/0", "10.42.7.0/24")
    node = mesh.node(join("a", auth_key=str(mesh.text), routes=routes))
    assert node.routes == ("10.42.7.0/24",)
