"""Of several nodes that announce a network, the first has it."""

import pytest

from coordinator.mesh.operations import Accepted, Disconnect, Expire, Remove
from tests.coordinator.mesh.drafting import Mesh, join

SITE = "10.42.0.0/16"
APPROVED = ("10.0.0.0/8", "100.64.0.0/10", "0.0.0.0/0", "::/0")


def test_the_first_that_announces_a_network_keeps_it() -> None:
    mesh = Mesh(approved=APPROVED)
    announce(mesh, "owner", SITE)

    announce(mesh, "thief", SITE)
    announce(mesh, "owner", SITE)

    assert routes(mesh) == {"owner": (SITE,), "thief": ()}


def test_who_does_not_get_a_network_is_told_why() -> None:
    mesh = Mesh(approved=("10.0.0.0/8",))
    announce(mesh, "owner", SITE)

    assert announce(mesh, "thief", SITE).endswith(f"{SITE}: owner has it already")
    assert "part of" in announce(mesh, "thief", "10.42.7.0/24")
    assert "approved" in announce(mesh, "far", "192.168.1.0/24")
    assert "nor of 2 more" in announce(mesh, "far", "1.0.0.0/8", "2.0.0.0/8", "::/0")
    assert announce(mesh, "owner", SITE) == ""


def test_a_part_of_anothers_network_takes_nothing_from_it() -> None:
    mesh = Mesh(approved=("10.0.0.0/8", "10.42.9.0/24"))
    announce(mesh, "owner", SITE)
    announce(mesh, "thief", "10.42.0.0/17", "10.42.128.0/17", "10.43.0.0/16")
    announce(mesh, "branch", "10.42.9.0/24")

    # An administrator named the branch's network.
    assert routes(mesh) == {
        "owner": (SITE,),
        "thief": ("10.43.0.0/16",),
        "branch": ("10.42.9.0/24",),
    }


@pytest.mark.parametrize("end", ["removed", "expired", "announces it no more"])
def test_a_network_that_nobody_has_any_more_goes_to_the_next(end: str) -> None:
    mesh = Mesh(approved=APPROVED)
    announce(mesh, "owner", SITE)
    mesh.unix_time += 1
    announce(mesh, "second", SITE)
    mesh.unix_time += 1
    announce(mesh, "third", SITE)

    if end == "removed":
        mesh.do(Remove("owner"))
    elif end == "expired":
        mesh.do(Expire("owner"))
    else:
        announce(mesh, "owner")

    had = routes(mesh)
    assert (had.get("owner", ()), had["second"], had["third"]) == ((), (SITE,), ())
    assert mesh.registry.nodes["second"].version == mesh.registry.version


def test_a_network_stays_with_its_owner_while_that_is_away() -> None:
    mesh = Mesh(approved=APPROVED)
    announce(mesh, "owner", SITE)
    mesh.do(Disconnect("owner", "s1", left=False))
    announce(mesh, "thief", SITE)

    assert routes(mesh) == {"owner": (SITE,), "thief": ()}


@pytest.mark.parametrize(
    "wide",
    ["0.0.0.0/1", "128.0.0.0/1", "::/1", "100.64.0.0/10", "100.64.0.1/32", "fd00::/16"],
)
def test_not_even_with_a_wide_approval_is_the_mesh_or_everything_behind_a_node(
    wide: str,
) -> None:
    mesh = Mesh(approved=APPROVED)
    announce(mesh, "thief", wide, SITE)
    assert routes(mesh) == {"thief": (SITE,)}


def announce(mesh: Mesh, name: str, *announced: str) -> str:
    """Let a node come with what it announces; return its notice."""
    (result,) = mesh.do(
        join(name, name=name, auth_key=str(mesh.text), routes=announced)
    )
    assert isinstance(result, Accepted), result
    return result.notice


def routes(mesh: Mesh) -> dict[str, tuple[str, ...]]:
    """Return what each node has."""
    return {node.name: node.routes for node in mesh.registry.nodes.values()}
