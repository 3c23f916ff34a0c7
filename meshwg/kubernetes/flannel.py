"""Nodes that still run flannel with its WireGuard backend, as peers of this node.

flannel keeps what other nodes have to know in annotations of each Node object: the
public key, and the address at which it is reached. The port is the same on all nodes,
and the allowed IPs are the node's PodCIDR. So such a node is an ordinary WireGuard peer
of this one, and this one becomes a peer of theirs by annotations of the same kind: a
cluster moves from flannel to the mesh one node after the other.

Whoever may change a Node object may write anything into its annotations. What that can
take is the traffic of that node's own pods: the PodCIDRs are in another part of the
object, which only the cluster's controllers set. A key counts for one node only, and
that of a member of the mesh for none.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Final

from meshwg import prefixes
from meshwg.errors import ConfigError
from meshwg.health import Complaint, Severity
from meshwg.keys import format_key, parse_key
from meshwg.kubernetes.clusternode import ClusterNode
from meshwg.staticpeer import StaticPeer
from meshwg.transmit import Endpoint

PREFIX: Final = "flannel.alpha.coreos.com/"
MANAGED: Final = f"{PREFIX}kube-subnet-manager"
BACKEND: Final = f"{PREFIX}backend-type"
MEMBER: Final = "meshwg/member"
"""Annotation of ours: the public key of a member of the mesh. Where flannel's own names
another one, flannel has taken the node back."""
WIREGUARD: Final = "wireguard"
PORTS: Final = {4: 51820, 6: 51821}
"""Where flannel listens unless its configuration says otherwise (net-conf.json,
``ListenPort`` and ``ListenPortV6``)."""
BRIDGE: Final = "cni0"
"""That flannel's own network list puts pods on."""
NETWORK_NAME: Final = "cbr0"
"""The name of the network there, by which host-local remembers addresses."""
NETWORK_LIST: Final = "10-flannel.conflist"
"""The file with that list."""
TABLE: Final = "meshwg_flannel"
"""Of nftables."""
CODE: Final = "flannel-node-refused"
MAX_DATA: Final = 1024
"""Letters of an annotation that are looked at."""

_DATA = {4: f"{PREFIX}backend-data", 6: f"{PREFIX}backend-v6-data"}
_PUBLIC_IP = {4: f"{PREFIX}public-ip", 6: f"{PREFIX}public-ipv6"}


@dataclass(frozen=True, slots=True)
class FlannelPorts:
    """Where all of a cluster's flannel nodes listen, by IP version."""

    v4: int = PORTS[4]
    v6: int = PORTS[6]

    def of(self, version: int) -> int:
        """Return that of an IP version."""
        return self.v4 if version == 4 else self.v6


class FlannelNodes:
    """Which nodes of the cluster are flannel's, and so peers of this one.

    :param own_name: of this node.
    """

    def __init__(self, own_name: str, ports: FlannelPorts) -> None:
        self._own_name = own_name
        self._ports = ports
        self._nodes: dict[str, ClusterNode] = {}
        self._holders: dict[str, str] = {}
        """Which node a key counts for."""
        self._members: frozenset[str] = frozenset()
        self._taken: tuple[str, ...] = ()
        self._refused: dict[str, str] = {}

    def replace(self, nodes: Iterable[ClusterNode]) -> None:
        """Know all nodes of the cluster."""
        self._nodes = {each.name: each for each in nodes if each.name}

    def put(self, node: ClusterNode) -> None:
        """Know a node that is new, or has changed."""
        self._nodes[node.name] = node

    def remove(self, name: str) -> None:
        """Know that a node is gone."""
        self._nodes.pop(name, None)

    def set_mesh(self, keys: Iterable[str], networks: Iterable[str]) -> None:
        """Know the members of the mesh, and what is theirs.

        :param keys: public keys, this node's own among them.
        :param networks: of the mesh, behind members and behind this node.
        """
        self._members, self._taken = frozenset(keys), tuple(networks)

    def peers(self) -> tuple[StaticPeer, ...]:
        """Return the peers that follow, in the order of their names."""
        self._refused = {}
        found: list[StaticPeer] = []
        taken = list(self._taken)
        for name in sorted(self._nodes):
            for peer in self._peers_of(self._nodes[name], taken):
                found.append(peer)
                taken += peer.networks
        named = {each.public_key for each in found}
        self._holders = {k: n for k, n in self._holders.items() if k in named}
        return tuple(found)

    def complaint(self) -> Complaint | None:
        """Return what the user should know of nodes that are no peers."""
        if not self._refused:
            return None
        name, why = next(iter(sorted(self._refused.items())))
        more = f", nor {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return Complaint(
            CODE,
            Severity.WARNING,
            f"The flannel node {name} is not reached{more}: {why}.",
            "See its annotations and its PodCIDR with 'kubectl describe node'.",
        )

    def _peers_of(self, node: ClusterNode, taken: Collection[str]) -> list[StaticPeer]:
        if node.name == self._own_name or not is_flannel(node):
            return []
        networks: dict[str, list[str]] = {}
        endpoints: dict[str, Endpoint] = {}
        for text in node.pod_networks:
            version = ip_network(text).version
            key, endpoint = self._read(node, version)
            if key is None or endpoint is None or key in self._members:
                continue
            why = self._refusal(node.name, key, text, taken)
            if why is not None:
                self._refused.setdefault(node.name, why)
                continue
            self._holders[key] = node.name
            networks.setdefault(key, []).append(text)
            endpoints.setdefault(key, endpoint)
        return [
            StaticPeer(f"flannel-{node.name}", key, endpoints[key], tuple(texts))
            for key, texts in networks.items()
        ]

    def _refusal(
        self, name: str, key: str, network: str, taken: Iterable[str]
    ) -> str | None:
        """Return why a node does not get a network under a key."""
        holder = self._holders.get(key, name)
        if holder != name and holder in self._nodes:
            return f"its key is that of the node {holder}, too"
        wanted = ip_network(network)
        for each in taken:
            if prefixes.overlap(wanted, ip_network(each)):
                return f"its PodCIDR {network} overlaps {each}, which others have"
        return prefixes.refusal(wanted, ())

    def _read(
        self, node: ClusterNode, version: int
    ) -> tuple[str | None, Endpoint | None]:
        """Return the key and the endpoint of a node for an IP version."""
        key = _public_key(node.annotations.get(_DATA[version], ""))
        if key is None:
            self._refused.setdefault(node.name, "its annotations name no key")
            return None, None
        text = node.annotations.get(_PUBLIC_IP[version], "")
        if not _is_address(text, version):
            self._refused.setdefault(node.name, "its annotations name no address")
            return None, None
        return key, Endpoint(str(ip_address(text)), self._ports.of(version))


def is_flannel(node: ClusterNode) -> bool:
    """Tell whether a node runs flannel's WireGuard backend, and no member of a mesh."""
    said = node.annotations
    if said.get(MANAGED) != "true" or said.get(BACKEND) != WIREGUARD:
        return False
    keys = [_public_key(said.get(each, "")) for each in _DATA.values()]
    return MEMBER not in said or said[MEMBER] not in keys


def own_annotations(
    public_key: str, node: ClusterNode, addresses: Mapping[int, str]
) -> dict[str, str]:
    """Return the annotations by which flannel's nodes make a peer of this one.

    :param public_key: of this node, base64.
    :param addresses: where they reach it, by IP version.
    :raises ConfigError: if there is none for one of the node's PodCIDRs.
    """
    wanted = {MANAGED: "true", BACKEND: WIREGUARD, MEMBER: public_key}
    data = json.dumps({"PublicKey": public_key}, separators=(",", ":"))
    for text in node.pod_networks:
        version = ip_network(text).version
        address = addresses.get(version) or public_address(node, version)
        if address is None:
            raise ConfigError(
                f"It is not known where flannel's nodes reach {node.name} by "
                f"IPv{version}: name the address with --flannel-address"
            )
        wanted[_DATA[version]] = data
        wanted[_PUBLIC_IP[version]] = address
    return wanted


def public_address(node: ClusterNode, version: int) -> str | None:
    """Return where other nodes reach one, as far as its object says.

    What flannel itself has found out, or was told, comes first.
    """
    known = node.annotations.get(_PUBLIC_IP[version], "")
    told = node.annotations.get(f"{_PUBLIC_IP[version]}-overwrite", "")
    for text in (told, known, *node.addresses):
        if _is_address(text, version):
            return str(ip_address(text))
    return None


def annotation_patch(
    node: ClusterNode, wanted: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return a merge patch after which a node has annotations, ``None`` if it has."""
    news = {
        name: value
        for name, value in wanted.items()
        if node.annotations.get(name) != value
    }
    return {"metadata": {"annotations": news}} if news else None


def parse_flannel_addresses(texts: Iterable[str]) -> dict[int, str]:
    """Return the addresses that a user names, by IP version.

    :raises ConfigError: if one is none, or there are two of a version.
    """
    found: dict[int, str] = {}
    for text in texts:
        version = next((each for each in (4, 6) if _is_address(text, each)), None)
        if version is None:
            raise ConfigError(
                f"--flannel-address {text} is no address: write one at which other "
                "nodes reach this one, such as 203.0.113.7"
            )
        if version in found:
            raise ConfigError(
                f"--flannel-address is there twice for IPv{version}: leave "
                f"{found[version]} or {text} out"
            )
        found[version] = str(ip_address(text))
    return found


def _public_key(text: str) -> str | None:
    """Return the public key that an annotation's JSON names."""
    if len(text) > MAX_DATA:
        return None
    try:
        data = json.loads(text)
        key = data.get("PublicKey") if isinstance(data, dict) else None
        return format_key(parse_key(key)) if isinstance(key, str) else None
    except (ValueError, RecursionError):
        return None


def _is_address(text: str, version: int) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    is_one = not (address.is_unspecified or address.is_multicast)
    return address.version == version and "%" not in text and is_one


@dataclass(frozen=True, slots=True)
class HostSide:
    """What packets of this machine itself to flannel's pods have to look like."""

    networks: tuple[str, ...]
    """Of flannel's pods."""
    gateways: Mapping[int, str] = field(default_factory=dict)
    """The address to send from, by IP version: flannel takes only this node's pods."""


def host_rules(side: HostSide, interface: str) -> str:
    """Return commands for nft that replace the table, in one transaction.

    :param interface: the mesh's.
    """
    rules = []
    for version, gateway in sorted(side.gateways.items()):
        own = [e for e in side.networks if ip_network(e).version == version]
        if own:
            family = "ip" if version == 4 else "ip6"
            rules.append(
                f'    oifname "{interface}" fib saddr type local {family} daddr '
                f"{{ {', '.join(own)} }} snat {family} to {gateway}\n"
            )
    return (
        f"{rules_removal()}"
        f"table inet {TABLE} {{\n  chain postrouting {{\n"
        "    type nat hook postrouting priority srcnat - 1; policy accept\n"
        f"{''.join(rules)}  }}\n}}\n"
    )


def rules_removal() -> str:
    """Return commands for nft after which there is no such table, if there was."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def gateways_of(pod_networks: Iterable[str]) -> dict[int, str]:
    """Return the addresses of a node's own bridge, by IP version: the first ones."""
    found: dict[int, str] = {}
    for text in pod_networks:
        network = ip_network(text)
        found.setdefault(network.version, str(network.network_address + 1))
    return found
