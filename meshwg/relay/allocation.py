"""The allocation of one client at one TURN server: made, refreshed, lost, made again.

It is *connecting* until the server has granted it, *allocated* while it is refreshed,
*offline* after the server refused or fell silent, until the next attempt.

When a server has restarted, or a NAT on the way has, the allocation is gone: the next
refresh is answered with 437, and a new one is made, with a new address. When the server
was silent and comes back, the old allocation may have survived, so a refresh is tried
first. When an allocation is in the way that this node made before it restarted, it is
deleted first.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from meshwg.relay.transactions import (
    PROBE_AFTER,
    Answer,
    Request,
    Transactions,
    TurnCredentials,
)
from meshwg.transmit import Endpoint
from meshwg.wire.stun import Attribute, Message, Method, StunErrorCode

UDP_PROTOCOL = 17
ADDRESS_FAMILIES = {4: 1, 6: 2}
DEFAULT_LIFETIME = 600.0
REFRESH_PART = 0.75
"""The part of an allocation's lifetime after which it is refreshed."""
MIN_REFRESH = 5.0
"""Seconds between two refreshes at least, whatever the server says."""
FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds until the next attempt: doubled after each failure."""
REFUSED_RETRY = 15.0
"""Seconds until the next attempt, at least, after the server refused."""
MOST_FORMER = 4
"""Allocations remembered that were left behind where this node was before."""
CLEARED_RETRY = 1.25
"""The same after an old allocation was deleted: coturn keeps it for one second more."""


class RelayState(StrEnum):
    """What there is at the server."""

    CONNECTING = "connecting"
    ALLOCATED = "allocated"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Allocated:
    """There is an allocation."""

    is_new: bool
    """Whether the server has no channels and permissions for it yet."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The allocation is gone, or could not be made; the reason is for the user."""

    reason: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """The server wants another one to be used (300 Try Alternate)."""

    alternate: Endpoint


Event = Allocated | Lost | Redirected


class _Former(NamedTuple):
    """An allocation that was left behind at another address of this node."""

    relayed: Endpoint
    expires: float


class Allocation:
    """One allocation, however often it is made again."""

    def __init__(
        self,
        transactions: Transactions,
        ip_version: int,
        transport: str,
        former: TurnCredentials | None = None,
    ) -> None:
        """Begin offline.

        :param ip_version: of the relayed address, where the server has a choice.
        :param transport: how the server is reached, for people.
        :param former: of this node's last process, which may have left an allocation:
            only who has its user name can delete it.
        """
        self.state = RelayState.OFFLINE
        self.relayed: Endpoint | None = None
        self.mapped: Endpoint | None = None
        """Where the server saw this node when it granted the allocation."""
        self.error: str | None = None
        """Why the state is not allocated, in a sentence for the user."""
        self._transactions = transactions
        self._ip_version = ip_version
        self._transport = transport
        self._events: deque[Event] = deque()
        self._expires = 0.0
        self._former: dict[Endpoint, _Former] = {}
        """By where the server saw this node."""
        self._refresh_at: float | None = None
        self._retry_at: float | None = None
        self._failures = 0
        self._former_credentials = former
        self._clearing: list[TurnCredentials | None] = []
        """With what this attempt can still ask to delete what is in its way; ``None``
        stands for the present credentials."""
        self._is_cleared = False
        """Whether the server agreed to that."""
        self._has_switched = False
        """Whether this attempt has tried the other IP version."""

    def start(self, now: float) -> None:
        """Ask for an allocation, or whether the last one is still there."""
        self._retry_at = None
        self.state = RelayState.CONNECTING
        self._plan_clearing()
        if self.relayed is not None and now < self._expires:
            self._ask(Method.REFRESH, now)
        else:
            self._allocate(now)

    def stop(self, now: float) -> None:
        """Give the allocation back, also one that is about to be made.

        The answer is not waited for.
        """
        is_asking = self._transactions.is_open(Method.ALLOCATE)
        self._transactions.forget_all()
        may_be_granted = is_asking and self._transactions.can_sign
        if self.state is RelayState.ALLOCATED or may_be_granted:
            self._ask(Method.REFRESH, now, {Attribute.LIFETIME: 0})
        self.state = RelayState.OFFLINE
        self.relayed = self.mapped = self.error = None
        self._former.clear()
        self._refresh_at = self._retry_at = None

    def hasten(self, now: float) -> None:
        """Make the next attempt at once: something has changed."""
        if self._retry_at is not None:
            self._retry_at = now

    def refresh(self, now: float, gaps: Sequence[float] = PROBE_AFTER) -> None:
        """Prolong the allocation; shows whether it and the server are alive."""
        self._refresh_at = None
        if not self._transactions.is_open(Method.REFRESH):
            self._ask(Method.REFRESH, now, gaps=gaps)

    def receive(self, answer: Answer, now: float) -> None:
        """Take the answer to an Allocate or a Refresh."""
        if self.state is RelayState.OFFLINE:
            return
        if answer.request.method == Method.ALLOCATE:
            self._on_allocate(answer, now)
        elif Attribute.LIFETIME in answer.request.attributes:
            # What was in the way is gone, or will not go.
            self._is_cleared = answer.error is None
            self._allocate(now)
        else:
            self._on_refresh(answer, now)

    def is_gone(self, error: StunErrorCode, now: float) -> None:
        """Learn that the server has no such allocation, and ask for a new one."""
        self._leave(explain(error))
        self._allocate(now)

    def seen_at(self, mapped: Endpoint, now: float) -> None:
        """Learn where the server sees this node now.

        If that is elsewhere, the allocation cannot be used from here, though a refresh
        may succeed: of one that this node had when it was here before.
        """
        is_allocated = self.state is RelayState.ALLOCATED
        if not is_allocated or self.mapped is None or self.mapped[:2] == mapped[:2]:
            return
        self._leave("The relay sees this node at another address now")
        former = self._former.pop(mapped, None)
        if former is None or former.expires <= now:
            self._allocate(now)
            return
        self.relayed, self.mapped, self._expires = (
            former.relayed,
            mapped,
            former.expires,
        )
        self.state, self.error = RelayState.ALLOCATED, None
        self._events.append(Allocated(is_new=True))
        self.refresh(now)

    def _leave(self, reason: str) -> None:
        """Do without an allocation that cannot be used from here."""
        if self.state is RelayState.ALLOCATED:
            self._events.append(Lost(reason))
            if self.relayed is not None and self.mapped is not None:
                self._former[self.mapped] = _Former(self.relayed, self._expires)
                while len(self._former) > MOST_FORMER:
                    del self._former[next(iter(self._former))]
        self.relayed = self.mapped = None
        self.error = reason
        self._refresh_at = None
        self._transactions.forget_all()
        self.state = RelayState.CONNECTING

    def give_up(self, now: float) -> None:
        """Learn that the server does not answer."""
        self.fail(f"The relay does not answer over {self._transport.upper()}", now)

    def fail(self, reason: str, now: float, patience: float = FIRST_RETRY) -> None:
        """Go offline, and come back later.

        :param patience: seconds to wait at least.
        """
        if self.state is RelayState.OFFLINE:
            return
        self.state = RelayState.OFFLINE
        self.error = reason
        self._plan_clearing()
        self._refresh_at = None
        self._transactions.forget_all()
        delay = min(max(patience, FIRST_RETRY * 2**self._failures), LAST_RETRY)
        self._failures = min(self._failures + 1, 10)
        self._retry_at = now + delay
        self._events.append(Lost(reason))

    def next_event(self) -> Event | None:
        """Return what happened."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """Return when :meth:`handle_timer` is due."""
        return self._refresh_at if self._retry_at is None else self._retry_at

    def handle_timer(self, now: float) -> None:
        """Refresh, or try again."""
        if self._retry_at is not None and self._retry_at <= now:
            self.start(now)
        if self._refresh_at is not None and self._refresh_at <= now:
            self.refresh(now)

    def _plan_clearing(self) -> None:
        """Be ready to delete what is in the way: of the last process, or of this."""
        former = self._former_credentials
        self._clearing = [None] if former is None else [former, None]
        self._is_cleared = self._has_switched = False

    def _allocate(self, now: float) -> None:
        self._transactions.adopt_credentials()
        attributes: dict[Attribute, Any] = {Attribute.REQUESTED_TRANSPORT: UDP_PROTOCOL}
        if self._ip_version != 4:
            family = ADDRESS_FAMILIES[self._ip_version]
            attributes[Attribute.REQUESTED_ADDRESS_FAMILY] = family
        self._ask(Method.ALLOCATE, now, attributes)

    def _ask(
        self,
        method: Method,
        now: float,
        attributes: dict[Attribute, Any] | None = None,
        gaps: Sequence[float] | None = None,
        credentials: TurnCredentials | None = None,
    ) -> None:
        request = Request(method, attributes or {}, credentials=credentials)
        if gaps is not None:
            request.gaps = gaps
        self._transactions.start(request, now)

    def _on_allocate(self, answer: Answer, now: float) -> None:
        message, error = answer.message, answer.error
        if error is not None:
            self._on_refused(error, message, now)
            return
        relayed = message.address(Attribute.XOR_RELAYED_ADDRESS)
        if relayed is None or message.mapped is None:
            self.fail("The relay's answer makes no sense", now, REFUSED_RETRY)
            return
        self.relayed, self.mapped = relayed, Endpoint(*message.mapped[:2])
        self._on_granted(message, now, is_new=True)

    def _on_refused(self, error: StunErrorCode, message: Message, now: float) -> None:
        alternate = message.address(Attribute.ALTERNATE_SERVER)
        if error.code == 300 and alternate is not None:
            self._events.append(Redirected(alternate))
        if error.code == 437 and self._clearing and not self._is_cleared:
            credentials = self._clearing.pop(0)
            lifetime: dict[Attribute, Any] = {Attribute.LIFETIME: 0}
            self._ask(Method.REFRESH, now, lifetime, credentials=credentials)
            return
        if error.code == 440 and not self._has_switched:
            self._has_switched = True
            self._ip_version = 10 - self._ip_version
            self._allocate(now)
            return
        is_leaving = error.code == 437 and self._is_cleared
        self.fail(explain(error), now, CLEARED_RETRY if is_leaving else REFUSED_RETRY)

    def _on_refresh(self, answer: Answer, now: float) -> None:
        error = answer.error
        if error is None:
            self._on_granted(answer.message, now, is_new=False)
        elif error.code in (437, 441):
            self.is_gone(error, now)
        else:
            self.fail(explain(error), now)

    def _on_granted(self, message: Message, now: float, is_new: bool) -> None:
        """Note that there is an allocation, and until when."""
        lifetime = float(message.attributes.get(Attribute.LIFETIME, DEFAULT_LIFETIME))
        if self.state is not RelayState.ALLOCATED:
            self._events.append(Allocated(is_new))
        self.state = RelayState.ALLOCATED
        self.error = None
        self._failures = 0
        self._plan_clearing()
        self._expires = now + lifetime
        self._refresh_at = now + max(lifetime * REFRESH_PART, MIN_REFRESH)


def explain(error: StunErrorCode) -> str:
    """Return why a relay refuses, in a sentence for the user."""
    sentence = {
        300: "The relay refers to another server",
        401: "The relay does not accept the credentials: wrong or expired",
        403: "The relay does not relay to this address",
        437: "The relay has no allocation, or a different one, for this address",
        440: "The relay has no address of this family",
        441: "The relay has an allocation here for other credentials",
        443: "The relay does not relay between IPv4 and IPv6",
        486: "The relay has no more allocations for this node (quota)",
        508: "The relay has no capacity left",
    }.get(error.code, "The relay refuses")
    return f"{sentence} ({error.code} {error.reason})"
