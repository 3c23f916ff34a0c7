"""What a TURN server does for a request whose sender proved a password."""

from collections.abc import Callable
from typing import Any

from coordinator.turn.allocation import Allocation, Refusal, Socket
from coordinator.turn.counters import Counters
from coordinator.turn.limits import Limits
from coordinator.turn.rules import Membership, PeerRules
from coordinator.turn.table import AllocationTable
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Attribute, Message, Method

UDP_PROTOCOL = 17
"""REQUESTED-TRANSPORT; relaying to peers over TCP (RFC 6062) is not done."""

FAMILIES = {1: 4, 2: 6}
"""REQUESTED-ADDRESS-FAMILY to IP version."""

FOR_ALLOCATIONS = (Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND)
"""Methods of requests that concern an allocation of their sender."""

Answer = dict[Attribute, Any]


class RequestHandler:
    """Carries out Allocate, Refresh, CreatePermission and ChannelBind."""

    def __init__(
        self,
        table: AllocationTable,
        rules: PeerRules,
        limits: Limits,
        counters: Counters,
        membership: Membership,
        is_local: Callable[[str], bool],
    ) -> None:
        self._table = table
        self._rules = rules
        self._limits = limits
        self._counters = counters
        self._membership = membership
        self._is_local = is_local
        self._closed: list[Allocation] = []

    def handle(
        self,
        request: Message,
        node: str,
        client: Endpoint,
        stream: bool,
        now: float,
    ) -> Answer | None:
        """Return the attributes of the success response.

        ``None`` means that the client's relayed address needs a socket first: then
        call this again, with the same arguments, when it has one or cannot get one.

        :raises Refusal: the error to answer with.
        """
        if request.unknown_required:
            raise Refusal(420, "Unknown Attribute")
        if not self._membership.has_user(node):
            raise Refusal(403, "Forbidden")
        allocation = self._table.of(client.unpinned())
        if request.method == Method.ALLOCATE:
            return self._allocate(request, allocation, node, client, stream, now)
        if request.method not in FOR_ALLOCATIONS:
            raise Refusal(400, "Bad Request")
        if allocation is None:
            raise Refusal(437, "Allocation Mismatch")
        if allocation.node != node:
            raise Refusal(441, "Wrong Credentials")
        if request.method == Method.REFRESH:
            return self._refresh(request, allocation, now)
        return self._permit(request, allocation, now)

    def closed(self) -> list[Allocation]:
        """Return, once, the allocations that are no more."""
        closed, self._closed = self._closed, []
        return closed

    def _allocate(
        self,
        request: Message,
        allocation: Allocation | None,
        node: str,
        client: Endpoint,
        stream: bool,
        now: float,
    ) -> Answer:
        """Make an allocation (RFC 8656 section 7.2)."""
        if allocation is not None:
            if allocation.transaction_id != request.transaction_id:
                raise Refusal(437, "Allocation Mismatch")
            return self._allocated(allocation, now)
        transport = request.attributes.get(Attribute.REQUESTED_TRANSPORT)
        if transport is None:
            raise Refusal(400, "Bad Request")
        if transport != UDP_PROTOCOL:
            raise Refusal(442, "Unsupported Transport Protocol")
        if Attribute.DONT_FRAGMENT in request.attributes:
            raise Refusal(420, "Unknown Attribute")
        answer: Answer = {}
        relayed = self._choose_address(request, node, answer, now)
        silent = self._table.make_room(node, now)
        if silent is not None:
            self._closed.append(silent)
        expires = now + self._lifetime(request)
        allocation = Allocation(
            client=client,
            stream=stream,
            relayed=relayed,
            node=node,
            transaction_id=request.transaction_id,
            expires=expires,
            limits=self._limits,
            heard_at=now,
        )
        self._table.add(allocation)
        self._counters.allocated += 1
        return self._allocated(allocation, now) | answer

    def _choose_address(
        self, request: Message, node: str, answer: Answer, now: float
    ) -> Endpoint:
        """Return a free relayed address that is as the request wants it."""
        attributes = request.attributes
        token = attributes.get(Attribute.RESERVATION_TOKEN)
        family = attributes.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        reserve = attributes.get(Attribute.EVEN_PORT)
        if token is not None:
            if family is not None or reserve is not None:
                raise Refusal(400, "Bad Request")
            return self._table.redeem(token, node, now)
        version = FAMILIES.get(family, 0) if family is not None else 4
        if reserve is None:
            return self._table.pick(version)
        relayed = self._table.pick(version, step=2, reserve=reserve)
        if reserve:
            answer[Attribute.RESERVATION_TOKEN] = self._table.reserve(
                relayed, node, now
            )
        return relayed

    def _allocated(self, allocation: Allocation, now: float) -> Answer:
        return {
            Attribute.XOR_RELAYED_ADDRESS: allocation.relayed,
            Attribute.LIFETIME: round(allocation.expires - now),
            Attribute.XOR_MAPPED_ADDRESS: allocation.client,
        }

    def _refresh(self, request: Message, allocation: Allocation, now: float) -> Answer:
        """Prolong an allocation, or delete it (RFC 8656 section 8.2)."""
        family = request.attributes.get(Attribute.REQUESTED_ADDRESS_FAMILY)
        if family is not None and FAMILIES.get(family) != _version(allocation.relayed):
            raise Refusal(443, "Peer Address Family Mismatch")
        if request.attributes.get(Attribute.LIFETIME) == 0:
            self._table.remove(allocation)
            self._closed.append(allocation)
            return {Attribute.LIFETIME: 0}
        lifetime = self._lifetime(request)
        self._table.refresh(allocation, now + lifetime)
        return {Attribute.LIFETIME: round(lifetime)}

    def _permit(
        self, request: Message, allocation: Allocation, now: float
    ) -> Answer | None:
        """Install permissions, and bind a channel (RFC 8656 sections 10.2, 12.2)."""
        peers = request.peers
        number = request.attributes.get(Attribute.CHANNEL_NUMBER)
        binds = request.method == Method.CHANNEL_BIND
        if not peers or (binds and (number is None or len(peers) != 1)):
            raise Refusal(400, "Bad Request")
        for peer in peers:
            self._check_peer(allocation, peer)
        if not all(self._table.is_own_host(peer.host) for peer in peers):
            if allocation.socket in (Socket.NONE, Socket.OPENING):
                return None
            if allocation.socket is Socket.FAILED:
                raise Refusal(508, "Insufficient Capacity")
        if binds:
            assert number is not None
            allocation.bind(number, peers[0], now)
        else:
            allocation.permit([peer.host for peer in peers], now)
        return {}

    def _check_peer(self, allocation: Allocation, peer: Endpoint) -> None:
        """Refuse peers that cannot be reached, or must not be.

        Another relayed address of this server is always fine: such packets never
        leave it, so its own address need not be a public one.
        """
        if _version(peer) != _version(allocation.relayed):
            raise Refusal(443, "Peer Address Family Mismatch")
        host = peer.host
        if self._table.is_own_host(host):
            return
        if (
            not self._rules.permits(host)
            or not self._membership.has_host(host)
            or (self._is_local(host) and not self._rules.is_allowed(host))
        ):
            raise Refusal(403, "Forbidden")

    def _lifetime(self, request: Message) -> float:
        """Return how long an allocation shall live now (RFC 8656 section 7.2)."""
        wanted = request.attributes.get(Attribute.LIFETIME, 0)
        limits = self._limits
        return max(min(float(wanted), limits.max_lifetime), limits.default_lifetime)


def _version(endpoint: Endpoint) -> int:
    return 6 if ":" in endpoint.host else 4
