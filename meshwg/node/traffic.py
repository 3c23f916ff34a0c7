"""Which machine gets a datagram that arrived, and where messages are sent.

The data path of the device opens the messages of established sessions, also those in
the channels of a relay. Everything else is told apart here by its first bytes:
WireGuard's handshakes go to the device, STUN to the machine that asked, ChannelData to
the relays, and what a relay unwraps goes the same way again, as having come from the
peer over the relay's link.

What the device tells of its peers is passed on to their paths before anything is sent,
so that an answer goes to where its peer has just been heard.
"""

from collections import Counter
from collections.abc import Sequence

from meshwg.errors import InvalidMessage
from meshwg.node.paths import Paths
from meshwg.node.streaming import Streaming
from meshwg.node.streams import framed
from meshwg.relay.pool import RelayPool
from meshwg.transmit import FIRST_LINK, UDP, Endpoint, Transmit
from meshwg.whereabouts import Whereabouts
from meshwg.wire import stun
from meshwg.wire.demux import DatagramKind, runs
from meshwg.wire.stun import Buffer
from meshwg.wireguard.device import Device
from meshwg.wireguard.news import (
    CookieReceived,
    Heard,
    Sent,
    SessionUnknown,
    Unanswered,
    Wanted,
)


class Traffic:
    """The datagrams of one node.

    :ivar has_asked: set when the relays or the whereabouts were called, and may want to
        be woken earlier.
    """

    def __init__(
        self,
        device: Device,
        paths: Paths,
        relays: RelayPool,
        whereabouts: Whereabouts,
        streaming: Streaming,
    ) -> None:
        self.drops: Counter[str] = Counter()
        self.has_asked = False
        self._device = device
        self._paths = paths
        self._relays = relays
        self._whereabouts = whereabouts
        self._streaming = streaming
        self._now = float("-inf")

    # In.

    def receive(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take datagrams that arrived together from one endpoint."""
        self._device.datapath.receive_datagrams(datagrams, endpoint, now)
        self.collect(now)

    def collect(self, now: float) -> None:
        """Deal with what the data path carried, and with what it could not."""
        self._device.settle()
        for run, source in self._device.datapath.take_exceptions():
            self._receive(run, source, now)
        self.pass_on_news()

    def receive_stream(self, link: int, data: bytes, now: float) -> None:
        """Take bytes from the connection to a relay, or to a peer."""
        if link >= UDP:
            self._unwrapped(self._relays.receive_stream(link, data, now), now)
            return
        for endpoint, messages in self._streaming.receive(link, data, now):
            self.receive(messages, endpoint, now)

    def _receive(
        self, datagrams: Sequence[Buffer], endpoint: Endpoint, now: float
    ) -> None:
        """Take what the data path has no session for.

        What a peer sent through a relay or a stream can be a handshake or a check,
        nothing else.
        """
        is_wrapped = endpoint.link >= FIRST_LINK or endpoint.link < UDP
        receive_stun = self._receive_check if is_wrapped else self._receive_stun
        for kind, run in runs(datagrams):
            if kind is DatagramKind.WIREGUARD:
                self._device.receive_exceptions(run, endpoint, now)
            elif kind is DatagramKind.STUN:
                for datagram in run:
                    receive_stun(datagram, endpoint, now)
            elif (
                kind is DatagramKind.CHANNEL_DATA
                and not is_wrapped
                and self._relays.is_relay(endpoint)
            ):
                received = self._relays.receive_channel_data(run, endpoint, now)
                self._unwrapped(received, now)
            else:
                self.drops["unknown-datagram"] += len(run)

    def _unwrapped(
        self, received: list[tuple[Endpoint, list[Buffer]]], now: float
    ) -> None:
        """Take what peers sent through a relay, as having come from them."""
        self.has_asked = True
        for endpoint, payloads in received:
            self.receive(payloads, endpoint, now)

    def _receive_stun(self, datagram: Buffer, endpoint: Endpoint, now: float) -> None:
        """Give a STUN message to the machine that it is for."""
        received = self._relays.receive_stun(datagram, endpoint, now)
        if received is not None:
            self._unwrapped(received, now)
        elif self._whereabouts.receive_stun(datagram, endpoint, now):
            self.has_asked = True
        else:
            self._receive_check(datagram, endpoint, now)

    def _receive_check(self, datagram: Buffer, endpoint: Endpoint, now: float) -> None:
        try:
            message = stun.parse(datagram)
        except InvalidMessage:
            self.drops["invalid-stun"] += 1
            return
        # Its answer tells what has arrived until now.
        self.pass_on_news()
        self._paths.receive_check(message, endpoint, now)

    # News of the device.

    def pass_on_news(self) -> None:
        """Tell the paths what the device tells of its peers."""
        while (news := self._device.next_news()) is not None:
            self._now = max(self._now, news.at)
            match news:
                case Heard(lane, endpoint, at, length, message):
                    if endpoint.link >= FIRST_LINK:
                        self._relays.note_received(endpoint, at)
                        self.has_asked = True
                    self._paths.heard(lane, endpoint, length, message, at)
                case Sent(lane, at, length, message):
                    if lane.endpoint is not None and lane.endpoint.link >= FIRST_LINK:
                        self._relays.note_sent(at)
                        self.has_asked = True
                    self._paths.sent(lane, length, message, at)
                case CookieReceived(lane, at):
                    self._paths.handshake_deferred(lane)
                case Unanswered(lane, at):
                    self._paths.unanswered(lane, at)
                case Wanted(lane, at):
                    self._paths.wanted(lane, at)
                case SessionUnknown(endpoint, at):
                    self._paths.session_unknown(endpoint, at)

    # Out.

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what has to go out: by UDP, or on the stream of a relay's link."""
        self.pass_on_news()
        ready: list[Transmit] = []
        for transmit in self._device.datagrams_to_send():
            self._route(transmit, ready)
        for check in self._paths.datagrams_to_send():
            self._route(check, ready)
        ready += self._whereabouts.datagrams_to_send()
        ready += self._relays.datagrams_to_send()
        ready += self._streaming.datagrams_to_send()
        return ready

    def _route(self, transmit: Transmit, ready: list[Transmit]) -> None:
        """Send what goes to a peer behind a relay through that, or over a stream."""
        if transmit.destination.link < UDP:
            ready.append(framed(transmit))
        elif transmit.destination.link >= FIRST_LINK:
            self._relays.send(transmit.destination, transmit.datagrams, self._now)
            self.has_asked = True
        else:
            ready.append(transmit)
