"""The data path: it carries the packets of established sessions, and decides nothing.

A :class:`Datapath` is *told* what sessions there are, in which *lane* the packets of
each peer go, which networks belong to which lane, and through which channels of a relay
some endpoints are reached. It *answers* with batches of datagrams and packets. What it
has no rule for goes up to its owner: packets that no session can seal
(:meth:`Datapath.take_unsent`), datagrams that are not data messages of a session
(:meth:`Datapath.take_exceptions`), and notes of what was carried
(:meth:`Datapath.take_notes`), from which its owner moves timers, renews sessions and
finds out where peers are. There are no timers, no handshakes and no policy inside.

:mod:`meshwg.wireguard.python_datapath` is the reference. A compiled implementation has
to do what that one does, and can do it in threads of its own.

Packets that come alone have a shorter way, the *fast path*: they find nothing of the
program in the processor's caches, where each first use of a function, an object or a
constant costs as much as a dozen later ones. So :meth:`Datapath.seal_one` and
:meth:`Datapath.open_one` handle the usual case in one piece, and leave the rest,
untouched, to the batch functions.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from meshwg.transmit import Endpoint, Transmit
from meshwg.wireguard.allowedips import AllowedIPs, Network
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.filtering import PacketFilter
from meshwg.wireguard.lane import Lane
from meshwg.wireguard.session import Buffer, Session

Note = tuple[Lane, Session | None, Endpoint | None, int, bool, float]
"""Messages that were carried together: in which lane; of which session and from where,
if they are authentic ones that were received, else ``None`` twice; their bytes; whether
there was anything but keepalives; and when."""


class Datapath(Protocol):
    """What a device needs of a data path.

    :ivar kind: which one carries: "python" or "core".
    :ivar is_up: whether packets are taken from the interface.
    :ivar mtu: of the interface in bytes, which padding does not exceed.
    :ivar allowed_ips: which lane each network belongs to.
    :ivar drops: how many packets and messages went no further, by reason.
    """

    is_up: bool
    mtu: int

    @property
    def kind(self) -> str: ...
    @property
    def allowed_ips(self) -> AllowedIPs[Lane]: ...
    @property
    def drops(self) -> dict[Drop, int]: ...

    # What it is told.

    def add_lane(self) -> Lane:
        """Return the lane of a new peer: without networks, session and endpoint."""

    def remove_lane(self, lane: Lane) -> None:
        """Forget a lane; its sessions have been removed before."""

    def steer(
        self, lane: Lane, endpoint: Endpoint | None, second: Endpoint | None = None
    ) -> None:
        """Send what goes in a lane there, and to a second endpoint as well."""

    def limit(self, lane: Lane, longest: int) -> None:
        """Send no packets in a lane that have more bytes, but tell their senders."""

    def let_forward(self, lane: Lane, forwards: bool) -> None:
        """Say whether the peer of a lane may pass on what other peers sent."""

    def let_come_by(self, lane: Lane, hub: Lane | None) -> None:
        """Take what a lane's peer sent from a hub's lane, too, if that forwards."""

    def accept_from(self, networks: Iterable[tuple[Network, Sequence[Lane]]]) -> None:
        """Take what has its source in a network from any of these lanes' peers.

        That replaces what was said before. Where packets *to* a network go is still
        one lane, that which it belongs to.

        :param networks: with all that lead to peers: a source is judged by the longest
            of them that it is in.
        """

    def deliver_only(self, networks: Iterable[Network], *, members: bool) -> None:
        """Take from peers only what is for these networks; at first for all.

        :param members: take what is for other peers, too, to be forwarded.
        """

    def make_session(
        self,
        keys: tuple[bytes, bytes],
        *,
        local_index: int,
        remote_index: int,
        is_initiator: bool,
        now: float,
    ) -> Session:
        """Return a new session, as :class:`~meshwg.wireguard.session.Session` says."""

    def set_filter(self, packet_filter: PacketFilter | None) -> None:
        """Let only those packets pass, in both directions, that a filter lets pass.

        It is asked for the first packet of each exact flow.
        """

    def add_session(self, lane: Lane, session: Session) -> None:
        """Open the messages of a session, which was made here, from now on."""

    def seal_with(self, lane: Lane, session: Session | None) -> None:
        """Seal the packets of a lane with this session from now on."""

    def remove_session(self, session: Session) -> None:
        """Forget a session and its keys."""

    def set_channel(self, peer: Endpoint, server: Endpoint, number: int | None) -> None:
        """Reach an endpoint through a relay's channel over UDP, or not any more.

        Who had that channel of the relay before has it no longer.

        :param peer: its relayed address, on the link of the relay.
        :param server: the relay.
        """

    def intercept_echoes(self, identifiers: frozenset[int]) -> None:
        """Keep echo replies with these identifiers from the interface."""

    # Packets and datagrams.

    def receive_packets(self, packets: Sequence[bytes], now: float) -> None:
        """Take IP packets from the interface; allowed IPs decide where they go."""

    def receive_datagrams(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together from one endpoint, in their order."""

    def seal(
        self, lane: Lane, packets: Sequence[Buffer], now: float
    ) -> tuple[int, int]:
        """Send the owner's packets in a lane, empty ones as keepalives.

        :return: how many of them, fewer than all where the lane has no session or no
            endpoint, or where the session's counter ends; and the bytes of their
            messages. There are no notes of these.
        """

    def send(self, lane: Lane, message: bytes, to: Endpoint | None = None) -> None:
        """Send a handshake message to the lane's endpoint when this is drained.

        If the lane has no endpoint then, the message is dropped.

        :param to: where to send it instead.
        """

    def seal_to(self, lane: Lane, endpoint: Endpoint, now: float) -> int:
        """Send a keepalive of the lane's session to an endpoint that is not its own.

        :return: the bytes of its message, 0 where the lane has no session.
        """

    def seal_one(self, packet: bytes, now: float, /) -> tuple[Endpoint, bytes] | None:
        """Return a lone packet as a datagram, and where it goes.

        ``None``, with nothing changed, is the answer to all that needs more than this:
        it is for :meth:`receive_packets`.
        """

    def open_one(
        self, datagram: bytes, endpoint: Endpoint, now: float, /
    ) -> bytes | None:
        """Return the packet in a lone datagram, empty if it is not for the interface.

        ``None``, with nothing changed, is the answer to all that needs more than this:
        it is for :meth:`receive_datagrams`.
        """

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go to the network, and forget it."""

    def packets_to_write(self) -> list[bytes]:
        """Return what has to go to the interface, and forget it."""

    # What goes up.

    def take_notes(self) -> list[Note]:
        """Return what was carried since the last call, in its order."""

    def take_unsent(self) -> list[tuple[Lane, Sequence[Buffer], float]]:
        """Return packets whose lane had no session or endpoint, and when that was."""

    def take_exceptions(self) -> list[tuple[Sequence[Buffer], Endpoint]]:
        """Return datagrams that are not for a session, with where they came from."""

    def take_echoes(self) -> list[bytes]:
        """Return the echo replies that were kept from the interface."""
