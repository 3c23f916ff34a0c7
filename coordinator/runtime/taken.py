"""Which networks this machine uses already, so that a new mesh takes another one."""

import shutil
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network

from coordinator.mesh.ipam import SHARED_SPACE
from meshwg.firewall import Ruleset
from meshwg.runtime.rtnetlink import Snapshot, take_snapshot

SHORTEST = 8
"""Bits of the prefix of a network; what is shorter leads to the rest of the world."""
NFT_TIMEOUT = 5.0
"""Seconds that reading the firewall may take."""


def taken_networks() -> tuple[IPv4Network, ...]:
    """Return the networks of addresses and routes, and what the firewall drops.

    Tailscale takes the whole shared address space (RFC 6598) for itself: its firewall
    drops what comes from there over another interface. So that is taken where it runs.
    What the system does not tell this user is not known.
    """
    try:
        snapshot = take_snapshot()
    except OSError:
        return ()
    found = set(_networks_in(snapshot))
    names = (link.name for link in snapshot.links)
    if any(name.startswith("tailscale") for name in names) or _drops_shared_space():
        found.add(SHARED_SPACE)
    return tuple(sorted(found))


def _networks_in(snapshot: Snapshot) -> Iterable[IPv4Network]:
    for prefix in (
        *(each.interface.network for each in snapshot.addresses),
        *(each.prefix for each in snapshot.routes),
    ):
        if isinstance(prefix, IPv4Network) and prefix.prefixlen >= SHORTEST:
            yield prefix


def _drops_shared_space() -> bool:
    """Tell whether the firewall drops all that comes from the shared address space."""
    nft = shutil.which("nft")
    if nft is None:
        return False
    try:
        done = subprocess.run(
            [nft, "--json", "list", "ruleset"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NFT_TIMEOUT,
            check=False,
        )
        ruleset = Ruleset(done.stdout)
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return False
    return ruleset.chain_that_drops_source(SHARED_SPACE, "meshwg0") is not None
