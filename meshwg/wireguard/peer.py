"""One peer: its handshakes, its three keypairs, and what waits for them.

The functions stand in the order in which things happen to a peer: packets go out, an
initiation is sent or received, a session is derived, messages come in, timers expire.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meshwg.errors import RemoteProtocolError
from meshwg.keys import KEY_LENGTH, PrivateKey
from meshwg.transmit import Endpoint, Random
from meshwg.wireguard import tai64n
from meshwg.wireguard.constants import (
    INITIATION_INTERVAL,
    INITIATION_LENGTH,
    LAST_MINUTE,
    MAX_HANDSHAKE_ATTEMPTS,
    MAX_STAGED_PACKETS,
    REKEY_AFTER_MESSAGES,
    REKEY_TIMEOUT,
    RESPONSE_LENGTH,
)
from meshwg.wireguard.cookie import CookieJar
from meshwg.wireguard.datapath import Datapath
from meshwg.wireguard.drop import Drop
from meshwg.wireguard.handshake import ReceivedInitiation, SentInitiation
from meshwg.wireguard.indices import IndexTable
from meshwg.wireguard.news import (
    CookieReceived,
    Heard,
    MessageKind,
    News,
    Sent,
    Unanswered,
    Wanted,
)
from meshwg.wireguard.session import Buffer, Session
from meshwg.wireguard.timers import NEVER, Timers

NO_KEY = bytes(KEY_LENGTH)
_LONG_AGO = float("-inf")
_KINDS = {
    INITIATION_LENGTH: MessageKind.INITIATION,
    RESPONSE_LENGTH: MessageKind.RESPONSE,
}


@dataclass(slots=True)
class Surroundings:
    """What all peers of a device share.

    :ivar unix_time: maps ``now`` to wall time in seconds.
    :ivar datapath: what carries their packets, and sends their messages.
    :ivar news: what to tell the owner, which decides on endpoints; ``None`` where each
        peer is wherever it was last heard from.
    """

    random: Random
    unix_time: Callable[[float], float]
    indices: "IndexTable[Peer]"
    datapath: Datapath
    private_key: PrivateKey | None = None
    drops: dict[Drop, int] = field(default_factory=lambda: dict.fromkeys(Drop, 0))
    news: deque[News] | None = None


class Peer:
    """The other end of a tunnel.

    Most peers of a large mesh are never spoken to, so what costs a curve operation or
    much memory is made when it is first needed.

    :ivar lane: what the data path knows it by.
    :ivar last_handshake: wall time of the last completed handshake in seconds.
    :ivar rx_bytes: bytes of authentic messages received, with their overhead.
    :ivar tx_bytes: bytes of messages sent, with their overhead.
    """

    def __init__(self, public_key: bytes, surroundings: Surroundings) -> None:
        self.public_key = public_key
        self.preshared_key = NO_KEY
        self.lane = surroundings.datapath.add_lane()
        self.last_handshake: float | None = None
        self.rx_bytes = 0
        self.tx_bytes = 0
        self.timers = Timers()
        self.current: Session | None = None
        self.previous: Session | None = None
        self.next: Session | None = None
        self._around = surroundings
        self._staged: list[bytes] = []
        self._initiation: SentInitiation | None = None
        self._cookies: CookieJar | None = None
        self._secret: bytes | None = None
        """What :meth:`_static_shared` returns, empty for ``None``, once it was made."""
        self._handshake_sent_at = _LONG_AGO
        self._hastened_at = _LONG_AGO
        """When a cookie last made for an initiation before its time."""
        self._timestamp_sent = bytes(tai64n.LENGTH)
        self._timestamp_received = bytes(tai64n.LENGTH)
        self._initiation_received_at = _LONG_AGO
        self.private_key_changed()

    @property
    def endpoint(self) -> Endpoint | None:
        """Where its messages go, ``None`` while that is not known."""
        return self.lane.endpoint

    @property
    def persistent_keepalive(self) -> int:
        """Seconds between keepalives that keep a NAT mapping open, 0 for none."""
        return self.timers.persistent_interval

    # Packets out.

    def send(self, packets: Sequence[Buffer], now: float) -> None:
        """Send packets, empty ones as keepalives, or keep them for the next session."""
        count, length = self._around.datapath.seal(self.lane, packets, now)
        if count < len(packets):
            self.stage(packets[count:], now)
        if count:
            self.note_sent(length, bool(packets[0]) or any(packets), now)

    def note_sent(self, length: int, is_data: bool, now: float) -> None:
        """Note data messages that were sent, and renew a session that is old.

        :param length: of the messages, in bytes.
        :param is_data: whether there was anything but keepalives.
        """
        self.tx_bytes += length
        self.timers.sent(now, is_data=is_data)
        if self._around.news is not None:
            self._around.news.append(Sent(self.lane, now, length))
        session = self.current
        if session is not None and (
            now > session.renew_at or session.sent > REKEY_AFTER_MESSAGES
        ):
            self.initiate(now)

    def send_keepalive(self, now: float) -> None:
        """Send an empty message, or a packet that waits, which serves as well."""
        if self._staged:
            self.flush(now)
        else:
            self.send([b""], now)

    def flush(self, now: float) -> None:
        """Send what waits, or begin the handshake it waits for."""
        if self._staged:
            self.send(self.take_staged(), now)

    def take_staged(self) -> list[bytes]:
        """Return what waits for a handshake, and forget it."""
        packets, self._staged = self._staged, []
        return packets

    def stage(self, packets: Sequence[Buffer], now: float) -> None:
        """Keep packets until they can be sent, and begin a handshake if necessary."""
        self._staged.extend(bytes(packet) for packet in packets)
        excess = max(0, len(self._staged) - MAX_STAGED_PACKETS)
        del self._staged[:excess]
        self._around.drops[Drop.STAGE_FULL] += excess
        self.initiate(now)

    def _send_handshake(
        self, message: bytes, now: float, to: Endpoint | None = None
    ) -> None:
        if self._cookies is None:
            self._cookies = CookieJar(self.public_key)
        signed = self._cookies.sign(message, now)
        self._handshake_sent_at = now
        self._around.datapath.send(self.lane, signed, to)
        self.tx_bytes += len(signed)
        self.timers.sent(now)
        if self._around.news is not None and to is None:
            length = len(signed)
            kind = _KINDS[length]
            self._around.news.append(Sent(self.lane, now, length, kind))

    def probe(self, endpoint: Endpoint, now: float, *, handshake: bool) -> int:
        """Send one message to an endpoint that is not the peer's, to see if it arrives.

        It is a keepalive of the session, or an initiation, which begins a new session.

        :return: its length in bytes, 0 if there is nothing to send.
        """
        before = self.tx_bytes
        if handshake:
            self._handshake_sent_at = _LONG_AGO
            self.initiate(now, to=endpoint)
        else:
            self.tx_bytes += self._around.datapath.seal_to(self.lane, endpoint, now)
        return self.tx_bytes - before

    # Handshakes that we begin.

    def initiate(
        self, now: float, *, is_retry: bool = False, to: Endpoint | None = None
    ) -> None:
        """Send an initiation, unless one or a response was sent within 5 seconds.

        :param to: where to, if not to the peer's endpoint.
        """
        if not is_retry:
            self.timers.attempts = 0
        private_key, shared = self._around.private_key, self._static_shared()
        if private_key is None or shared is None:
            return
        if self.endpoint is None:
            if self._around.news is not None:
                self._around.news.append(Wanted(self.lane, now))
            return
        if now - self._handshake_sent_at < REKEY_TIMEOUT:
            return
        self._forget_initiation()
        self._initiation = SentInitiation.create(
            private_key,
            self.public_key,
            static_shared=shared,
            preshared_key=self.preshared_key,
            local_index=self._around.indices.new(self),
        )
        try:
            message = self._initiation.write(self._timestamp(now), self._ephemeral())
        except RemoteProtocolError:
            self._forget_initiation()
            return
        self._send_handshake(message, now, to)
        self.timers.initiation_sent(now, self._around.random(2))

    def repeat_initiation(self, now: float) -> None:
        """Begin the handshake that is under way anew, before its time has passed.

        The owner knows that it is of no use to wait: the initiation was sent before
        there was a way, or it or its answer is lost.
        """
        if self.timers.retransmit != NEVER:
            self._handshake_sent_at = _LONG_AGO
            self.initiate(now, is_retry=True)

    def renew(self, now: float) -> None:
        """Begin a new session: the other half of this one is lost.

        If it is too soon after the last handshake, this waits until it is allowed,
        unless the peer shows meanwhile that it still has its half.
        """
        again = now + REKEY_TIMEOUT
        self.timers.new_handshake = min(self.timers.new_handshake, again)
        self.initiate(now)

    def receive_response(self, message: bytes, endpoint: Endpoint, now: float) -> bool:
        """Complete our handshake; return whether the response was the right one."""
        initiation = self._initiation
        if initiation is None:
            return False
        try:
            remote_index, keys = initiation.read_response(message)
        except RemoteProtocolError:
            return False
        self._initiation = None
        session = self._around.datapath.make_session(
            keys,
            local_index=initiation.local_index,
            remote_index=remote_index,
            is_initiator=True,
            now=now,
        )
        self._heard(endpoint, RESPONSE_LENGTH, now, MessageKind.RESPONSE)
        self._install_initiated(session)
        self.timers.session_derived(now)
        self._handshake_completed(now)
        # An empty message tells the responder that its session may be used.
        self.send_keepalive(now)
        return True

    def receive_cookie(self, reply: bytes, now: float) -> bool:
        """Keep a cookie, and send the initiation that it was asked for again, with it.

        That goes further than the paper, which waits for the next repetition: for as
        long as anybody floods the peer, each new session would take five seconds more.
        Only one cookie in five seconds hastens anything, so that peers that never have
        enough of them get no more than twice the initiations.
        """
        is_good = self._cookies is not None and self._cookies.receive(reply, now)
        if is_good and self._around.news is not None:
            self._around.news.append(CookieReceived(self.lane, now))
        is_due = now - self._hastened_at >= REKEY_TIMEOUT
        if is_good and is_due and self._initiation is not None:
            self._hastened_at = now
            self.repeat_initiation(now)
        return is_good

    def _timestamp(self, now: float) -> bytes:
        # Wall clocks step back; the timestamps of one peer never do.
        stamp = tai64n.stamp(self._around.unix_time(now))
        self._timestamp_sent = max(stamp, tai64n.successor(self._timestamp_sent))
        return self._timestamp_sent

    def _ephemeral(self) -> PrivateKey:
        return PrivateKey.generate(self._around.random)

    # Handshakes that the peer begins.

    def receive_initiation(
        self, initiation: ReceivedInitiation, endpoint: Endpoint, now: float
    ) -> None:
        """Answer an initiation that names this peer, if the peer really sent it.

        The answer goes to where the peer is when the data path is drained.
        """
        drops, shared = self._around.drops, self._static_shared()
        try:
            if shared is None:
                raise RemoteProtocolError("The peer's key has a low order")
            timestamp = initiation.read_timestamp(shared)
            if timestamp <= self._timestamp_received:
                drops[Drop.HANDSHAKE_REPLAYED] += 1
                return
            if now - self._initiation_received_at < INITIATION_INTERVAL:
                drops[Drop.HANDSHAKE_FLOOD] += 1
                return
            index = self._around.indices.new(self)
            message = initiation.write_response(
                index, self._ephemeral(), self.preshared_key
            )
        except RemoteProtocolError:
            drops[Drop.HANDSHAKE_REFUSED] += 1
            return
        self._timestamp_received = timestamp
        self._initiation_received_at = now
        # An initiation of ours may be on its way to the peer at the same moment. It
        # stays valid, so that two peers that begin together both succeed at once.
        self._heard(endpoint, INITIATION_LENGTH, now, MessageKind.INITIATION)
        self._install_answered(
            self._around.datapath.make_session(
                initiation.noise.split(),
                local_index=index,
                remote_index=initiation.remote_index,
                is_initiator=False,
                now=now,
            )
        )
        self.timers.session_derived(now)
        self._send_handshake(message, now)

    # Keypairs: the rotation differs by role, so that neither side sends on a session
    # that the other may not have yet.

    def _install_initiated(self, session: Session) -> None:
        self._around.datapath.add_session(self.lane, session)
        if self.next is not None:
            self._discard(self.previous)
            self._discard(self.current)
            self.previous, self.next = self.next, None
        else:
            self._discard(self.previous)
            self.previous = self.current
        self._seal_with(session)

    def _install_answered(self, session: Session) -> None:
        self._around.datapath.add_session(self.lane, session)
        self._discard(self.next)
        self._discard(self.previous)
        self.previous, self.next = None, session

    def _confirm(self, session: Session, now: float) -> None:
        """The first message on a session that we answered makes it the current one."""
        session.confirm()
        self._discard(self.previous)
        self.previous, self.next = self.current, None
        self._seal_with(session)
        self._handshake_completed(now)
        self.flush(now)

    def _seal_with(self, session: Session | None) -> None:
        self.current = session
        self._around.datapath.seal_with(self.lane, session)

    def _handshake_completed(self, now: float) -> None:
        self.timers.handshake_completed()
        self.last_handshake = self._around.unix_time(now)

    def _discard(self, session: Session | None) -> None:
        if session is not None:
            self._around.datapath.remove_session(session)
            self._around.indices.release(session.local_index)

    # Messages in.

    def note_received(
        self,
        session: Session,
        endpoint: Endpoint,
        length: int,
        is_data: bool,
        now: float,
    ) -> None:
        """Note authentic data messages, and what follows for the sessions."""
        self._heard(endpoint, length, now, is_data=is_data)
        if session is self.next:
            self._confirm(session, now)
        current = self.current
        if current is not None and now > current.renew_at + LAST_MINUTE:
            self._renew_before_receiving_too_long(now)

    def _heard(
        self,
        endpoint: Endpoint,
        length: int,
        now: float,
        message: MessageKind = MessageKind.DATA,
        *,
        is_data: bool = False,
    ) -> None:
        """Note authentic messages: the peer is alive, at that endpoint."""
        self.rx_bytes += length
        if self._around.news is not None:
            heard = Heard(self.lane, endpoint, now, length, message)
            self._around.news.append(heard)
        elif endpoint is not self.lane.endpoint:
            self._around.datapath.steer(self.lane, endpoint)
        self.timers.received(now, is_data=is_data)

    def _renew_before_receiving_too_long(self, now: float) -> None:
        if not self.timers.sent_last_minute:
            self.timers.sent_last_minute = True
            self.initiate(now)

    # Time.

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        timers = self.timers
        if timers.zero_key <= now:
            self.forget_keys()
            self._drop_staged()
            timers.zero_key = float("inf")
        if timers.retransmit <= now:
            self._retransmit(now)
        if timers.new_handshake <= now:
            timers.new_handshake = float("inf")
            if self._around.news is not None:
                self._around.news.append(Unanswered(self.lane, now))
            # Silence may mean that the source address is what went wrong.
            self.unpin()
            self.initiate(now)
        if timers.keepalive <= now:
            timers.keepalive_due(now)
            rearmed = timers.keepalive
            self.send_keepalive(now)
            timers.keepalive = rearmed
        if timers.persistent <= now:
            # Sending re-arms it; so does this where nothing could be sent.
            timers.persistent = now + timers.persistent_interval
            self.send_keepalive(now)

    def _retransmit(self, now: float) -> None:
        self.timers.retransmit = float("inf")
        if self.timers.attempts > MAX_HANDSHAKE_ATTEMPTS:
            self._drop_staged()
            self.timers.gave_up(now)
            return
        self.timers.attempts += 1
        self.unpin()
        self.initiate(now, is_retry=True)

    def unpin(self) -> None:
        """Forget the sticky source address of the endpoints."""
        lane = self.lane
        if lane.endpoint is not None:
            second = lane.second.unpinned() if lane.second is not None else None
            self._around.datapath.steer(lane, lane.endpoint.unpinned(), second)

    def _drop_staged(self) -> None:
        self._around.drops[Drop.HANDSHAKE_FAILED] += len(self._staged)
        self._staged.clear()

    # Keys and the end.

    def private_key_changed(self) -> None:
        """Start again under the device's key; only messages in flight still count."""
        self._secret = None
        self._forget_initiation()
        self._handshake_sent_at = _LONG_AGO
        for session in (self.current, self.next):
            if session is not None:
                session.retire()

    def _static_shared(self) -> bytes | None:
        """Return the secret that both static keys have in common.

        ``None``: the device has no key, or the peer's has a low order.
        """
        if self._secret is None:
            key = self._around.private_key
            self._secret = (key.exchange(self.public_key) if key else None) or b""
        return self._secret or None

    def forget_keys(self) -> None:
        """Forget every key of every session and handshake."""
        for session in (self.current, self.previous, self.next):
            self._discard(session)
        self.previous = self.next = None
        self._seal_with(None)
        self._forget_initiation()

    def stop(self) -> None:
        """Forget everything that does not outlive an interface going down."""
        self.timers.stop()
        self.forget_keys()
        self._staged.clear()
        self._handshake_sent_at = _LONG_AGO

    def _forget_initiation(self) -> None:
        if self._initiation is not None:
            self._around.indices.release(self._initiation.local_index)
            self._initiation = None
