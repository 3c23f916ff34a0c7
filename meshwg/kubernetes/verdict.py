"""Whether the pods of a node can have their network, and if not, why.

A node has a pod network if the cluster gave it one, if nothing here speaks against it,
and if the mesh lets it have it. As long as something is not known yet there is no
verdict, and all stays as it is: neither the API server nor the coordinator has to be
there for pods to go on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network

from meshwg import prefixes
from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.kubernetes.masquerade import masquerading
from meshwg.kubernetes.networklist import BRIDGE, NAME, foreign_lists, network_list
from meshwg.wire.routes import ApprovalState, RouteState

MAX_NAMED = 3
"""Files that a sentence names."""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the administrator decides on the pods of one node."""

    bridge: str = BRIDGE
    network_name: str = NAME
    replaces: tuple[str, ...] = ()
    """Network lists of another program that ours takes the place of."""
    encrypts_hosts: bool = False
    """Whether the node's own addresses are to be reached through the mesh."""


@dataclass(frozen=True, slots=True)
class MachineView:
    """What is on the machine beside the mesh and the pods."""

    networks: tuple[str, ...] = ()
    """Those that it is in, its pods' own left out."""
    files: tuple[str, ...] = ()
    """In the directory of network lists."""


@dataclass(frozen=True, slots=True)
class MeshView:
    """What the mesh is to this node."""

    interface: str
    mtu: int
    """Bytes."""
    networks: tuple[str, ...] = ()
    """Of the mesh itself; none before it was joined for the first time."""
    told: tuple[str, ...] = ()
    """The networks behind this node that others are told of."""
    offers: tuple[RouteState, ...] = ()
    """What became of all that it offers."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the pods have no network."""

    reason: str
    """A word for programs, as Kubernetes writes them."""
    text: str
    """One sentence with the mend."""


@dataclass(frozen=True, slots=True)
class PodNetwork:
    """What the machine is to have."""

    pod_networks: tuple[str, ...]
    network_list: str = field(repr=False)
    """The text of the file."""
    rules: str = field(repr=False)
    """Commands for nft."""


def local_obstacle(
    node: ClusterNode, machine: MachineView, settings: PodSettings
) -> Obstacle | None:
    """Return what on this machine speaks against a node's pod networks."""
    if node.unreadable:
        return Obstacle(
            "InvalidPodCIDR",
            f"{node.unreadable[0]!r} is no network for pods: correct spec.podCIDRs of "
            "the node, or the cluster CIDR of the controller manager",
        )
    if not node.pod_networks:
        return Obstacle(
            "NoPodCIDR",
            f"The node {node.name} has no PodCIDR: start the controller manager with "
            "--allocate-node-cidrs=true and --cluster-cidr",
        )
    for text in node.pod_networks:
        why = prefixes.refusal(ip_network(text), ())
        if why is not None:
            return Obstacle(
                "InvalidPodCIDR",
                f"Pods cannot have {text}: {why}; give the cluster another CIDR",
            )
        near = _overlapping(text, machine.networks)
        if near is not None:
            return Obstacle(
                "PodCIDROverlapsNetwork",
                f"The PodCIDR {text} overlaps {near}, a network that this machine is "
                "in: give the cluster another CIDR",
            )
    return _foreign(machine, settings)


def mesh_obstacle(node: ClusterNode, mesh: MeshView) -> Obstacle | None:
    """Return what in the mesh speaks against a node's pod networks."""
    for text in node.pod_networks:
        own = _overlapping(text, mesh.networks)
        if own is not None:
            return Obstacle(
                "PodCIDROverlapsMesh",
                f"The PodCIDR {text} overlaps {own}, the addresses of the mesh: give "
                "the coordinator another network with --network4 or --network6",
            )
    offers = {each.prefix: each for each in mesh.offers}
    for text in node.pod_networks:
        state = offers.get(text)
        if text in mesh.told or state is None or not _is_said(state):
            continue
        return Obstacle(
            "PodCIDRNotApproved",
            f"The mesh does not route {text} to this node: {state.reason}",
        )
    return None


def pod_network(
    node: ClusterNode, mesh: MeshView, settings: PodSettings
) -> PodNetwork | None:
    """Return what the machine is to have, ``None`` as long as the mesh may object."""
    missing = [each for each in node.pod_networks if each not in mesh.told]
    if missing or not mesh.networks:
        return None
    return PodNetwork(
        node.pod_networks,
        network_list(
            node.pod_networks,
            mesh.mtu,
            bridge=settings.bridge,
            name=settings.network_name,
        ),
        masquerading(node.pod_networks, settings.bridge, mesh.interface),
    )


def host_routes(node: ClusterNode, mesh_networks: Iterable[str]) -> tuple[str, ...]:
    """Return a node's own addresses as networks, those in the mesh left out.

    The API server is what everything begins with: it is reached without the mesh.
    """
    if node.is_control_plane:
        return ()
    hosts = [str(ip_network(each)) for each in node.addresses]
    inside = tuple(mesh_networks)
    return tuple(each for each in hosts if _overlapping(each, inside) is None)


def _foreign(machine: MachineView, settings: PodSettings) -> Obstacle | None:
    others = foreign_lists(machine.files, settings.replaces)
    if not others:
        return None
    more = " and others" if len(others) > MAX_NAMED else ""
    return Obstacle(
        "OtherNetworkList",
        f"There is another network list, {', '.join(others[:MAX_NAMED])}{more}: remove "
        "the program that wrote it, and then the file",
    )


def _is_said(state: RouteState) -> bool:
    """Tell whether the coordinator has said that a network is not to be had."""
    said = (ApprovalState.ADVERTISED, ApprovalState.REFUSED)
    return state.state in said and bool(state.reason)


def _overlapping(text: str, networks: Iterable[str]) -> str | None:
    network = ip_network(text)
    for each in networks:
        if prefixes.overlap(network, ip_network(each)):
            return each
    return None
