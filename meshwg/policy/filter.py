"""The filter of a node: what may pass, in either direction, and what may not.

Theory of operation. The first packet of a flow is judged by rules that name the classes
of its ends, and what follows passes because the flow is known, in both directions. So a
rule never implies the reverse direction. What comes in is judged for the sake of this
node, what goes out so that its user is told at once.

Each flow remembers the generation of the rules by which it was judged. When the rules
change, all flows are judged again by their next packet, as if it were their first; a
connection that is no longer allowed is ended by resets to both ends.

A TCP connection begins with a SYN and nothing else, since a stray segment that was let
pass would tell a stranger which ports are closed. For a minute after the start, before
which there may have been connections, any segment that a rule allows in either
direction takes one up.
"""

from collections.abc import Iterable
from enum import Enum
from ipaddress import ip_network

from meshwg.packet.refusal import prohibited, resets
from meshwg.policy.flows import (
    ICMP_TIMEOUT,
    MAX_ICMP,
    MAX_OTHER,
    MAX_TCP,
    MAX_UDP,
    OTHER_TIMEOUT,
    TCP_CLOSING,
    TCP_ESTABLISHED,
    TCP_HANDSHAKE,
    UDP_BOTH_WAYS,
    UDP_ONE_WAY,
    Flow,
    FlowState,
    FlowTable,
    Fragments,
)
from meshwg.policy.headers import Headers, Kind, parse_headers
from meshwg.policy.places import OUTSIDE, Places
from meshwg.policy.rules import AllowRule, RuleTable
from meshwg.policy.sightings import Sightings
from meshwg.prefixes import IPNetwork

PICK_UP = 60.0
"""Seconds after the start in which connections are taken up that began before."""
HOLD = {Kind.TCP: 30.0, Kind.UDP: 5.0, Kind.REQUEST: 5.0, Kind.REPLY: 5.0}
"""Seconds for which packets of a flow need not be judged, by kind. It is kept for so
much longer, as nothing is heard of it meanwhile."""
REFUSED = -1.0
_DNS = 53

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_BY_START = _SYN | _ACK | _RST | _FIN


class DenyReason(Enum):
    """Why a packet does not pass."""

    MALFORMED = "malformed"
    NO_RULE = "no-rule"
    GUARD = "guard"
    NO_FLOW = "no-flow"
    """It says that it belongs to a flow, and there is none."""
    REVOKED = "revoked"
    """Its flow was allowed before the rules changed."""


class Filter:
    """Judges packets by a coordinator's rules, and by a guard of this node's own.

    :param places: whose addresses are, which its owner keeps up to date.
    """

    def __init__(self, places: Places, now: float) -> None:
        self.generation = 0
        self.denied: dict[DenyReason, int] = dict.fromkeys(DenyReason, 0)
        self.sightings = Sightings()
        self._places = places
        self._pick_up_until = now + PICK_UP
        self._policy: RuleTable | None = None
        self._guard: RuleTable | None = None
        self._own: tuple[tuple[int, int, int], ...] = ()
        self._forwards = False
        self._name_servers: frozenset[bytes] = frozenset()
        self._tables = {
            Kind.TCP: FlowTable(MAX_TCP),
            Kind.UDP: FlowTable(MAX_UDP),
            Kind.REQUEST: FlowTable(MAX_ICMP),
            Kind.OTHER: FlowTable(MAX_OTHER),
        }
        self._tables[Kind.REPLY] = self._tables[Kind.REQUEST]
        self._fragments = Fragments()
        self._to_interface: list[bytes] = []
        self._to_peers: list[bytes] = []

    @property
    def is_needed(self) -> bool:
        """Whether anything could be refused."""
        return self._policy is not None or self._guard is not None

    @property
    def flows(self) -> int:
        """How many flows there are."""
        kinds = (Kind.TCP, Kind.UDP, Kind.REQUEST, Kind.OTHER)
        return sum(len(self._tables[kind]) for kind in kinds)

    # What it is told.

    def set_policy(self, rules: Iterable[AllowRule] | None, now: float) -> None:
        """Allow what these rules say and nothing else; ``None`` allows all."""
        was_needed = self.is_needed
        self._policy = None if rules is None else RuleTable(rules)
        self._rules_changed(was_needed, now)

    def set_guard(self, rules: Iterable[AllowRule] | None, now: float) -> None:
        """Allow, of that, only what these rules say as well; ``None`` takes nothing."""
        was_needed = self.is_needed
        self._guard = None if rules is None else RuleTable(rules)
        self._rules_changed(was_needed, now)

    def change_guard(self, rules: Iterable[AllowRule]) -> None:
        """Take the same guard for what it means now."""
        self._guard = RuleTable(rules)
        self.generation += 1

    def _rules_changed(self, was_needed: bool, now: float) -> None:
        self.generation += 1
        if not was_needed:
            # There are connections of which nothing is known yet.
            self._pick_up_until = now + PICK_UP

    def set_own(self, networks: Iterable[IPNetwork | str], *, forwards: bool) -> None:
        """Know what is of this node, or behind it.

        :param forwards: leave to others what is between them, which passes through.
        """
        own = tuple(_masked(ip_network(each)) for each in networks)
        if (own, forwards) != (self._own, self._forwards):
            self._own, self._forwards = own, forwards
            self.generation += 1

    def set_name_servers(self, addresses: Iterable[bytes]) -> None:
        """Know the exits that are asked for names of the internet, in its place."""
        known = frozenset(addresses)
        if known != self._name_servers:
            self._name_servers = known
            self.generation += 1

    def places_changed(self) -> None:
        """Judge all flows again: addresses are somebody else's now."""
        self.generation += 1

    # What it says.

    def judge(self, packet: bytes, now: float, *, inbound: bool) -> float:
        """See :meth:`meshwg.wireguard.filtering.PacketFilter.judge`."""
        headers = parse_headers(packet)
        if headers is None:
            return self._deny(DenyReason.MALFORMED)
        if self._forwards and not self._is_ours(headers):
            return now + HOLD.get(headers.kind, 0.0)
        if headers.kind is Kind.REST:
            passes = headers.fragment is not None and self._fragments.passes(
                headers.fragment, headers.edge, now
            )
            return now if passes else self._deny(DenyReason.NO_FLOW)
        if headers.kind is Kind.ERROR:
            until = self._judge_error(headers, now, inbound)
        elif headers.kind is Kind.ICMP:
            until = self._judge_alone(headers, packet, now, inbound)
        else:
            until = self._judge_flow(headers, packet, now, inbound)
        if until >= 0 and headers.fragment is not None:
            self._fragments.let_pass(headers.fragment, headers.edge, now)
            return now
        return until

    def take_answers(self) -> tuple[list[bytes], list[bytes]]:
        """See :meth:`meshwg.wireguard.filtering.PacketFilter.take_answers`."""
        answers = self._to_interface, self._to_peers
        if answers[0] or answers[1]:
            self._to_interface, self._to_peers = [], []
        return answers

    def rule_for(
        self, source: bytes, destination: bytes, protocol: int, port: int
    ) -> tuple[AllowRule | None, DenyReason | None]:
        """Return the rule of the policy that allows something, or why it is denied.

        :return: ``(None, None)`` where there is no policy.
        """
        ends = (
            (self._places.find(source), source),
            (self._places.find(destination), destination),
        )
        rule = None
        if self._policy is not None:
            rule = self._policy.find(*ends, protocol, port)
            if rule is None and port == _DNS and destination in self._name_servers:
                outside = OUTSIDE, destination
                rule = self._policy.find(ends[0], outside, protocol, port)
            if rule is None:
                return None, DenyReason.NO_RULE
        if self._guard is not None:
            guard = self._guard.find(*ends, protocol, port)
            if guard is None:
                return None, DenyReason.GUARD
            rule = rule or guard
        return rule, None

    # Kinds of packets.

    def _judge_flow(
        self, headers: Headers, packet: bytes, now: float, inbound: bool
    ) -> float:
        key = _key(headers, inbound)
        table = self._tables[headers.kind]
        flow = table.get(key, now)
        if flow is not None and flow.generation != self.generation:
            reason = self._judge_again(flow, headers, inbound)
            if reason is not None:
                table.forget(key)
                if headers.flags & _RST:
                    # The other end was sooner, and this one is to hear of it.
                    return now
                return self._cut(reason, headers, packet, inbound)
        if flow is None or _begins_anew(flow, headers, inbound):
            begun = self._begin(headers, now, inbound)
            if isinstance(begun, DenyReason):
                return self._turn_away(begun, headers, packet, inbound)
            flow = begun
        elif not _follows(flow, headers, inbound):
            return self._refuse(DenyReason.NO_FLOW, headers, packet, inbound)
        _advance(flow, headers, inbound)
        hold = _hold(flow, headers)
        table.keep(key, flow, now + hold + _timeout(flow, headers), now)
        return now + hold

    def _turn_away(
        self, reason: DenyReason, headers: Headers, packet: bytes, inbound: bool
    ) -> float:
        """Deny a packet that begins no flow, and end the connection it may be of."""
        is_segment = headers.kind is Kind.TCP and headers.flags & _BY_START == _ACK
        if is_segment and reason is not DenyReason.NO_FLOW:
            return self._cut(reason, headers, packet, inbound)
        return self._refuse(reason, headers, packet, inbound)

    def _begin(self, headers: Headers, now: float, inbound: bool) -> Flow | DenyReason:
        """Return a new flow, or why there is none."""
        if headers.kind is Kind.REPLY:
            return DenyReason.NO_FLOW
        if headers.kind is Kind.TCP and headers.flags & _BY_START != _SYN:
            return self._pick_up(headers, now, inbound)
        rule, reason = self._allowing(headers)
        if reason is None and inbound and headers.kind is not Kind.OTHER:
            self._note(headers, now)
        return reason or Flow(inbound, self.generation, rule)

    def _note(self, headers: Headers, now: float) -> None:
        """Remember for administrators what others have begun."""
        if self._policy is not None:
            ends = headers.source, headers.destination
            port = 0 if headers.kind is Kind.REQUEST else headers.destination_port
            self.sightings.note(*ends, headers.protocol, port, now)

    def _pick_up(
        self, headers: Headers, now: float, inbound: bool
    ) -> Flow | DenyReason:
        """Return the flow of a connection that began before this filter."""
        if now >= self._pick_up_until or headers.flags & _BY_START != _ACK:
            return DenyReason.NO_FLOW
        rule, reason = self._allowing(headers)
        if reason is not None:
            rule, reason = self._allowing(_reversed(headers))
            inbound = not inbound
        if reason is not None:
            return reason
        flow = Flow(inbound, self.generation, rule)
        flow.state = FlowState.ANSWERED
        return flow

    def _judge_again(
        self, flow: Flow, headers: Headers, inbound: bool
    ) -> DenyReason | None:
        """Judge a flow by the rules as they are now, as when it began."""
        first = headers if flow.inbound == inbound else _reversed(headers)
        rule, reason = self._allowing(first)
        if reason is None:
            flow.rule, flow.generation = rule, self.generation
            return None
        return DenyReason.REVOKED if reason is DenyReason.NO_RULE else reason

    def _judge_alone(
        self, headers: Headers, packet: bytes, now: float, inbound: bool
    ) -> float:
        """Judge an ICMP message that belongs to nothing."""
        _, reason = self._allowing(headers)
        if reason is not None:
            return self._refuse(reason, headers, packet, inbound)
        return now

    def _judge_error(self, headers: Headers, now: float, inbound: bool) -> float:
        """Let errors pass that are about a flow, between the ends of what they quote.

        They come from where that went to, or was forwarded, and go to who sent it.
        """
        quoted = headers.quoted
        if (
            quoted is None
            or quoted.source != headers.destination
            or not self._places.forwards_to(headers.source, quoted.destination)
        ):
            return self._deny(DenyReason.NO_FLOW)
        table = self._tables.get(quoted.kind)
        # What is quoted went the other way.
        flow = None if table is None else table.get(_key(quoted, not inbound), now)
        if flow is None:
            return self._deny(DenyReason.NO_FLOW)
        if flow.generation != self.generation:
            reason = self._judge_again(flow, quoted, not inbound)
            if reason is not None:
                return self._deny(reason)
        return now

    # What all have in common.

    def _allowing(self, headers: Headers) -> tuple[AllowRule | None, DenyReason | None]:
        port = 0
        if headers.kind in (Kind.TCP, Kind.UDP):
            port = headers.destination_port
        return self.rule_for(
            headers.source, headers.destination, headers.protocol, port
        )

    def _is_ours(self, headers: Headers) -> bool:
        """Tell whether one end is this node, or behind it."""
        for address in (headers.source, headers.destination):
            number, length = int.from_bytes(address), len(address)
            for of, shift, prefix in self._own:
                if length == of and number >> shift == prefix:
                    return True
        return False

    def _deny(self, reason: DenyReason) -> float:
        self.denied[reason] += 1
        return REFUSED

    def _refuse(
        self, reason: DenyReason, headers: Headers, packet: bytes, inbound: bool
    ) -> float:
        """Deny a packet, and tell its sender if that is this node's own user."""
        if not inbound and headers.fragment is None and not _is_for_many(headers):
            if reason is DenyReason.NO_FLOW and headers.kind is Kind.TCP:
                if not headers.flags & _RST:
                    self._to_interface.append(resets(packet, headers.start)[0])
            else:
                self._to_interface += prohibited(packet)
        return self._deny(reason)

    def _cut(
        self, reason: DenyReason, headers: Headers, packet: bytes, inbound: bool
    ) -> float:
        """Deny a packet of a flow that is no longer allowed, and end that."""
        if headers.kind is not Kind.TCP or headers.fragment is not None:
            return self._refuse(reason, headers, packet, inbound)
        back, on = resets(packet, headers.start)
        near, far = (on, back) if inbound else (back, on)
        self._to_interface.append(near)
        self._to_peers.append(far)
        return self._deny(reason)


def _key(headers: Headers, inbound: bool) -> bytes:
    """Return what both directions of a flow have in common, this side first.

    For echoes, that is who asks, in place of this side.
    """
    source, destination = headers.source, headers.destination
    one, other = headers.source_port, headers.destination_port
    is_turned = inbound
    if headers.kind in (Kind.REQUEST, Kind.REPLY):
        is_turned, other = headers.kind is Kind.REPLY, one
    if is_turned:
        source, destination, one, other = destination, source, other, one
    ports = (one << 16 | other).to_bytes(4, "big")
    return bytes((headers.protocol,)) + source + destination + ports


def _reversed(headers: Headers) -> Headers:
    return headers._replace(
        source=headers.destination,
        destination=headers.source,
        source_port=headers.destination_port,
        destination_port=headers.source_port,
    )


def _begins_anew(flow: Flow, headers: Headers, inbound: bool) -> bool:
    """Tell whether a SYN begins another connection between the same ports."""
    if headers.kind is not Kind.TCP or headers.flags & _BY_START != _SYN:
        return False
    # Else it is sent again, or meets one from the other side, which needs a rule, too.
    return flow.state is FlowState.CLOSING or flow.inbound != inbound


def _follows(flow: Flow, headers: Headers, inbound: bool) -> bool:
    """Tell whether a packet may follow those of a flow so far."""
    if headers.kind is Kind.TCP and flow.state is FlowState.ASKED:
        if flow.inbound == inbound:
            return not headers.flags & _ACK or bool(headers.flags & _RST)
        is_answer = headers.flags & (_SYN | _ACK) == _SYN | _ACK
        return is_answer or bool(headers.flags & _RST)
    return True


def _advance(flow: Flow, headers: Headers, inbound: bool) -> None:
    """Note what a packet says of its flow."""
    if flow.inbound != inbound and flow.state is FlowState.ASKED:
        flow.state = FlowState.ANSWERED
    if headers.kind is not Kind.TCP:
        return
    if headers.flags & _RST:
        flow.state = FlowState.CLOSING
    elif headers.flags & _FIN:
        flow.ended |= 1 if inbound else 2
        if flow.ended == 3:
            flow.state = FlowState.CLOSING


def _hold(flow: Flow, headers: Headers) -> float:
    """Return for how long packets of a flow pass unjudged."""
    if headers.kind is not Kind.TCP:
        return HOLD.get(headers.kind, 0.0)
    if flow.state is not FlowState.ANSWERED or headers.flags & (_SYN | _FIN | _RST):
        return 0.0
    return HOLD[Kind.TCP]


def _timeout(flow: Flow, headers: Headers) -> float:
    """Return how long a flow may be silent."""
    if headers.kind is Kind.TCP:
        if flow.state is FlowState.ANSWERED:
            return TCP_ESTABLISHED
        return TCP_HANDSHAKE if flow.state is FlowState.ASKED else TCP_CLOSING
    if headers.kind is Kind.UDP:
        return UDP_ONE_WAY if flow.state is FlowState.ASKED else UDP_BOTH_WAYS
    return OTHER_TIMEOUT if headers.kind is Kind.OTHER else ICMP_TIMEOUT


def _is_for_many(headers: Headers) -> bool:
    """Tell whether a packet is for a group, or for all: nobody answers these."""
    first = headers.destination[0]
    return first >= 224 if len(headers.destination) == 4 else first == 0xFF


def _masked(network: IPNetwork) -> tuple[int, int, int]:
    """Return bytes of addresses, bits after the prefix, and the prefix."""
    shift = network.max_prefixlen - network.prefixlen
    return (
        network.max_prefixlen // 8,
        shift,
        int(network.network_address) >> shift,
    )
