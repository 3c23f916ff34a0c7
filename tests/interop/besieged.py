"""A mesh with a policy, whose two servers are attacked by a member.

One server's packets are carried by Python, the other's by the compiled core, where that
is installed. Alice keeps the rules; Mallory's node was tampered with, and sends what it
likes. Both may reach the same few ports of the servers.
"""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from netlab.lab import Lab
from netlab.process import Process
from tests import datapaths
from tests.interop.meshes import Coordinator, Member

TAMPERED = (sys.executable, "-m", "tests.interop.tampered")
ROOT = Path(__file__).parents[2]
ALLOWED_TCP = {22: "open", 5432: "closed", 9100: "closed", 9101: "open", 9102: "closed"}
ALLOWED_UDP = {5060: "open", 161: "closed"}
"""What a scan is to find of the ports that rules name."""
LISTENING_TCP, LISTENING_UDP = (22, 80, 443, 9101, 31337), (123, 5060, 31337)
"""More is open than anybody may reach."""
POLICY = """
[[allow]]
from = ["alice@example.org", "mallory@example.org"]
to = ["tag:db"]
ports = ["tcp/22", "tcp/5432", "tcp/9100-9102", "udp/5060", "udp/161"]
"""
SERVE = """
import selectors, socket
waiting = selectors.DefaultSelector()
for port in {tcp}:
    server = socket.create_server(("", port), family=socket.AF_INET6,
                                  dualstack_ipv6=True, backlog=128)
    waiting.register(server, selectors.EVENT_READ)
for port in {udp}:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("", port))
    waiting.register(sock, selectors.EVENT_READ)
print("listening", flush=True)
while True:
    for key, _ in waiting.select():
        if key.fileobj.type == socket.SOCK_STREAM:
            key.fileobj.accept()[0].close()
        else:
            key.fileobj.sendto(*key.fileobj.recvfrom(65535))
"""


class TamperedMember(Member):
    """A node of some kind (:mod:`tests.interop.tampered`), with a data path."""

    def __init__(self, lab: Lab, name: str, kind: str, datapath: str) -> None:
        super().__init__(lab.add_host(name, lab.internet))
        self._kind = kind
        self._environment = {
            "MESHWG_DATAPATH": datapath,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'netns-lab'}",
        }

    def command(self, *arguments: str) -> list[str]:
        return [*TAMPERED, self._kind, "node", *self.options, *arguments]

    def join(self, token: str, *options: str) -> "TamperedMember":
        self.start("--join", token, *options, env=self._environment)
        return self


@dataclass
class Siege:
    """The members of the mesh."""

    alice: Member
    mallory: Member
    servers: dict[str, Member]
    """By their data path."""

    def addresses(self, version: int = 4) -> list[str]:
        """Return the addresses of the servers."""
        return [each.addresses[version == 6] for each in self.servers.values()]


def besiege(lab: Lab) -> Siege:
    """Return the mesh once everybody reaches what is allowed."""
    coordinator = Coordinator.on_the_internet(lab, "--no-relay")
    owners = {name: f"{name}@example.org" for name in ("alice", "mallory")}
    for owner in owners.values():
        coordinator.command("user", "add", owner)
    tokens = {
        name: coordinator.command("token", "create", "--owner", owner)["token"]
        for name, owner in owners.items()
    }
    server_token = coordinator.command("token", "create", "--reusable", "--tag", "db")
    policy = lab.directory / "policy.toml"
    policy.write_text(POLICY)
    coordinator.command("policy", "apply", str(policy))
    fastest = "core" if "core" in datapaths.MAKERS else "python"
    siege = Siege(
        TamperedMember(lab, "alice", "settled", fastest).join(tokens["alice"]),
        TamperedMember(lab, "mallory", "lawless", fastest).join(tokens["mallory"]),
        {
            name: TamperedMember(lab, name, "settled", name).join(server_token["token"])
            for name in datapaths.MAKERS
        },
    )
    _wait_until_there(siege)
    return siege


def _wait_until_there(siege: Siege) -> None:
    clients = siege.alice, siege.mallory
    for server in siege.servers.values():
        server.wait_until_connected()
        serving(server)
    for client in clients:
        client.wait_until_connected()
        client.wait_until_sees(*siege.servers)
        for address in (*siege.addresses(4), *siege.addresses(6)):
            client.host.wait_until(
                partial(answers, client, address),
                f"{address} answers",
                60,
            )


def serving(member: Member) -> Process:
    """Listen at ports that are allowed, and at others."""
    text = SERVE.format(tcp=LISTENING_TCP, udp=LISTENING_UDP)
    server = member.host.popen([sys.executable, "-c", text], log="server.log")
    server.wait_for_line("listening")
    return server


def answers(client: Member, address: str, payload: bytes = b"ping") -> bool:
    """Tell whether a datagram to port 5060, from a port of its own, comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def ask() -> bool:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.sendto(payload, (address, 5060))
            try:
                return sock.recv(99) == payload
            except OSError:
                return False

    return client.host.call(ask)


def inject(member: Member, packets: Sequence[bytes]) -> None:
    """Have a member's machine send packets into the mesh, as they are."""

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
            for packet in packets:
                kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
                sock.sendto(packet, ("meshwg0", kind))

    member.host.call(send)
