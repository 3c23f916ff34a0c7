"""Where somebody outside reaches a node without being expected.

Nodes find each other by punching holes; a plain WireGuard peer just sends. So its hub
needs an address and a port at which everybody is let in: the hub's own public address
without a firewall, or a port that its router forwards. What the hub has measured of its
network says that, or an administrator, who knows of a forwarded port or of a name.
"""

import json
import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from coordinator.mesh.nodes import Node
from meshwg import prefixes
from meshwg.nattypes import Filtering, Mapping

MAX_ENDPOINT = 260
"""Letters of a host's name (RFC 1035 section 2.3.4), and of a port."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
MAX_PORT = 65535
_FAMILIES = ("ipv4", "ipv6")


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why nobody reaches a node from outside, and what helps."""

    text: str

    def __str__(self) -> str:
        return self.text


def parse_endpoint(text: str) -> tuple[str, int | None]:
    """Return host and port of ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``.

    :raises ValueError: if it is something else; the message says what to write.
    """
    host, port = text, ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]:")
        host = host if bracket else text
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    number = int(port) if _PORT.fullmatch(port) else 0
    is_wrong = bool(port) and not 1 <= number <= MAX_PORT
    if is_wrong or len(text) > MAX_ENDPOINT or not _is_host(host):
        raise ValueError(
            f"{text!r} is no endpoint: write a name or an address, and the port if it "
            "is another one than the hub's own, as mesh.example.org:51820"
        )
    return host, number or None


def endpoint_for(hub: Node, wanted: str = "") -> str | Unreachable:
    """Return where a plain peer reaches its hub, as ``HOST:PORT``.

    :param wanted: what an administrator has said of it, which is believed.
    """
    if not wanted:
        return public_endpoint(hub)
    host, port = parse_endpoint(wanted)
    port = port or _own_port(hub)
    if port is None:
        return Unreachable(
            f"{hub.name} has not said yet at which port it listens: write the port "
            "after the endpoint, or wait until it is connected"
        )
    return _joined(host, port)


def public_endpoint(hub: Node) -> str | Unreachable:
    """Return where a node is reached from outside, as far as it has found out."""
    for each in json.loads(hub.candidates):
        if each["kind"] == "port-mapped" and _is_public(each["host"]):
            return _joined(each["host"], each["port"])
    report = json.loads(hub.nat) or {}
    why = ""
    for family in _FAMILIES:
        nat = report.get(family) or {}
        if not nat.get("public"):
            continue
        refusal = _refusal(nat)
        if not refusal:
            return str(nat["public"])
        why = why or refusal
    why = why or "it has not found out yet how it is reached; it may not be connected"
    return Unreachable(
        f"{hub.name} cannot be reached from outside: {why}. Forward a UDP port to it "
        "and say so with --endpoint HOST:PORT, or use another hub"
    )


def _refusal(nat: dict[str, Any]) -> str:
    """Return why a public address and port are not open to everybody.

    Whether a firewall lets strangers in shows only to a STUN server with two addresses,
    so one that nobody has seen is taken not to be there.
    """
    unknown = Filtering.UNKNOWN.value
    mapping, filtering = nat.get("mapping"), nat.get("filtering", unknown)
    host = str(nat["public"]).rpartition(":")[0].strip("[]")
    if not _is_public(host):
        return f"its address {host} is a private one"
    if filtering == Filtering.ENDPOINT_INDEPENDENT.value:
        return ""
    if mapping != Mapping.NONE.value:
        return "it is behind a NAT that lets in only who it has sent to"
    if filtering == unknown:
        return ""
    return "a firewall in front of it lets in only who it has sent to"


def _own_port(hub: Node) -> int | None:
    """Return the port at which a node itself listens."""
    for each in json.loads(hub.candidates):
        if each["kind"] == "host":
            return int(each["port"])
    return None


def _is_public(text: str) -> bool:
    """Tell whether an address means the same machine to everybody."""
    try:
        return not prefixes.is_private(ip_address(text))
    except ValueError:
        return False


def _is_host(text: str) -> bool:
    if ":" in text:
        try:
            return not IPv6Address(text).scope_id
        except ValueError:
            return False
    return _HOST.fullmatch(text) is not None and ".." not in text


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
