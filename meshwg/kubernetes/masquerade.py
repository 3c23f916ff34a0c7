"""What a node's nftables table says of packets that its pods send.

Those that leave the cluster get the node's own address. What stays on the bridge, and
what goes into the mesh, keeps the pod's: whoever is in the mesh knows the way back.
Which interface a packet leaves by tells this; so the rules of a node do not depend on
how many others there are.
"""

from collections.abc import Sequence
from typing import Final

TABLE: Final = "meshwg_kubernetes"
_FAMILIES = {4: ("ip", "ipv4_addr", "224.0.0.0/4"), 6: ("ip6", "ipv6_addr", "ff00::/8")}
"""By IP version: how nftables calls it and its addresses, and those of groups."""


def masquerading(pod_networks: Sequence[str], bridge: str, interface: str) -> str:
    """Return commands for nft that replace the table, in one transaction.

    :param pod_networks: the node's PodCIDRs.
    :param bridge: what its pods are on.
    :param interface: the mesh's.
    """
    stays = f'oifname {{ "{bridge}", "{interface}" }}'
    rules = [f"{stays} return"]
    for version, (family, _, groups) in _FAMILIES.items():
        rules.append(
            f"{family} saddr @pods{version} {family} daddr != {groups} masquerade"
        )
    body = "\n".join(f"    {rule}" for rule in rules)
    return (
        f"{removal()}table inet {TABLE} {{\n{_sets(pod_networks)}"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept\n"
        f"{body}\n  }}\n}}\n"
    )


def removal() -> str:
    """Return commands for nft after which there is no such table, if there was."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def _sets(pod_networks: Sequence[str]) -> str:
    sets = []
    for version, (_, kind, _) in _FAMILIES.items():
        own = [each for each in pod_networks if (":" in each) == (version == 6)]
        elements = f"; elements = {{ {', '.join(own)} }}" if own else ""
        sets.append(
            f"  set pods{version} {{ type {kind}; flags interval{elements}; }}\n"
        )
    return "".join(sets)
