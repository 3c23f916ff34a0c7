"""Plain WireGuard on a host: a file in the style of wg-quick, and an engine.

``wg-quick`` itself would use the kernel's WireGuard if there is one. The lab uses the
engine under test, so it takes the same steps with ``wg`` and ``ip``.
"""

import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from netlab import links
from netlab.errors import NotReady
from netlab.machine import Host
from netlab.process import Process

MESHWG = (sys.executable, "-m", "meshwg.cli.wg")
WIREGUARD_GO = ("wireguard-go",)

MTU = 1420
TYPES = {1: 148, 2: 92, 3: 64, 4: 32}
"""Message types and their minimum lengths (WireGuard paper, section 5.4)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The identity of one side, in base64."""

    private: str = field(repr=False)
    public: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A ``[Peer]`` section."""

    public_key: str
    allowed_ips: str
    endpoint: str = ""
    persistent_keepalive: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """The contents of a ``wg-quick`` file."""

    keys: KeyPair
    address: str
    """With the prefix length."""
    peer: Peer
    listen_port: int = 0

    def __str__(self) -> str:
        lines = ["[Interface]", f"PrivateKey = {self.keys.private}"]
        lines.append(f"Address = {self.address}")
        if self.listen_port:
            lines.append(f"ListenPort = {self.listen_port}")
        lines += ["", "[Peer]", f"PublicKey = {self.peer.public_key}"]
        lines.append(f"AllowedIPs = {self.peer.allowed_ips}")
        if self.peer.endpoint:
            lines.append(f"Endpoint = {self.peer.endpoint}")
        if self.peer.persistent_keepalive:
            lines.append(f"PersistentKeepalive = {self.peer.persistent_keepalive}")
        return "\n".join(lines) + "\n"


class Tunnel:
    """A WireGuard interface on a host, and the engine that runs it."""

    def __init__(
        self, host: Host, interface: str, config: Config, engine: Sequence[str] = MESHWG
    ) -> None:
        """Write ``INTERFACE.conf`` and bring the interface up."""
        self.host = host
        self.interface = interface
        self.config = config
        self._command = [*engine, "-f", interface]
        self._file = host.write_file(f"{interface}.conf", str(config))
        self.up()

    @property
    def ip(self) -> str:
        """The host's address inside the tunnel."""
        return str(ip_interface(self.config.address).ip)

    def up(self) -> None:
        """Do what ``wg-quick up`` would do with this engine."""
        log = f"{self.interface}-engine.log"
        self._engine = self.host.popen(
            self._command, log=log, env={"LOG_LEVEL": "verbose"}
        )
        self._wait_for_engine()
        stripped = self.host.run(["wg-quick", "strip", self._file]).stdout
        self.host.run(["wg", "setconf", self.interface, "/dev/stdin"], stdin=stripped)
        links.ip(
            self.host.namespace,
            links.add_address(self.config.address, self.interface),
            f"link set {self.interface} mtu {MTU} up",
            *(
                f"route replace {network.strip()} dev {self.interface}"
                for network in self.config.peer.allowed_ips.split(",")
            ),
        )

    @property
    def process(self) -> Process:
        """The engine that runs now, or ran last."""
        return self._engine

    def stop(self) -> None:
        """Stop the engine, which removes the interface."""
        self._engine.stop()

    def restart(self) -> None:
        """Stop the engine, losing all sessions, and bring the interface up again."""
        self.stop()
        self.up()

    def peer_endpoint(self) -> str:
        """Return the peer's endpoint in the engine, ``(none)`` if it has none yet.

        The engine may have learned it from an authenticated packet.
        """
        shown = self.host.run(["wg", "show", self.interface, "endpoints"]).stdout
        return shown.split()[1]

    def _wait_for_engine(self) -> None:
        def answers() -> bool:
            if self._engine.returncode is not None:
                raise NotReady(
                    f"{self._command[0]} ended at once, see {self._engine.log_path}:\n"
                    + self._engine.output()
                )
            return is_served(self.host, self.interface)

        self.host.wait_until(answers, f"{self._command[0]} can be configured")


def is_served(host: Host, interface: str) -> bool:
    """Return whether an engine can be configured.

    This does not use ``wg``, which removes a socket that refuses the connection:
    wireguard-go would end if that happened before it listens on its new socket.
    """
    path = host.namespace.run_directory / "wireguard" / f"{interface}.sock"
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def make_keys(host: Host) -> KeyPair:
    """Return a key pair that ``wg`` made."""
    private = host.run(["wg", "genkey"]).stdout
    public = host.run(["wg", "pubkey"], stdin=private).stdout
    return KeyPair(private.strip(), public.strip())


def message_type(payload: bytes) -> int | None:
    """Return the type of a WireGuard message, ``None`` if it is none."""
    kind = int.from_bytes(payload[:4], "little")
    length = TYPES.get(kind)
    if length is None or len(payload) < length:
        return None
    if kind == 4:
        # Packets are padded to 16 bytes before they are sealed, but not beyond the MTU.
        is_padded = len(payload) % 16 == 0 or len(payload) == length + MTU
        return kind if is_padded else None
    return kind if len(payload) == length else None
