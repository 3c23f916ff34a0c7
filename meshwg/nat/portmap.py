"""A port mapping: the hole that the gateway itself keeps open for this node.

Theory of operation
-------------------

A *round* asks the default gateway by every method that it may speak, the best first::

    0 ms      PCP
    250 ms    still silent: PCP again and, with it, NAT-PMP
    500 ms    both again
    1000 ms   silent, or refused by both: UPnP, which the runtime carries out

An answer that PCP is not spoken moves on to NAT-PMP at once, and an ICMP "port
unreachable" to UPnP. The RFCs let a client wait for seconds; here the gateway is one
hop away and a path is being looked for, so a round is short and is repeated with
growing pauses instead. A late answer still counts while nothing is mapped.

A mapping is renewed after 1/2 to 5/8 of its lifetime, then after the same part of
what is left (RFC 6887 section 11.2.1), but never twice within 4 s. It is made again
when the network changes, when it runs out, and when the gateway's epoch time tells
that it has lost its table. It is given back when the node stops.

Behind two NATs a mapping at the inner one does not reach the internet. That shows in
two ways: the gateway sees another address than the one we sent from
(ADDRESS_MISMATCH), which ends the round; or its external address is not public. Such
a mapping is kept, because neighbours behind the same outer NAT can use it, but it is
not :attr:`~Mapped.public` and the reason says why.

Over IPv6 there is no NAT, but a firewall that PCP opens in the same way.

What the gateway says is read in :mod:`meshwg.nat.asking`. Lifetimes are bounded on both
sides.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from meshwg.nat.asking import AskedGateway
from meshwg.nat.gateway import (
    SERVER_PORT,
    Addressed,
    Answer,
    GatewayClient,
    GatewayDrop,
    Granted,
    Mapped,
    MappedProtocol,
    MappingChanged,
    MappingMethod,
    MappingRefused,
    NotSpoken,
    PortMappingEvent,
    UpnpReleased,
    UpnpRequested,
    is_public,
    is_usable,
)
from meshwg.transmit import Endpoint, Random, Transmit

LIFETIME = 7200
"""The lifetime asked for, in seconds (RFC 6886 section 3.3)."""
MIN_LIFETIME = 8
"""Shorter ones cannot be kept up with renewals 4 s apart."""
MAX_LIFETIME = 86_400
"""Longer ones are renewed as if they were a day."""

ROUND_SENDS = (0.0, 0.25, 0.5)
ROUND_LIMIT = 1.0
UPNP_LIMIT = 15.0
"""A guard: the runtime reports earlier."""
RETRY_FIRST = 30.0
RETRY_MAX = 1024.0  # MRT of RFC 6887 section 8.1.1.
REFUSAL_MAX = 1800.0  # A long-lifetime error of RFC 6887 section 7.4.
SPACING = 4.0
RECREATE_DELAY = 5.0
"""After a gateway's restart its clients come back spread over this many seconds."""
RELEASE_SENDS = (0.0, 0.25)
RELEASE_LIMIT = 0.5

DOUBLE_NAT = "Another NAT stands between this host and its gateway (double NAT)."


class _Phase(Enum):
    IDLE = "idle"
    PROBING = "probing"
    UPNP = "upnp"
    MAPPED = "mapped"
    FAILED = "failed"
    RELEASING = "releasing"
    STOPPED = "stopped"


class PortMapping:
    """Keeps one port of this host mapped at the default gateway."""

    def __init__(
        self,
        internal_port: int,
        random: Random,
        *,
        protocol: MappedProtocol = MappedProtocol.UDP,
        methods: frozenset[MappingMethod] = frozenset(MappingMethod),
        lifetime: int = LIFETIME,
    ) -> None:
        """Make an idle machine; :meth:`set_gateway` starts it.

        :param methods: the methods that may be tried.
        :param lifetime: the lifetime to ask for, in seconds.
        """
        self.mapped: Mapped | None = None
        self.reason = "Port mapping has not been tried yet."
        self.drops: Counter[GatewayDrop] = Counter()
        self._internal_port = internal_port
        self._protocol = protocol
        self._random = random
        self._methods = methods
        self._lifetime = lifetime

        self._phase = _Phase.IDLE
        self._gateway = AskedGateway(None, "", self.drops)
        # In PROBING and RELEASING: still to answer.
        self._pending: list[MappingMethod] = []
        self._addressed = False
        self._failures: dict[MappingMethod, str] = {}
        self._suggested: Endpoint | None = None

        self._sends: list[float] = []
        self._deadline = float("inf")
        self._sent_at = float("-inf")
        self._retry_delay = RETRY_FIRST
        self._retry_after = 0.0
        self._outbox: list[bytes] = []
        self._events: deque[PortMappingEvent] = deque()

    @property
    def settled(self) -> bool:
        """Whether it is known, for now, if the port is mapped."""
        return self._phase in (_Phase.MAPPED, _Phase.FAILED)

    @property
    def finished(self) -> bool:
        """Whether the machine was stopped and has nothing more to do."""
        return self._phase is _Phase.STOPPED

    def set_gateway(self, gateway: str | None, local: str, now: float) -> None:
        """Start, or take note that the network may have changed.

        :param gateway: the address of the default gateway, ``None`` without one.
        :param local: this host's address towards it.
        """
        if self._phase in (_Phase.RELEASING, _Phase.STOPPED):
            return
        before = self._gateway.address, self._gateway.local
        if self._phase is not _Phase.IDLE and (gateway, local) == before:
            self._check_again(now)
            return
        self._gateway = AskedGateway(gateway, local, self.drops)
        self._suggested, self._retry_delay = None, RETRY_FIRST
        self._outbox, self._sent_at = [], float("-inf")
        if gateway is None:
            self._fail("There is no default gateway that could map a port.", now)
        else:
            self._gateway.begin(
                self._internal_port, self._methods, self._random, self._protocol
            )
            self._start_round("The gateway is being asked to map a port.", now)

    def receive_datagram(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take in a datagram that arrived on the socket towards the gateway."""
        said = self._gateway.receive(data, source, now)
        if said is None:
            return
        client, answer, lost = said
        self._handle_answer(client, answer, now)
        if lost and self.mapped is not None and not isinstance(answer, Granted):
            self._recreate(now)

    def receive_announcement(self, data: bytes, source: Endpoint, now: float) -> None:
        """Take in a datagram that the gateway sent to every host.

        Anyone nearby can forge one, so it is only a hint to ask again. It is heeded
        whatever the method: a gateway that speaks several may announce by only one.
        """
        held = None if self.mapped is None else self.mapped.external.host
        if self._gateway.announces_loss(data, source, held, now):
            self._recreate(now)

    def receive_unreachable(self, now: float) -> None:
        """Take in an ICMP error: nobody listens for PCP or NAT-PMP."""
        if self._phase is _Phase.PROBING:
            self._failures = dict.fromkeys(self._gateway.clients, "is not supported")
            self._try_upnp(now)

    def receive_upnp(self, external: Endpoint, lifetime: int, now: float) -> None:
        """Take in that the runtime mapped the port by UPnP.

        :param lifetime: in seconds; 0 means that only permanent mappings are granted.
        """
        wanted = self._phase is _Phase.UPNP or self._held_by(MappingMethod.UPNP)
        granted = Granted(external, lifetime or self._lifetime)
        if not wanted:
            self._events.append(UpnpReleased(external.port))
        elif not self._accept(MappingMethod.UPNP, granted, now):
            self._events.append(UpnpReleased(external.port))
            self.receive_upnp_failure("grants an unusable mapping", now)

    def receive_upnp_failure(self, reason: str, now: float) -> None:
        """Take in that the runtime could not map the port by UPnP.

        :param reason: completes the sentence "UPnP ...".
        """
        if self._phase is _Phase.UPNP:
            self._failures[MappingMethod.UPNP] = reason
            self._give_up(now)

    def stop(self, now: float) -> None:
        """Give the mapping back; :attr:`finished` tells when that is done."""
        if self._phase in (_Phase.RELEASING, _Phase.STOPPED):
            return
        if self.mapped is not None and self._held_by(MappingMethod.UPNP):
            self._events.append(UpnpReleased(self.mapped.external.port))
        self._phase = _Phase.RELEASING
        self._change(None, "The port mapping has been released.")
        clients = self._gateway.clients
        self._pending = [method for method in clients if clients[method].asked]
        self._schedule(RELEASE_SENDS, RELEASE_LIMIT if self._pending else 0.0, now)

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        due = min([self._deadline, *self._sends])
        return due if due < float("inf") else None

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._sends and self._sends[0] <= now:
            self._sends = [at for at in self._sends if at > now]
            self._send(now)
        if self._deadline <= now:
            self._handle_deadline(now)

    def datagrams_to_send(self) -> list[Transmit]:
        """Return what to send to the gateway."""
        datagrams, self._outbox = self._outbox, []
        if not datagrams or self._gateway.address is None:
            return []
        return [Transmit(Endpoint(self._gateway.address, SERVER_PORT), datagrams)]

    def next_event(self) -> PortMappingEvent | None:
        """Return the next thing to know or to do."""
        return self._events.popleft() if self._events else None

    # Rounds.

    def _check_again(self, now: float) -> None:
        """Ask whether the mapping still stands, or whether there can be one now."""
        soon = max(now, self._sent_at + SPACING)
        if self._phase is _Phase.MAPPED:
            self._sends = [min([soon, *self._sends])]
        elif self._phase is _Phase.FAILED and self._gateway.address is not None:
            self._retry_delay = RETRY_FIRST
            self._deadline = min(self._deadline, soon)
        self.handle_timer(now)

    def _start_round(self, reason: str, now: float) -> None:
        self._change(None, reason)
        self._failures, self._retry_after = {}, 0.0
        self._addressed = False
        self._pending = list(self._gateway.clients)
        if not self._pending:
            self._try_upnp(now)
            return
        self._phase = _Phase.PROBING
        self._ask(self._gateway.clients[self._pending[0]], now)
        self._schedule(ROUND_SENDS[1:], ROUND_LIMIT, now)

    def _schedule(self, sends: Sequence[float], limit: float, now: float) -> None:
        """Send after these delays, and give up after the limit, all in seconds."""
        self._sends = [now + delay for delay in sends]
        self._deadline = now + limit
        self.handle_timer(now)

    def _send(self, now: float) -> None:
        if self._phase is _Phase.PROBING:
            for method in self._pending:
                self._ask(self._gateway.clients[method], now)
        elif self._phase is _Phase.MAPPED:
            self._renew(now)
        elif self._phase is _Phase.RELEASING:
            for method in self._pending:
                self._outbox += self._gateway.clients[method].release()

    def _ask(self, client: GatewayClient, now: float) -> None:
        self._sent_at = now
        self._outbox += client.request(self._lifetime, self._suggested)

    def _handle_deadline(self, now: float) -> None:
        if self._phase is _Phase.PROBING:
            self._try_upnp(now)
        elif self._phase is _Phase.UPNP:
            self.receive_upnp_failure("takes too long", now)
        elif self._phase is _Phase.MAPPED:
            self._start_round("The port mapping has expired.", now)
        elif self._phase is _Phase.FAILED:
            self._start_round(self.reason, now)
        else:
            self._end()

    def _pass_over(self, method: MappingMethod, why: str, now: float) -> None:
        """Go on without a method by which the gateway maps nothing."""
        if self._phase is not _Phase.PROBING or method not in self._pending:
            return
        self._failures[method] = why
        self._pending.remove(method)
        if self._pending:
            self._schedule(ROUND_SENDS, ROUND_LIMIT, now)
        else:
            self._try_upnp(now)

    def _try_upnp(self, now: float) -> None:
        self._sends = []
        if MappingMethod.UPNP not in self._methods or not self._gateway.is_ipv4:
            self._give_up(now)
            return
        self._phase, self._deadline = _Phase.UPNP, now + UPNP_LIMIT
        self._request_upnp(now)

    def _request_upnp(self, now: float) -> None:
        self._sent_at = now
        port = (
            self._suggested.port if self._suggested is not None else self._internal_port
        )
        self._events.append(UpnpRequested(self._internal_port, port, self._lifetime))

    def _give_up(self, now: float) -> None:
        silent = dict.fromkeys(self._gateway.clients, "gets no answer")
        outcomes = silent | self._failures
        said = (f"{method.title} {outcome}" for method, outcome in outcomes.items())
        self._fail(f"The gateway maps no port: {', '.join(said)}.", now)

    def _fail(self, reason: str, now: float) -> None:
        delay = self._retry_delay * (0.9 + 0.2 * self._fraction())
        self._retry_delay = min(self._retry_delay * 2, RETRY_MAX)
        self._phase, self._sends = _Phase.FAILED, []
        self._deadline = now + max(delay, self._retry_after)
        if self._gateway.address is None:
            self._deadline = float("inf")
        self._change(None, reason)

    def _end(self) -> None:
        self._phase = _Phase.STOPPED
        self._sends, self._deadline = [], float("inf")

    # Answers.

    def _handle_answer(self, client: GatewayClient, answer: Answer, now: float) -> None:
        if self._phase is _Phase.RELEASING:
            self._handle_release(client, answer)
        elif self._phase is _Phase.MAPPED:
            self._handle_renewal(client, answer, now)
        elif self._phase is not _Phase.STOPPED:
            self._handle_offer(client, answer, now)

    def _handle_offer(self, client: GatewayClient, answer: Answer, now: float) -> None:
        """React to an answer while nothing is mapped."""
        if isinstance(answer, Granted):
            if not self._accept(client.method, answer, now):
                self._pass_over(client.method, "grants an unusable mapping", now)
        elif isinstance(answer, Addressed):
            self._handle_address(client, now)
        elif isinstance(answer, NotSpoken):
            self._pass_over(client.method, "is not supported", now)
        elif isinstance(answer, MappingRefused):
            self._handle_refusal(client, answer, now)

    def _handle_refusal(
        self, client: GatewayClient, answer: MappingRefused, now: float
    ) -> None:
        self._retry_after = min(answer.retry_after, REFUSAL_MAX)
        if not answer.double_nat:
            self._pass_over(client.method, f"is refused ({answer.reason})", now)
        elif self._phase is not _Phase.FAILED:
            self._fail(DOUBLE_NAT, now)

    def _handle_address(self, client: GatewayClient, now: float) -> None:
        """Ask a gateway for the mapping once it has named its address."""
        if self._addressed:
            return
        self._addressed = True
        if self._phase is _Phase.PROBING:
            self._pending = [client.method]
            self._schedule(ROUND_SENDS, ROUND_LIMIT, now)
        else:
            self._ask(client, now)

    def _handle_renewal(
        self, client: GatewayClient, answer: Answer, now: float
    ) -> None:
        """React to an answer while something is mapped.

        A refusal ends nothing: the mapping stands until its lifetime is over.
        """
        if self.mapped is None or not self._holds(client):
            self.drops[GatewayDrop.UNASKED] += 1
        elif isinstance(answer, Granted):
            self._accept(client.method, answer, now)
        elif isinstance(answer, Addressed):
            external = self.mapped.external._replace(host=answer.host)
            if is_usable(external):
                self._become(replace(self.mapped, external=external))
            else:
                self.drops[GatewayDrop.ADDRESS] += 1

    def _handle_release(self, client: GatewayClient, answer: Answer) -> None:
        still_mapped = isinstance(answer, Granted) and answer.lifetime > 0
        if client.method not in self._pending or still_mapped:
            return
        if not isinstance(answer, Addressed):
            self._pending.remove(client.method)
        if not self._pending:
            self._end()

    # Mappings.

    def _accept(self, method: MappingMethod, granted: Granted, now: float) -> bool:
        """Take a mapping, unless it is unusable."""
        if not is_usable(granted.external):
            self.drops[GatewayDrop.ADDRESS] += 1
            return False
        lifetime = min(granted.lifetime, MAX_LIFETIME)
        if lifetime != granted.lifetime or lifetime < MIN_LIFETIME:
            self.drops[GatewayDrop.LIFETIME] += 1
        if lifetime < MIN_LIFETIME:
            return False
        self._phase, self._deadline = _Phase.MAPPED, now + lifetime
        self._suggested, self._retry_delay = granted.external, RETRY_FIRST
        self._plan_renewal(now)
        self._become(Mapped(granted.external, method, self._deadline, public=True))
        return True

    def _become(self, mapped: Mapped) -> None:
        """Make known what is mapped, with what its address tells."""
        host, method = mapped.external.host, mapped.method.title
        public = is_public(host)
        if host == self._gateway.local:
            reason = f"The gateway opens the port by {method}."
        elif public:
            reason = f"The gateway maps the port by {method}."
        else:
            reason = f"The gateway's own address {host} is not public (double NAT)."
        self._change(replace(mapped, public=public), reason)

    def _plan_renewal(self, now: float) -> None:
        left = self._deadline - now
        at = now + max(SPACING, left * (0.5 + self._fraction() / 8))
        self._sends = [at] if at < self._deadline else []

    def _renew(self, now: float) -> None:
        if self._held_by(MappingMethod.UPNP):
            self._request_upnp(now)
        for client in self._gateway.clients.values():
            if self._holds(client):
                self._ask(client, now)
        self._plan_renewal(now)

    def _recreate(self, now: float) -> None:
        """Ask again soon, because the gateway seems to have lost the mapping."""
        soon = now + RECREATE_DELAY * self._fraction()
        at = max(soon, self._sent_at + SPACING)
        self._sends = [min([at, *self._sends])]

    def _holds(self, client: GatewayClient) -> bool:
        return self._held_by(client.method)

    def _held_by(self, method: MappingMethod) -> bool:
        return self.mapped is not None and self.mapped.method is method

    def _change(self, mapped: Mapped | None, reason: str) -> None:
        changed = (mapped, reason) != (self.mapped, self.reason)
        self.mapped, self.reason = mapped, reason
        if changed:
            self._events.append(MappingChanged(mapped, reason))

    def _fraction(self) -> float:
        """Return a random number from 0 to 1."""
        return int.from_bytes(self._random(2)) / 65_535
