"""A peer of the mesh: its entry in the netmap, its tunnel, and the path to it.

The path agent exists only once there is traffic or an offer: an idle mesh of a thousand
peers costs a thousand entries and nothing else.
"""

from collections.abc import Container, Iterator
from dataclasses import fields
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from meshwg import prefixes
from meshwg.keys import PrivateKey, format_key
from meshwg.path.agent import PathAgent
from meshwg.path.check import CheckKeys
from meshwg.path.events import PathStatus
from meshwg.path.limiter import PunchLimiter
from meshwg.path.offer import Offer
from meshwg.path.overlay import IPAddress
from meshwg.path.sounding import Sounding
from meshwg.path.tunnels import OwnTunnels
from meshwg.path.veil import Veil
from meshwg.transmit import Endpoint, Random
from meshwg.wire import control
from meshwg.wireguard.news import MessageKind
from meshwg.wireguard.peer import Peer as Tunnel

NOTE_INTERVAL = 0.25
"""Seconds between two notes of the same traffic to the agent."""

HUB, PLAIN = "hub", "plain"
"""The roles of peers that forward, and of those that run nothing but WireGuard."""
ALIVE = 180.0
"""Seconds after its last handshake for which a plain peer counts as there: it renews
its session at least that often (WireGuard paper, section 6.1)."""

_NAT_FIELDS = tuple(each.name for each in fields(control.ReportedNat))

IDLE_REASON = "There has been no traffic yet that needs a path."


class MeshPeer:
    """Everything about one peer.

    :ivar entry: what the coordinator says about it.
    :ivar tunnel: its WireGuard side, whose endpoint follows the path agent.
    """

    def __init__(self, entry: control.PeerEntry, tunnel: Tunnel) -> None:
        self.entry = entry
        self.tunnel = tunnel
        self.agent: PathAgent | None = None
        self.relayed: Endpoint | None = None
        """Its relayed address, on the link of our relay."""
        self.via: MeshPeer | None = None
        """The hub that forwards to it, while there is no other way."""
        self.is_forwarded: bool | None = None
        """Whether that hub really passes on what is sent, ``None`` if that is not known
        yet."""
        self.is_served = False
        """It is plain, and this node is its hub."""
        self.beyond: tuple[IPv4Network | IPv6Network, ...] = ()
        """The internet, while it is the exit of this node."""
        self._keys: CheckKeys | None = None
        self._session = ""
        self._heard_from: Endpoint | None = None
        self._heard_at = self._sent_at = float("-inf")

    @property
    def key(self) -> str:
        """Its public key in text, by which the coordinator knows it."""
        return format_key(self.tunnel.public_key)

    @property
    def is_plain(self) -> bool:
        """Whether it runs nothing but WireGuard, and is reached through its hub."""
        return self.entry.role == PLAIN

    def is_online(self, unix_time: float) -> bool:
        """Tell whether it is there, as far as anybody knows."""
        if self.is_served:
            handshake = self.tunnel.last_handshake
            return handshake is not None and unix_time - handshake < ALIVE
        if self.is_plain:
            return self.via is not None and self.via.entry.online
        return self.entry.online

    def networks(self) -> list[IPv4Network | IPv6Network]:
        """Return what belongs to it: its addresses, and what is behind it."""
        own = (*self.entry.addresses, *self.entry.routes)
        return [*map(prefixes.to_network, own), *self.beyond]

    def relay_candidates(self) -> list[control.ReportedCandidate]:
        """Return the relayed addresses that it reported, the one it prefers first."""
        return [c for c in self.entry.candidates if c.kind == "relay"]

    def check_keys(self, private_key: PrivateKey) -> CheckKeys | None:
        """Return the keys of checks, ``None`` if the peer's key has a low order."""
        if self._keys is None:
            self._keys = CheckKeys.derive(private_key, self.tunnel.public_key)
        return self._keys

    def begin(
        self,
        private_key: PrivateKey,
        *,
        random: Random,
        limiter: PunchLimiter,
        overlay: Container[IPAddress],
        routes: Container[bytes],
        links: Iterator[int],
        tunnels: OwnTunnels,
        veil: Veil,
    ) -> PathAgent | None:
        """Return the path agent, a new one if needed.

        ``None`` means that the peer's key has a low order, and can have no path.

        :param routes: by which the agents of other peers are found.
        :param links: numbers for streams.
        :param tunnels: that end at this machine.
        :param veil: of this node.
        """
        if self.agent is None:
            keys = self.check_keys(private_key)
            if keys is not None:
                self.agent = PathAgent(
                    keys,
                    random=random,
                    limiter=limiter,
                    overlay=overlay,
                    routes=routes,
                    links=links,
                    tunnels=tunnels,
                    veil=veil,
                )
        return self.agent

    def is_news(self, endpoint: Endpoint, now: float) -> bool:
        """Tell whether the agent should hear of this authentic message.

        Messages come by the thousand; the agent wants to know that they come, and
        whether they come from elsewhere now.
        """
        if endpoint == self._heard_from and now < self._heard_at + NOTE_INTERVAL:
            return False
        self._heard_from, self._heard_at = endpoint, now
        return True

    @property
    def heard_at(self) -> float:
        """When it was last heard, minus infinity for never."""
        return self._heard_at

    def is_traffic_news(self, now: float) -> bool:
        """Tell the same of messages sent."""
        if now < self._sent_at + NOTE_INTERVAL:
            return False
        self._sent_at = now
        return True

    def count_heard(
        self, endpoint: Endpoint, length: int, message: MessageKind, now: float
    ) -> None:
        """Have the agent count authentic messages that came from an endpoint."""
        if self.agent is None:
            return
        if message is MessageKind.DATA:
            self.agent.data_received(endpoint, length)
        else:
            is_initiation = message is MessageKind.INITIATION
            self.agent.handshake_received(endpoint, now, is_initiation=is_initiation)

    def is_reported_at(self, endpoint: Endpoint) -> bool:
        """Tell whether the netmap has the peer at an endpoint."""
        where = (endpoint.host, endpoint.port)
        return any((each.host, each.port) == where for each in self.entry.candidates)

    def has_restarted(self, offer: Offer) -> bool:
        """Tell whether an offer is of another process than the one before.

        Each agent chooses a word that is in all of its offers.
        """
        before, self._session = self._session, offer.session
        return before not in ("", self._session)

    def status(
        self, now: float, unix_time: float, refusal: str | None = None
    ) -> dict[str, Any]:
        """Return the peer's part of ``meshwg status --json``.

        :param refusal: why the relay does not carry to it, if it said so.
        """
        tunnel, path = self.tunnel, self._path_status(now)
        handshake = tunnel.last_handshake
        return {
            "name": self.entry.name,
            "public_key": self.key,
            "addresses": list(self.entry.addresses),
            "online": self.is_online(unix_time),
            "role": self.entry.role,
            "routes": list(self.entry.routes),
            "via": None if self.via is None else self.via.entry.name,
            "exit": self.entry.exit,
            "held": False,
            "nat": _nat_json(self.entry.nat),
            "path": self.path_json(now, unix_time),
            "reason": self.reason(now, refusal),
            "attempts": [
                {
                    "at": round(unix_time - now + attempt.at, 3),
                    "method": attempt.method,
                    "result": attempt.result.value,
                    "detail": attempt.detail,
                }
                for attempt in (path.attempts if path is not None else ())
            ],
            "next_attempt_in": _rounded(path.next_attempt_in if path else None),
            "last_handshake_age": (
                None if handshake is None else round(max(unix_time - handshake, 0), 3)
            ),
            "rx_bytes": tunnel.rx_bytes,
            "tx_bytes": tunnel.tx_bytes,
        }

    def reason(self, now: float, refusal: str | None = None) -> str:
        """Return in a sentence why the path is this one, and not a better one."""
        if self.is_plain:
            return self._plain_reason()
        path = self._path_status(now)
        reason = path.reason if path is not None else IDLE_REASON
        if refusal is not None and path is not None and path.kind != "direct":
            reason = f"{refusal}, so it carries nothing to this peer."
        if self.via is not None:
            return f"{self._forwarding()}: {reason}"
        return reason

    def path_json(self, now: float, unix_time: float) -> dict[str, Any]:
        """Return only which path is in use."""
        if self.is_served:
            return self._served_json(unix_time)
        if self.via is not None:
            hub = self.via.path_json(now, unix_time)
            if hub["kind"] == "none" or self.is_forwarded is False:
                return path_json(None, now, unix_time)
            name = self.via.entry.name
            return {**hub, "kind": "relay", "method": "relay", "via": name}
        return path_json(self._path_status(now), now, unix_time)

    def _forwarding(self) -> str:
        """Return what is known of the hub that a peer is diverted to."""
        name = "" if self.via is None else self.via.entry.name
        if self.is_forwarded is None:
            return f"Packets go by the hub {name}, and no echo has come back by it yet"
        if self.is_forwarded:
            return f"The hub {name} forwards"
        return f"The hub {name} does not forward to there, or no echo is answered there"

    def _plain_reason(self) -> str:
        if self.is_served:
            if self.tunnel.endpoint is None:
                return "It is plain WireGuard, and has not been heard by this node yet."
            return "It is plain WireGuard, and this node is its hub."
        if self.via is None:
            return "It is plain WireGuard, and its hub is no hub any more, or has gone."
        return f"It is plain WireGuard: packets go by its hub {self.via.entry.name}."

    def _served_json(self, unix_time: float) -> dict[str, Any]:
        """Return the path to a plain peer of this node, which is where it was heard."""
        endpoint, handshake = self.tunnel.endpoint, self.tunnel.last_handshake
        path = path_json(None, 0.0, 0.0)
        if endpoint is None or not self.is_online(unix_time):
            return path
        remote = str(endpoint.unpinned())
        since = None if handshake is None else round(handshake, 3)
        seen = {"kind": "direct", "method": "peer-reflexive", "remote": remote}
        return {**path, **seen, "since": since}

    def soundings(self, since: float) -> tuple[Sounding, ...]:
        """Return which paths to it, or to its hub, have answered since some time."""
        agent = (self.via or self).agent
        return agent.soundings(since) if agent is not None else ()

    def _path_status(self, now: float) -> PathStatus | None:
        return self.agent.status(now) if self.agent is not None else None


def held_status(entry: control.PeerEntry, reason: str) -> dict[str, Any]:
    """Return the same of a peer that is not trusted, and so is none."""
    return {
        "name": entry.name,
        "public_key": entry.public_key,
        "addresses": list(entry.addresses),
        "online": entry.online,
        "role": entry.role,
        "routes": [],
        "via": None,
        "exit": False,
        "held": True,
        "nat": _nat_json(entry.nat),
        "path": path_json(None, 0.0, 0.0),
        "reason": reason,
        "attempts": [],
        "next_attempt_in": None,
        "last_handshake_age": None,
        "rx_bytes": 0,
        "tx_bytes": 0,
    }


def path_json(path: PathStatus | None, now: float, unix_time: float) -> dict[str, Any]:
    """Return the object *path* of ``meshwg status --json``."""
    if path is None or path.kind == "none":
        return {
            "kind": "none",
            "method": None,
            "remote": None,
            "rtt_ms": None,
            "loss": None,
            "since": None,
            "via": None,
        }
    return {
        "kind": path.kind,
        "method": path.method,
        "remote": None if path.remote is None else str(path.remote),
        "rtt_ms": _milliseconds(path.rtt),
        "loss": round(path.loss, 3),
        "since": None if path.since is None else round(unix_time - now + path.since, 3),
        "via": None,
    }


def sounding_json(sounding: Sounding) -> dict[str, Any]:
    """Return one of the *checks* of ``meshwg ping --json``."""
    return {
        "kind": sounding.kind,
        "method": sounding.method,
        "remote": str(sounding.remote),
        "answered": sounding.answered,
        "carries": sounding.carries,
        "rtt_ms": _milliseconds(sounding.rtt) if sounding.answered else None,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _nat_json(report: control.NatReport | None) -> dict[str, Any] | None:
    """Return the NAT of the family that tells most, as ``netcheck`` shows it."""
    if report is None:
        return None
    nat = report.ipv4 or report.ipv6
    return None if nat is None else {name: getattr(nat, name) for name in _NAT_FIELDS}
