"""Tunnels between two engines, and what tests do with them.

The *initiator* is the side that knows where the other one is; the *responder* has to
learn that. Inside the tunnel both have an IPv4 and an IPv6 address.
"""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netlab import links
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import MESHWG, WIREGUARD_GO, Config, Peer, Tunnel, make_keys

INTERFACE = "wg0"
PORT = 51820
IPV4_AND_ICMP, IPV6_AND_ICMP = 20 + 8, 40 + 8
"""Bytes of an echo request that are not its payload."""
PATIENCE = 20.0
"""Seconds until a transfer that stands still has failed."""

Engine = Sequence[str]
Engines = tuple[Engine, Engine]
"""The programs that the initiator and the responder run."""

both_roles = pytest.mark.parametrize(
    "engines",
    [(MESHWG, WIREGUARD_GO), (WIREGUARD_GO, MESHWG)],
    ids=["ours-initiates", "ours-responds"],
)


class Side(Tunnel):
    """One end of a tunnel, with an IPv6 address inside and perhaps a preshared key."""

    def __init__(
        self, host: Host, config: Config, ip6: str, engine: Engine, psk: str = ""
    ) -> None:
        self.ip6 = ip6
        self._psk = host.write_file("psk", psk) if psk else None
        super().__init__(host, INTERFACE, config, engine)

    @property
    def ips(self) -> tuple[str, str]:
        """Its addresses inside the tunnel."""
        return self.ip, self.ip6

    def up(self) -> None:
        super().up()
        command = links.add_address(f"{self.ip6}/64", self.interface)
        links.ip(self.host.namespace, command)
        if self._psk is not None:
            self.set_peer("preshared-key", self._psk)

    def set(self, *arguments: object) -> None:
        """Run ``wg set`` for the interface."""
        self.host.run(["wg", "set", self.interface, *map(str, arguments)])

    def set_peer(self, *arguments: object) -> None:
        """Run ``wg set`` for the only peer."""
        self.set("peer", self.config.peer.public_key, *arguments)

    def endpoint(self, version: int = 4) -> str:
        """Return where others reach it, if there is no NAT between."""
        command = ["wg", "show", self.interface, "listen-port"]
        port = int(self.host.run(command).stdout)
        return _endpoint(self.host.address(version), port)

    @property
    def last_handshake(self) -> int:
        """When the last handshake ended, in seconds of wall time; 0 for never."""
        return int(self._show("latest-handshakes")[0])

    @property
    def received(self) -> int:
        """How many bytes of authentic messages came from the peer."""
        return int(self._show("transfer")[0])

    def change_private_key(self, other: "Side") -> None:
        """Get a new key, which the other side is told first."""
        keys, config = make_keys(self.host), other.config
        peer = replace(config.peer, public_key=keys.public)
        where = "endpoint", other.peer_endpoint()
        allowed = "allowed-ips", peer.allowed_ips.replace(" ", "")
        other.set_peer("remove", "peer", keys.public, *where, *allowed)
        other.config = replace(config, peer=peer)
        self.config = replace(self.config, keys=keys)
        self.set("private-key", self.host.write_file("key", keys.private))

    def _show(self, what: str) -> list[str]:
        """Return what ``wg show`` says of the only peer."""
        shown = self.host.run(["wg", "show", self.interface, what]).stdout
        return shown.split()[1:]


def join(
    initiator: Host,
    responder: Host,
    engines: Engines,
    *,
    version: int = 4,
    keepalive: int = 0,
    psks: tuple[str, str] = ("", ""),
) -> tuple[Side, Side]:
    """Return the two ends of a new tunnel between two hosts.

    :param version: of the IP addresses outside the tunnel.
    :param keepalive: the initiator's persistent keepalive, in seconds.
    :param psks: the preshared keys that the two sides believe in.
    """
    keys, other_keys = make_keys(initiator), make_keys(responder)
    peer = Peer(
        other_keys.public,
        "10.7.0.2/32, fd00:7::2/128",
        endpoint=_endpoint(responder.address(version), PORT),
        persistent_keepalive=keepalive,
    )
    other_peer = Peer(keys.public, "10.7.0.1/32, fd00:7::1/128")
    other_config = Config(other_keys, "10.7.0.2/24", other_peer, PORT)
    config = Config(keys, "10.7.0.1/24", peer)
    # The responder first, so that nothing the initiator says at once is lost.
    other = Side(responder, other_config, "fd00:7::2", engines[1], psks[1])
    return Side(initiator, config, "fd00:7::1", engines[0], psks[0]), other


def join_on_a_switch(
    lab: Lab,
    engines: Engines,
    *,
    version: int = 4,
    psks: tuple[str, str] = ("", ""),
) -> tuple[Side, Side]:
    """Return the two ends of a tunnel between two new hosts on one switch."""
    switch = lab.add_switch("switch", "192.0.2.0/24", "2001:db8:2::/64")
    initiator, responder = lab.add_host("one", switch), lab.add_host("two", switch)
    return join(initiator, responder, engines, version=version, psks=psks)


def ping(sender: Side, ip: str, *, count: int = 1, size: int = 56) -> None:
    """Ping through the tunnel; not one reply may be missing, or come twice.

    The kernel counts them: ping itself takes a reply for lost that is a little later
    than those before.

    :param size: bytes of payload, which may not be fragmented.
    """
    replies = "Icmp6InEchoReplies" if ":" in ip else "IcmpInEchoReps"
    expected = counted(sender.host, replies) + count
    pings = ["-q", "-c", str(count), "-i", "0.002", "-W", "10"]
    sender.host.run(["ping", *pings, "-M", "do", "-s", str(size), ip])
    sender.host.wait_until(
        lambda: counted(sender.host, replies) == expected,
        f"all of {count} echo requests are answered once",
    )


def counted(host: Host, pattern: str) -> int:
    """Return the sum of the kernel's counters that have such names."""
    lines = host.run(["nstat", "-asz", pattern]).stdout.splitlines()[1:]
    return sum(int(line.split()[1]) for line in lines)


def transfer(sender: Side, receiver: Side, ip: str, payload: bytes) -> None:
    """Send a payload by TCP to an address of the receiver, and compare it there."""
    with receiver.host.call(lambda: _listen(ip)) as listener:
        address = listener.getsockname()[:2]
        client = sender.host.call(lambda: socket.create_connection(address, PATIENCE))
        server, _ = listener.accept()
    with client, server, ThreadPoolExecutor() as threads:
        sent = threads.submit(_send, client, payload)
        received = _receive(server)
        sent.result()
    # Not compared by assert itself: its diff would be unreadable.
    is_same = received == payload
    assert is_same, f"Other bytes than the {len(payload)} that were sent arrived"


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ip_address(host).version == 6 else f"{host}:{port}"


def _listen(ip: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    listener = socket.create_server((ip, 0), family=family)
    listener.settimeout(PATIENCE)
    return listener


def _send(client: socket.socket, payload: bytes) -> None:
    client.sendall(payload)
    client.shutdown(socket.SHUT_WR)


def _receive(server: socket.socket) -> bytes:
    server.settimeout(PATIENCE)
    return b"".join(iter(lambda: server.recv(1 << 20), b""))
