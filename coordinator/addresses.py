"""Which addresses the coordinator tells nodes; often not those it listens on."""

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from coordinator.config import WILDCARDS, CoordinatorConfig, HostPort
from meshwg.wire.token import MAX_URL_LENGTH

RELAY_PATH = "/v1/relay"
"""Where WebSockets carry TURN."""


@dataclass(frozen=True, slots=True)
class PublicAddresses:
    """The coordinator's addresses as nodes see them.

    :param host: what nodes are told in place of a wildcard, or of the one address
        listened on where another is advertised.
    :param port: the TCP port.
    :param machine: a numeric address of this machine, for what needs one.
    """

    config: CoordinatorConfig
    host: str
    port: int
    machine: str

    @property
    def url(self) -> str:
        """What join tokens carry."""
        if self.config.url is not None:
            return self.config.url.rstrip("/")
        scheme = "https" if self.config.tls_cert else "http"
        return f"{scheme}://{join(self.host, self.port)}"

    @property
    def stun(self) -> tuple[str, ...]:
        """STUN servers, as ``host:port``: those that nodes can reach."""
        return tuple(
            join(self._public(host), port)
            for host, port in self.config.stun_addresses
            if self._is_reachable(host)
        )

    @property
    def relays(self) -> tuple[str, ...]:
        """TURN URLs, the cheapest first: UDP, TCP, WebSockets, then others'."""
        own: list[str] = []
        if self.config.relay:
            own += [f"turn:{address}?transport=udp" for address in self.stun[:1]]
            if self._is_reachable(self.config.listen_address[0]):
                where = join(self.host, self.port)
                own.append(f"{self._stream_scheme}:{where}?transport=tcp")
            if self._websocket is not None:
                own.append(self._websocket)
        return (*own, *self.config.relays)

    @property
    def _websocket(self) -> str | None:
        """Where a proxy leads to the relay: what passes on the control channel passes
        this on, too."""
        url = f"ws{self.url.removeprefix('http')}{RELAY_PATH}"
        is_usable = self.config.url is not None and len(url) <= MAX_URL_LENGTH
        return url if is_usable else None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What nodes do without, and what to do about it, as sentences.

        A proxy passes on HTTP and WebSockets, and no UDP.
        """
        relays = self.relays
        found = []
        if not self.stun:
            found.append(
                "Nodes cannot find out about their NATs here, as STUN is served on "
                "this machine's loopback only: give --stun 0.0.0.0"
            )
        if not any(url.endswith("=udp") for url in relays) and self.config.relay:
            found.append(
                "No relay over UDP is advertised, as none can be reached: give "
                "--stun 0.0.0.0, or name another one with --relay-server"
            )
        return tuple(found)

    @property
    def relayed_hosts(self) -> dict[int, str]:
        """The numeric address that relayed addresses have, by IP version."""
        hosts: dict[int, str] = {}
        for host, _ in self.config.stun_addresses:
            version = ipaddress.ip_address(host).version
            # The local address is the last resort. It serves clients of this relay
            # alone, and most meshes have no others: packets between them are handed
            # over inside.
            local = self.machine if host in WILDCARDS else host
            for candidate in (self._public(host), local):
                if _version(candidate) == version:
                    hosts.setdefault(version, candidate)
        return hosts

    @property
    def renamed(self) -> dict[str, str]:
        """Public addresses of local ones, where a NAT is in front."""
        pairs = ((host, self._public(host)) for host, _ in self._specific())
        return {
            host: public
            for host, public in pairs
            if public != host and _version(public) == _version(host)
        }

    @property
    def _stream_scheme(self) -> str:
        return "turns" if self.config.tls_cert else "turn"

    def _is_reachable(self, host: str) -> bool:
        """Tell whether nodes can reach what listens at a local address.

        Without a proxy they reach this very machine, whatever its address.
        """
        if self.config.url is None or not _is_loopback(host):
            return True
        return _is_loopback(urlsplit(self.config.url).hostname or "")

    def _specific(self) -> list[HostPort]:
        addresses = self.config.stun_addresses
        return [address for address in addresses if address[0] not in WILDCARDS]

    def _public(self, host: str) -> str:
        config = self.config
        is_renamed = config.advertise is not None or config.url is not None
        alone = is_renamed and len(config.stun_addresses) == 1
        return self.host if host in WILDCARDS or alone else host


def join(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _version(host: str) -> int | None:
    """Return the IP version of a numeric address, ``None`` for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None
