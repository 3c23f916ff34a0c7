"""The exit that this node uses, and whether it is one itself.

An exit is a peer that an administrator has approved as one; a user of this node chooses
it, and it stays chosen until the user says otherwise. While it is away, packets to the
internet go nowhere: they are never sent in any other way (:mod:`meshwg.routing`).

From the exit, packets are taken that come from the internet, and from nobody else's
addresses: not from private ones, which are the machine's own surroundings.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshwg import prefixes
from meshwg.errors import MeshError
from meshwg.health import Complaint, Health, Severity
from meshwg.node.events import ExitChanged, ExitInterface, NodeEvent
from meshwg.peer import MeshPeer
from meshwg.prefixes import IPNetwork

AWAY = "exit-away"
KILL_SWITCH_OFF = "kill-switch-off"
"""What keeps packets from leaving beside the exit is not there."""
SILENCE = 10.0
"""Seconds after which an exit that is offline for the coordinator is away, too."""
NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class ChosenExit:
    """What a user has chosen."""

    key: str
    """The public key of the peer: names can change hands."""
    name: str
    """What it was called then."""
    lan: bool = False
    """Whether the machine's own private networks are reached beside it."""

    def to_json(self) -> dict[str, Any]:
        return {"public_key": self.key, "name": self.name, "lan": self.lan}


class Exits:
    """Exits, as this node has to do with them.

    :param peers: by public key.
    :param events: where the user is told of it.
    """

    def __init__(
        self, peers: Mapping[str, MeshPeer], events: deque[NodeEvent], health: Health
    ) -> None:
        self.chosen: ChosenExit | None = None
        self._peers = peers
        self._events = events
        self._health = health
        self._leading: dict[str, None] = {}
        """The keys of the peers that have the internet behind them for this node."""
        self._told = ""
        """Why it is away, as the user was told."""

    # What the user says.

    def find(self, name: str) -> MeshPeer:
        """Return the exit of a name, a mesh address or a public key.

        :raises MeshError: if there is no such peer, or it is no exit.
        """
        for peer in self._peers.values():
            if name in (peer.entry.name, peer.key, *peer.entry.addresses):
                if not peer.entry.exit:
                    raise MeshError(
                        f"{peer.entry.name} is no exit: it has to be started with "
                        "--exit, and to be approved with 'meshwg-coordinator route "
                        f"approve {peer.entry.name} exit'"
                    )
                return peer
        raise MeshError(f"There is no exit '{name}': {self._known()}")

    def choose(self, chosen: ChosenExit | None) -> None:
        """Use an exit from now on, or none.

        The members have to be looked at after that, since addresses change hands.
        """
        self.chosen, self._told = chosen, ""
        if chosen is None:
            self._health.clear(AWAY)

    # What follows from that.

    @property
    def peer(self) -> MeshPeer | None:
        """The exit in use, if it is a member and an approved exit."""
        peer = None if self.chosen is None else self._peers.get(self.chosen.key)
        return peer if peer is not None and peer.entry.exit else None

    def settle(self, mesh: Iterable[IPNetwork]) -> list[MeshPeer]:
        """Let the exit in use have the internet behind it, and nobody else.

        :param mesh: the mesh's own networks.
        :returns: the peers whose networks changed.
        """
        peer = self.peer
        wanted = {} if peer is None else {peer.key: prefixes.internet(*mesh)}
        changed = []
        for key in (*self._leading, *wanted):
            found, beyond = self._peers.get(key), wanted.get(key, ())
            if found is not None and found.beyond != beyond:
                found.beyond = beyond
                changed.append(found)
        self._leading = dict.fromkeys(wanted)
        return changed

    def interface(self) -> ExitInterface | None:
        """Return how packets to the internet are to go, ``None`` without an exit."""
        if self.chosen is None:
            return None
        return ExitInterface(self.peer is not None, self.chosen.lan)

    def name_servers(self) -> tuple[str, ...] | None:
        """Return whom to ask for names of the internet, ``None`` without an exit."""
        if self.chosen is None:
            return None
        return () if self.peer is None else self.peer.entry.addresses

    # What is said of it.

    def look(self, now: float) -> None:
        """Tell the user if the exit went away, or is there again."""
        if self.chosen is None:
            return
        reason = self.why_away(now)
        if reason != self._told:
            self._told = reason
            self._events.append(ExitChanged(self.name, reason))
        self._health.put(AWAY, self.complaint(now))

    def complaint(self, now: float) -> Complaint | None:
        """Return what the user should know of an exit that is away.

        :raises AssertionError: if no exit is used.
        """
        reason = self.why_away(now)
        if not reason:
            return None
        return Complaint(
            AWAY,
            Severity.FAILURE,
            f"Nothing gets to the internet: {reason}.",
            "Wait for it, choose another with 'meshwg exit use NAME', or do without "
            "with 'meshwg exit off'.",
        )

    def why_away(self, now: float) -> str:
        """Return why nothing gets to the internet, empty if nothing is known of that.

        :raises AssertionError: if no exit is used.
        """
        assert self.chosen is not None
        name, peer = self.name, self._peers.get(self.chosen.key)
        if peer is None:
            return f"{name} is not in the mesh any more, or is not to be seen from here"
        if not peer.entry.exit:
            return f"{name} is not an approved exit any more"
        if not peer.entry.online and now >= peer.heard_at + SILENCE:
            return f"{name} is offline, and was not heard for {SILENCE:.0f} s"
        return ""

    def status(self, now: float) -> dict[str, Any] | None:
        """Return ``using`` of ``self.exit`` in ``meshwg status --json``."""
        if self.chosen is None:
            return None
        reason = self.why_away(now)
        return {
            **self.chosen.to_json(),
            "name": self.name,
            "state": "away" if reason else "up",
            "reason": reason or None,
        }

    def report(self, now: float, unix_time: float) -> dict[str, Any]:
        """Return ``meshwg exit list --json``, but for its schema."""
        approved = [peer for peer in self._peers.values() if peer.entry.exit]
        return {
            "using": self.status(now),
            "exits": [
                {
                    "name": peer.entry.name,
                    "public_key": peer.key,
                    "addresses": list(peer.entry.addresses),
                    "online": peer.entry.online,
                    "in_use": self.chosen is not None and peer.key == self.chosen.key,
                    "path": peer.path_json(now, unix_time),
                }
                for peer in sorted(approved, key=lambda each: each.entry.name)
            ],
        }

    @property
    def name(self) -> str:
        """What the exit in use is called now."""
        assert self.chosen is not None
        peer = self._peers.get(self.chosen.key)
        return self.chosen.name if peer is None else peer.entry.name

    def _known(self) -> str:
        names = sorted(
            each.entry.name for each in self._peers.values() if each.entry.exit
        )
        if not names:
            return "this mesh has none that is approved"
        more = ", ..." if len(names) > NAMES_SHOWN else ""
        return f"use one of {', '.join(names[:NAMES_SHOWN])}{more}"
