"""Which port mapping protocols a gateway speaks, found out without mapping anything.

Both questions leave no trace: PCP's ANNOUNCE, which every server must answer (RFC 6887
section 14.1.1), and NAT-PMP's for the external address. They are repeated like those
of :mod:`meshwg.nat.portmap` and end as early as the answers allow.
"""

from meshwg.errors import InvalidMessage
from meshwg.nat import natpmp, pcp
from meshwg.nat.gateway import SERVER_PORT
from meshwg.transmit import Endpoint, Transmit

SENDS = (0.0, 0.15, 0.3)
"""Seconds after which the questions are asked: it is the next machine that answers."""
LIMIT = 0.5


class GatewayProbe:
    """Asks one gateway once."""

    def __init__(self, gateway: str, local: str, now: float) -> None:
        """Begin to ask.

        :param gateway: the address of the default gateway.
        :param local: this host's address towards it.
        """
        self.pcp: bool | None = None
        """Whether PCP is spoken; ``None`` as long as that is not known."""
        self.nat_pmp: bool | None = None if ":" not in local else False
        self._server = Endpoint(gateway, SERVER_PORT)
        self._local = local
        self._sends = [now + delay for delay in SENDS]
        self._deadline = now + LIMIT
        self._outbox: list[bytes] = []
        self.handle_timer(now)

    @property
    def finished(self) -> bool:
        """Whether everything is known that will be."""
        return self.pcp is not None and self.nat_pmp is not None

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take in a datagram that arrived on the socket towards the gateway."""
        if (source.host, source.port) != (self._server.host, self._server.port):
            return
        if pcp.is_other_version(data) and self.pcp is None:
            self.pcp = False
            return
        try:
            pcp.parse_response(data)
            self.pcp = True
        except InvalidMessage:
            self._receive_natpmp(data)

    def receive_unreachable(self, now: float) -> None:
        """Take in an ICMP error: nobody listens for either."""
        self._give_up()

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return None if self.finished else min([self._deadline, *self._sends])

    def handle_timer(self, now: float) -> None:
        """Ask again, or give up."""
        if self._sends and self._sends[0] <= now:
            self._sends = [at for at in self._sends if at > now]
            if self.pcp is None:
                self._outbox.append(pcp.encode_announce(self._local))
            if self.nat_pmp is None:
                self._outbox.append(natpmp.encode_address_request())
        if self._deadline <= now:
            self._give_up()

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send to the gateway."""
        datagrams, self._outbox = self._outbox, []
        return [Transmit(self._server, datagrams)] if datagrams else []

    def _receive_natpmp(self, data: bytes) -> None:
        try:
            response = natpmp.parse_response(data)
        except InvalidMessage:
            return
        self.nat_pmp = response.result != natpmp.NatPmpResult.UNSUPPORTED_VERSION

    def _give_up(self) -> None:
        self.pcp = bool(self.pcp)
        self.nat_pmp = bool(self.nat_pmp)
