"""The network list of the Container Network Interface that kubelet's runtime reads.

A list names the plugins that give a pod its interface. Ours has three, which everybody
has: a bridge, so that pods of one node reach each other without the mesh; host-local,
which hands out the addresses of the node's own PodCIDRs; portmap, for host ports. The
runtime takes the first list of the directory by name, so two of them are a mistake.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

FILE: Final = "10-meshwg.conflist"
"""Its name in the directory."""
BRIDGE: Final = "meshwg-pods"
"""The bridge that the pods of this node are on."""
NAME: Final = "meshwg"
"""Of the network: host-local remembers by it which addresses pods have."""
VERSION: Final = "1.0.0"
"""Of the interface, as the plugins of Debian 12 and containerd 1.6 speak it."""
_ENDINGS = (".conf", ".conflist", ".json")
"""Of the files that runtimes look at."""
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def network_list(
    pod_networks: Sequence[str], mtu: int, *, bridge: str = BRIDGE, name: str = NAME
) -> str:
    """Return the text of the list.

    :param pod_networks: the node's PodCIDRs.
    :param mtu: of the mesh's interface, in bytes: pods send nothing that has to be cut.
    :param bridge: what the pods are on; another program's, if its pods are to stay.
    :param name: of the network, likewise.
    """
    versions = dict.fromkeys(6 if ":" in each else 4 for each in pod_networks)
    first: dict[str, Any] = {
        "type": "bridge",
        "bridge": bridge,
        "mtu": mtu,
        "isGateway": True,
        # The bridge keeps the address of an earlier PodCIDR otherwise.
        "forceAddress": True,
        # The agent's own rules do it, which know the mesh.
        "ipMasq": False,
        # A pod may reach itself through a service.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": each}] for each in pod_networks],
            "routes": [{"dst": _EVERYWHERE[version]} for version in versions],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    whole = {"cniVersion": VERSION, "name": name, "plugins": [first, portmap]}
    return json.dumps(whole, indent=2) + "\n"


def foreign_lists(names: Iterable[str], replaced: Iterable[str] = ()) -> list[str]:
    """Return the lists in a directory that are not this program's, in their order.

    :param names: of all files there.
    :param replaced: of lists that this one is to take the place of.
    """
    own = {FILE, *replaced}
    return sorted(each for each in names if each.endswith(_ENDINGS) and each not in own)
