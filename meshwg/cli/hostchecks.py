"""What ``meshwg doctor`` sees of the machine itself, with a daemon or without."""

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from meshwg.cli.finding import Finding
from meshwg.firewall import Chain, Ruleset
from meshwg.runtime.firewall import read_ruleset

TUN = Path("/dev/net/tun")
INTERFACES = Path("/sys/class/net")
SETTINGS = Path("/proc/sys/net")
ROUTES = Path("/proc/net/route")
_TUNNEL = "65534"
"""The type of interfaces without an address of their own (ARPHRD_NONE), as tunnels."""
_KNOWN = {
    "tailscale": "Tailscale",
    "wt": "NetBird",
    "nebula": "Nebula",
    "zt": "ZeroTier",
    "wg": "WireGuard",
}
"""Whose an interface is, by how its name begins."""
_SWITCHES = {"ipv4/ip_forward": "IPv4", "ipv6/conf/all/forwarding": "IPv6"}


def machine_findings(
    own: dict[str, Any] | None, complaints: Sequence[dict[str, Any]] = ()
) -> Iterator[Finding]:
    """Look at what the system does with packets of the mesh.

    :param own: ``self`` of the node's status; ``None`` without a daemon.
    :param complaints: what the node has found itself.
    """
    if own is not None and own.get("state") != "down":
        if not any(each["code"].startswith("firewall-") for each in complaints):
            yield firewall(own)
        yield forwarding(own)
    yield reverse_paths()
    yield tunnels(own["interface"] if own is not None else "")


def device() -> Finding:
    """See whether there can be an interface."""
    if TUN.is_char_device():
        return Finding("tun", "ok", f"{TUN} is there")
    mend = "Load the module: 'modprobe tun'; in a container, pass the device on."
    return Finding("tun", "failure", f"{TUN} is missing", mend)


def firewall(own: dict[str, Any]) -> Finding:
    """See what this machine's firewall does to what comes from the mesh."""
    if shutil.which("nft") is None:
        text = "not known: nft, which shows the rules, is not installed"
        return Finding("firewall", "ok", text)
    ruleset = asyncio.run(read_ruleset())
    if ruleset is not None:
        return _judged(ruleset, own)
    if os.geteuid() != 0:
        mend = "Look as root: 'sudo meshwg doctor'."
        return Finding("firewall", "warning", "only root can read its rules", mend)
    mend = "See what 'nft list ruleset' says."
    return Finding("firewall", "warning", "nft does not show its rules", mend)


def _judged(ruleset: Ruleset, own: dict[str, Any]) -> Finding:
    interface = own["interface"]
    for network in map(ip_network, own["addresses"]):
        found = ruleset.chain_that_drops_source(network, interface)
        if found is not None:
            text = f"drops what comes from the mesh, by its source, in {found.place}"
            return Finding("firewall", "failure", text, _letting_in(found, interface))
        found = ruleset.chain_that_is_closed(network, interface)
        if found is not None:
            text = f"lets in from the mesh only what its rules name, in {found.place}"
            return Finding("firewall", "warning", text, _letting_in(found, interface))
    return Finding("firewall", "ok", f"lets in what comes by {interface}")


def _letting_in(chain: Chain, interface: str) -> str:
    """Return how a firewall is told of the mesh's interface."""
    if chain.table == "firewalld":
        return f"Trust it: 'firewall-cmd --zone=trusted --add-interface={interface}'."
    if any(Path(each, "ufw").exists() for each in ("/usr/sbin", "/sbin", "/usr/bin")):
        return f"Unless that is meant: 'ufw allow in on {interface}'."
    return (
        f"Unless that is meant: nft 'insert rule {chain.place} iifname {interface} "
        "accept', also in the file from which it is loaded."
    )


def forwarding(own: dict[str, Any]) -> Finding:
    """See whether the system passes on what this node is to pass on."""
    offers = (own.get("hub"), (own.get("exit") or {}).get("offering"))
    items = [*(own.get("routes") or ()), *(each for each in offers if each)]
    if all(each["state"] != "approved" for each in items):
        text = "not needed: nothing is to pass through this node"
        return Finding("forwarding", "ok", text)
    off = [
        (name, setting)
        for setting, name in _SWITCHES.items()
        if _read(SETTINGS / setting) == "0"
    ]
    if not off:
        return Finding("forwarding", "ok", "on, for what passes through this node")
    names = " and ".join(name for name, _ in off)
    settings = " ".join(f"net.{each.replace('/', '.')}=1" for _, each in off)
    severity = "failure" if off[0][0] == "IPv4" else "warning"
    text = f"off for {names}, so nothing of it passes through this node"
    return Finding("forwarding", severity, text, f"'sysctl -w {settings}'.")


def reverse_paths() -> Finding:
    """See whether the kernel drops what comes in over another way than it goes out."""
    strict = [
        path.parent.name
        for path in sorted(SETTINGS.glob("ipv4/conf/*/rp_filter"))
        if _read(path) == "1"
    ]
    if not strict:
        return Finding("rp-filter", "ok", "loose or off")
    text = f"strict on {', '.join(strict[:5])}; the mesh works with that"
    return Finding("rp-filter", "ok", text)


def tunnels(own: str) -> Finding:
    """See what other tunnels there are, whose routes may lead elsewhere.

    :param own: the node's own interface, empty if that is not known.
    """
    others = [
        path.parent.name
        for path in sorted(INTERFACES.glob("*/type"))
        if _read(path) == _TUNNEL and path.parent.name != own
    ]
    if not others:
        return Finding("tunnels", "ok", "there is no other tunnel")
    listed = ", ".join(map(_label, others))
    text = f"{listed}: paths through them are used only if no other is good"
    uplinks = [each for each in others if each in _uplinks()]
    if uplinks:
        text = f"{listed}: all that leaves this machine goes through {uplinks[0]}"
    return Finding("tunnels", "ok", text)


def _label(interface: str) -> str:
    """Return the name of an interface, with whose it seems to be."""
    for beginning, whose in _KNOWN.items():
        if interface.startswith(beginning) and interface[len(beginning) :].isdigit():
            return f"{interface} ({whose})"
    return interface


def _uplinks() -> list[str]:
    """Return the interfaces with a default route in the main table (IPv4)."""
    rows = [line.split() for line in _read(ROUTES).splitlines()[1:]]
    return [row[0] for row in rows if len(row) > 7 and row[1] == row[7] == "00000000"]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
