"""What a router does to datagrams: translation (RFC 4787) and stateful filtering.

Both are tables in virtual time. They know nothing of topology: :mod:`tests.sim.network`
asks them what becomes of a datagram, and ``None`` means that it is dropped.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from meshwg.nattypes import Filtering, Mapping, PortAllocation

Address = tuple[str, int]
"""A numeric host and a port."""

TCP_LIFETIME = 7200.0
"""Seconds for which a connection without segments is remembered (RFC 5382)."""

UNANSWERED_LIFETIME = 30.0
"""Linux's ``nf_conntrack_udp_timeout``: how long an unanswered entry stands."""


class WanInput(Enum):
    """What a router does with datagrams from outside that no mapping lets in."""

    DROP = "drop"
    SLOPPY = "sloppy"
    """It takes them for its own and remembers them, as Linux does where the firewall
    accepts input: a later outbound flow to that very sender gets another port, and so
    do new flows of that socket to others from then on."""


class Pooling(Enum):
    """Which of several public addresses a new mapping gets (RFC 4787 section 4.1)."""

    PAIRED = "paired"
    """One inside host keeps one public address."""
    ARBITRARY = "arbitrary"


@dataclass(frozen=True, slots=True)
class Nat:
    """The behaviour of a NAT. Public addresses belong to the router that has it."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    allocation: PortAllocation = PortAllocation.PRESERVING
    delta: int = 1
    """The step of a sequential allocation; it may be negative."""
    lifetime: float = 120.0
    """Seconds without traffic after which a mapping, or a permission, is gone."""
    inbound_refresh: bool = True
    """Whether datagrams from outside keep a mapping alive, too."""
    hairpin: bool = False
    wan_input: WanInput = WanInput.DROP
    unanswered: float | None = None
    """The same as ``lifetime`` for a flow that was never answered, if it is shorter;
    the mapping itself stands."""
    pooling: Pooling = Pooling.PAIRED
    capacity: int | None = None
    """The most mappings a small router holds; more are refused."""
    host_capacity: int | None = None
    """The most mappings for one inside address, as carriers allow a customer."""
    tcp_mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    """The same for TCP, which most NATs map by the port alone."""

    def over_tcp(self) -> "Nat":
        """Return the behaviour for TCP: as Linux has it, but for the mapping."""
        keeps = self.tcp_mapping is Mapping.ENDPOINT_INDEPENDENT
        return Nat(
            self.tcp_mapping,
            allocation=PortAllocation.PRESERVING if keeps else PortAllocation.RANDOM,
            lifetime=TCP_LIFETIME,
            hairpin=self.hairpin,
            wan_input=self.wan_input,
        )


@dataclass(frozen=True, slots=True)
class Firewall:
    """A stateful filter without translation: what is asked for may be answered."""

    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    lifetime: float = 120.0


class Permissions:
    """Who may send to one inside endpoint, and until when."""

    def __init__(self, filtering: Filtering, lifetime: float) -> None:
        self._filtering = filtering
        self._lifetime = lifetime
        self._until: dict[Address | str, float] = {}

    def grant(self, remote: Address, now: float, at_most: float | None = None) -> None:
        """Let a remote endpoint, or its whole address, send for one lifetime.

        :param at_most: seconds, if the permission ends sooner.
        """
        lifetime = self._lifetime if at_most is None else min(self._lifetime, at_most)
        until = max(now + lifetime, self._until.get(self._key(remote), 0.0))
        self._until[self._key(remote)] = until

    def allows(self, remote: Address, now: float) -> bool:
        """Tell whether a datagram from ``remote`` passes."""
        if self._filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        return self._until.get(self._key(remote), 0.0) > now

    def _key(self, remote: Address) -> Address | str:
        by_address = self._filtering is Filtering.ADDRESS_DEPENDENT
        return remote[0] if by_address else remote


class StatefulFilter:
    """The state of a :class:`Firewall`."""

    def __init__(self, policy: Firewall) -> None:
        self.policy = policy
        self._permissions: dict[Address, Permissions] = {}

    def outbound(self, inside: Address, remote: Address, now: float) -> None:
        """Note what an inside endpoint sends to."""
        permissions = self._permissions.get(inside)
        if permissions is None:
            permissions = Permissions(self.policy.filtering, self.policy.lifetime)
            self._permissions[inside] = permissions
        permissions.grant(remote, now)

    def inbound(self, inside: Address, remote: Address, now: float) -> bool:
        """Tell whether a datagram from outside passes, which keeps it so."""
        if self.policy.filtering is Filtering.ENDPOINT_INDEPENDENT:
            return True
        permissions = self._permissions.get(inside)
        if permissions is None or not permissions.allows(remote, now):
            return False
        permissions.grant(remote, now)
        return True

    def reboot(self) -> None:
        """Forget everything."""
        self._permissions.clear()


@dataclass(slots=True)
class _Binding:
    """One mapping: an inside endpoint, seen outside as another."""

    inside: Address
    outside: Address
    permissions: Permissions
    expires: float
    heard: set[Address] = field(default_factory=set)
    """Who has answered."""


class Translation:
    """The state of a :class:`Nat` with its public addresses."""

    def __init__(
        self, policy: Nat, addresses: Iterable[str], source: random.Random
    ) -> None:
        self.policy = policy
        self.addresses = list(addresses)
        self._random = source
        self._bindings: dict[object, _Binding] = {}
        self._by_outside: dict[Address, _Binding] = {}
        self._static: dict[Address, Address] = {}
        self._poisoned: dict[tuple[Address, Address], float] = {}
        self._newest_last: dict[Address, dict[Address, _Binding]] = {}
        """The flows of inside endpoints, for a router that tracks them."""
        self._paired: dict[str, str] = {}
        self._next_port = source.randrange(2048, 60000)

    def outbound(self, inside: Address, remote: Address, now: float) -> Address | None:
        """Return the public endpoint of a datagram from inside, making a mapping."""
        binding = self._binding_for(inside, remote, now)
        if binding is None:
            return None
        binding.expires = max(binding.expires, now + self._lifetime(binding, remote))
        is_answered = remote in binding.heard
        unanswered = None if is_answered else self.policy.unanswered
        binding.permissions.grant(remote, now, unanswered)
        return binding.outside

    def inbound(self, outside: Address, remote: Address, now: float) -> Address | None:
        """Return the inside endpoint that a datagram from outside reaches."""
        if outside in self._static:
            return self._static[outside]
        binding = self._by_outside.get(outside)
        if (
            binding is None
            or binding.expires <= now
            or not binding.permissions.allows(remote, now)
        ):
            if self.policy.wan_input is WanInput.SLOPPY:
                self._poisoned[outside, remote] = now + UNANSWERED_LIFETIME
            return None
        binding.heard.add(remote)
        if self.policy.inbound_refresh:
            binding.expires = now + self.policy.lifetime
            binding.permissions.grant(remote, now)
        return binding.inside

    def map_port(self, outside: Address, inside: Address) -> None:
        """Forward a public port for good, as PCP, NAT-PMP or UPnP would."""
        self._static[outside] = inside

    def unmap_port(self, outside: Address) -> None:
        """Take a forwarded port back."""
        self._static.pop(outside, None)

    def use_up_ports(self, count: int) -> None:
        """Let other hosts take the next ``count`` ports of a sequential allocation."""
        self._next_port += count * self.policy.delta

    def reboot(self) -> None:
        """Forget every mapping; forwarded ports and the next port go, too."""
        for table in (self._bindings, self._by_outside, self._static, self._poisoned):
            table.clear()
        self._newest_last.clear()
        self._paired.clear()
        self._next_port = self._random.randrange(2048, 60000)

    def mappings(self, now: float) -> int:
        """Return how many mappings stand."""
        return sum(binding.expires > now for binding in self._by_outside.values())

    def _binding_for(
        self, inside: Address, remote: Address, now: float
    ) -> _Binding | None:
        """Return the mapping that a datagram uses, or ``None`` if there is no room."""
        if self.policy.wan_input is WanInput.SLOPPY:
            return self._binding_of_flow(inside, remote, now)
        key = self._key(inside, remote)
        return self._alive(key, now) or self._bind(key, inside, remote, now)

    def _binding_of_flow(
        self, inside: Address, remote: Address, now: float
    ) -> _Binding | None:
        """Return the mapping of a flow as Linux chooses it.

        A flow keeps its mapping. A new one takes that of the newest which stands, so
        that once a flow was given a new port, those after it go by that port, too.
        """
        flows = self._newest_last.setdefault(inside, {})
        binding = flows.get(remote)
        if binding is not None and _stands(binding, remote, now):
            return binding
        flows.pop(remote, None)
        home = self._by_outside.get((self._pooled(inside), inside[1]))
        for binding in (_newest(flows, now), home):
            is_own = binding is not None and binding.inside == inside
            if binding is None or not is_own or binding.expires <= now:
                continue
            if not self._is_poisoned(binding.outside, remote, now):
                flows[remote] = binding
                return binding
        binding = self._bind((inside, remote), inside, remote, now)
        if binding is not None:
            flows[remote] = binding
        return binding

    def _key(self, inside: Address, remote: Address) -> object:
        if self.policy.mapping is Mapping.ENDPOINT_INDEPENDENT:
            return inside
        if self.policy.mapping is Mapping.ADDRESS_DEPENDENT:
            return inside, remote[0]
        return inside, remote

    def _is_poisoned(self, outside: Address, remote: Address, now: float) -> bool:
        """Return whether the router has taken such a flow for its own."""
        return self._poisoned.get((outside, remote), 0.0) > now

    def _alive(self, key: object, now: float) -> _Binding | None:
        binding = self._bindings.get(key)
        if binding is not None and binding.expires <= now:
            self._remove(key, binding)
            return None
        return binding

    def _bind(
        self, key: object, inside: Address, remote: Address, now: float
    ) -> _Binding | None:
        if self._is_full(inside[0], now):
            return None
        outside = self._allocate(inside, remote, now)
        permissions = Permissions(self.policy.filtering, self.policy.lifetime)
        binding = _Binding(inside, outside, permissions, now)
        self._bindings[key] = self._by_outside[outside] = binding
        binding.expires = now + self._lifetime(binding, remote)
        return binding

    def _lifetime(self, binding: _Binding, remote: Address) -> float:
        """Return for how long a packet to ``remote`` keeps a mapping."""
        is_sloppy = self.policy.wan_input is WanInput.SLOPPY
        if is_sloppy and remote not in binding.heard:
            return UNANSWERED_LIFETIME
        return self.policy.lifetime

    def _is_full(self, host: str, now: float) -> bool:
        capacity, host_capacity = self.policy.capacity, self.policy.host_capacity
        if capacity is None and host_capacity is None:
            return False
        self._purge(now)
        held = self._bindings.values()
        own = sum(binding.inside[0] == host for binding in held)
        is_host_full = host_capacity is not None and own >= host_capacity
        return is_host_full or (capacity is not None and len(held) >= capacity)

    def _purge(self, now: float) -> None:
        for key, binding in list(self._bindings.items()):
            if binding.expires <= now:
                self._remove(key, binding)

    def _remove(self, key: object, binding: _Binding) -> None:
        del self._bindings[key]
        if self._by_outside.get(binding.outside) is binding:
            del self._by_outside[binding.outside]

    def _allocate(self, inside: Address, remote: Address, now: float) -> Address:
        """Return a public endpoint that is free."""
        host = self._pooled(inside)
        if self.policy.allocation is PortAllocation.PRESERVING:
            kept = host, inside[1]
            if self._is_free(kept, remote, now):
                return kept
        if self.policy.allocation is PortAllocation.SEQUENTIAL:
            while True:
                outside = host, self._take_next_port()
                if self._is_free(outside, remote, now):
                    return outside
        while True:
            outside = host, self._random.randrange(1024, 65536)
            if self._is_free(outside, remote, now):
                return outside

    def _take_next_port(self) -> int:
        port = (self._next_port - 1024) % (65536 - 1024) + 1024
        self._next_port = port + self.policy.delta
        return port

    def _is_free(self, outside: Address, remote: Address, now: float) -> bool:
        binding = self._by_outside.get(outside)
        if binding is not None and binding.expires > now:
            return False
        is_poisoned = self._is_poisoned(outside, remote, now)
        return not is_poisoned and outside not in self._static

    def _pooled(self, inside: Address) -> str:
        if self.policy.pooling is Pooling.ARBITRARY:
            return self._random.choice(self.addresses)
        return self._paired.setdefault(
            inside[0], self.addresses[len(self._paired) % len(self.addresses)]
        )


def _stands(binding: _Binding, remote: Address, now: float) -> bool:
    return binding.expires > now and binding.permissions.allows(remote, now)


def _newest(flows: dict[Address, _Binding], now: float) -> _Binding | None:
    """Return the mapping of the newest flow that stands, and forget those after it."""
    while flows:
        remote, binding = next(reversed(flows.items()))
        if _stands(binding, remote, now):
            return binding
        del flows[remote]
    return None
