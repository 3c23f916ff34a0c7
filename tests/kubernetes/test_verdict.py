"""Whether pods can have their network: each obstacle is one sentence with the mend."""

from dataclasses import replace

import pytest

from meshwg.kubernetes.verdict import (
    MachineView,
    PodSettings,
    host_routes,
    local_obstacle,
    mesh_obstacle,
    pod_network,
)
from meshwg.wire.routes import ApprovalState, RouteState
from tests.kubernetes.cluster import LAN, MESH, PODS, PODS6, mesh, node

CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


@pytest.mark.parametrize(
    ("networks", "machine", "reason", "named"),
    [
        ((), LAN, "NoPodCIDR", "--allocate-node-cidrs"),
        (("10.244.1.9/24",), LAN, "InvalidPodCIDR", "'10.244.1.9/24'"),
        (("127.0.0.0/24",), LAN, "InvalidPodCIDR", "127.0.0.0/24"),
        (("10.0.0.0/7",), LAN, "InvalidPodCIDR", "less than 8 bits"),
        (("192.168.0.0/16",), LAN, "PodCIDROverlapsNetwork", "192.168.1.0/24"),
        (
            (PODS,),
            replace(LAN, files=("10-calico.conflist",)),
            "OtherNetworkList",
            "10-calico.conflist",
        ),
    ],
)
def test_what_on_this_machine_forbids_pods_is_said(
    networks: tuple[str, ...], machine: MachineView, reason: str, named: str
) -> None:
    found = local_obstacle(node(*networks), machine, PodSettings())
    assert found is not None
    assert found.reason == reason
    assert named in found.text
    assert ": " in found.text


def test_lists_that_ours_takes_the_place_of_are_no_obstacle() -> None:
    machine = replace(LAN, files=("10-flannel.conflist", "10-meshwg.conflist"))
    settings = PodSettings(replaces=("10-flannel.conflist",))
    assert local_obstacle(node(PODS, PODS6), machine, settings) is None


def test_only_some_of_many_lists_are_named() -> None:
    machine = replace(LAN, files=tuple(f"{n}.conf" for n in range(9)))
    found = local_obstacle(node(PODS), machine, PodSettings())
    assert found is not None
    assert "0.conf, 1.conf, 2.conf and others" in found.text


def test_pods_cannot_have_addresses_of_the_mesh() -> None:
    found = mesh_obstacle(node("100.64.3.0/24"), mesh())
    assert found is not None
    assert found.reason == "PodCIDROverlapsMesh"
    assert "--network4" in found.text


def test_why_the_mesh_does_not_route_pods_is_said_in_its_words() -> None:
    why = "the cluster gave it to the node n2 as well"
    found = mesh_obstacle(node(PODS), mesh(refused=PODS, reason=why))
    assert found is not None
    assert found.reason == "PodCIDRNotApproved"
    assert found.text == f"The mesh does not route {PODS} to this node: {why}"


def test_a_mesh_that_has_said_nothing_yet_is_no_obstacle() -> None:
    silent = RouteState(prefix=PODS, state=ApprovalState.ADVERTISED)
    view = replace(mesh(), offers=(silent,))
    assert mesh_obstacle(node(PODS), view) is None
    assert pod_network(node(PODS), view, PodSettings()) is None


def test_pods_have_a_network_once_the_mesh_routes_all_of_it() -> None:
    dual = node(PODS, PODS6)
    assert pod_network(dual, mesh(PODS), PodSettings()) is None
    network = pod_network(dual, mesh(PODS, PODS6), PodSettings())
    assert network is not None
    assert network.pod_networks == (PODS, PODS6)
    assert '"mtu": 1400' in network.network_list
    assert '"meshwg0"' in network.rules


def test_hosts_are_reached_through_the_mesh_unless_they_hold_the_api_server() -> None:
    assert host_routes(node(PODS), MESH) == ("192.168.1.7/32",)
    assert host_routes(node(PODS, labels=CONTROL_PLANE), MESH) == ()
    inside = replace(node(PODS), addresses=("100.64.0.9", "fd00:1:2::9"))
    assert host_routes(inside, MESH) == ()
