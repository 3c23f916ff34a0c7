"""A floating address: one that belongs to whichever machine holds a lease.

Everything that ``meshwg-k8s vip`` decides, as a machine without I/O: it joins an
:class:`~meshwg.kubernetes.election.Election` with what checks say of the service behind
the address, and says when the address is to be here and when not.

The address is put on the machine for a limited time, which each renewal of the lease
extends. So the kernel itself removes it from a machine whose program was killed or
stands still, and the mesh likewise forgets the route: neither needs anybody to tell it.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import floor

from meshwg.errors import ConfigError
from meshwg.kubernetes.election import (
    Election,
    HolderSeen,
    LeaseGained,
    LeaseLost,
    LeaseRenewed,
    LossReason,
    Timing,
)
from meshwg.kubernetes.fitness import INTERVAL, Fitness

IPAddress = IPv4Address | IPv6Address

MAX_ADDRESSES = 16


def parse_addresses(texts: tuple[str, ...]) -> tuple[IPAddress, ...]:
    """Return the floating addresses that a user names.

    :raises ConfigError: if one is none, is there twice, or no machine can have it
        alone.
    """
    found: list[IPAddress] = []
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError:
            raise ConfigError(
                f"--address {text} is no address: write it without a length, such as "
                "10.60.0.10 or fd00::10"
            ) from None
        if "%" in text or _is_nobodys(address):
            raise ConfigError(
                f"--address {text} cannot float: it is each machine's own, its link's "
                "or a group's"
            )
        if address in found:
            raise ConfigError(f"--address {text} is there twice: leave one of both out")
        found.append(address)
    if not 1 <= len(found) <= MAX_ADDRESSES:
        raise ConfigError(f"Name 1 to {MAX_ADDRESSES} addresses with --address")
    return tuple(found)


def routes_of(addresses: Iterable[IPAddress]) -> tuple[str, ...]:
    """Return floating addresses as networks behind a node, which has them itself."""
    return tuple(f"{each}/{each.max_prefixlen},snat=no" for each in addresses)


def _is_nobodys(address: IPAddress) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )


@dataclass(frozen=True, slots=True)
class AddressWanted:
    """Have the addresses here for some time, or for some more."""

    until: float
    is_new: bool
    """Whether neighbours have to be told."""

    def seconds(self, now: float) -> int:
        """Return for how many whole seconds, which is what the kernel counts in.

        A second more than is left at most: the duration of a lease has room for it.
        """
        return max(floor(self.until - now) + 1, 1)


@dataclass(frozen=True, slots=True)
class AddressUnwanted:
    """Remove the addresses, and tell when that is done."""

    reason: LossReason


@dataclass(frozen=True, slots=True)
class HolderNoted:
    """The addresses are at another one, or at nobody."""

    holder: str


AddressEvent = AddressWanted | AddressUnwanted | HolderNoted


class FloatingAddress:
    """The floating addresses of one machine, which come and go together.

    :param is_checked: whether it matters here what checks find.
    """

    def __init__(
        self, identity: str, timing: Timing, now: float, *, is_checked: bool
    ) -> None:
        self.election = Election(identity, timing, now)
        self._is_checked = is_checked
        self._checks_at = now
        self._is_checking = False
        self._is_stopping = False
        self.fitness = Fitness()
        if not is_checked:
            self.election.set_fit(True, now)
        self._events: deque[AddressEvent] = deque()

    @property
    def is_here(self) -> bool:
        """Whether the addresses are this machine's now."""
        return self.election.until is not None

    def next_event(self) -> AddressEvent | None:
        """Return what is to be done."""
        self._drain()
        return self._events.popleft() if self._events else None

    # Checks.

    def wants_check(self, now: float) -> bool:
        """Tell whether to check the service now; it counts as begun then."""
        is_due = self._is_checked and not self._is_checking and now >= self._checks_at
        if not is_due or self._is_stopping:
            return False
        self._is_checking, self._checks_at = True, now + INTERVAL
        return True

    def checked(self, problem: str | None, now: float) -> None:
        """The check has ended.

        :param problem: why it failed, ``None`` if it did not.
        """
        self._is_checking = False
        self.fitness = self.fitness.after(problem)
        self.election.set_fit(self.fitness.is_fit, now)

    # Time and ends.

    def stop(self, now: float) -> None:
        """Give the addresses to others."""
        self._is_stopping = True
        self.election.stop(now)

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer`, a check or a request is next wanted."""
        times = [self.election.get_timer()]
        if self._is_checked and not self._is_checking and not self._is_stopping:
            times.append(self._checks_at)
        return min((each for each in times if each is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self.election.handle_timer(now)

    def _drain(self) -> None:
        while (event := self.election.next_event()) is not None:
            match event:
                case LeaseGained() | LeaseRenewed():
                    until, is_new = self.election.until, isinstance(event, LeaseGained)
                    if until is not None:
                        self._events.append(AddressWanted(until, is_new))
                case LeaseLost(reason):
                    self._events.append(AddressUnwanted(reason))
                case HolderSeen(holder):
                    self._events.append(HolderNoted(holder))
