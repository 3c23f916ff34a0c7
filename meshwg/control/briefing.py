"""What a node was told of its mesh: itself, the others, the policy, names, approvals.

A policy is in force with the netmap that follows it, because its rules and the classes
of peers fit only together. Where that netmap comes in slices, it is in force with the
last of them; a connection that ends before that is followed by one which goes on.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from meshwg.control.events import (
    ApprovalsChanged,
    ControlEvent,
    LeaseAnswered,
    PeersChanged,
    PolicyChanged,
    RecordsChanged,
    RelaysChanged,
    SelfChanged,
)
from meshwg.control.netmap import NetMapChange, PeerTable
from meshwg.control.records import RecordTable
from meshwg.wire import control
from meshwg.wire.control import PeerEntry

TOLD_AT_ONCE = 24
"""Peers in one event: what is done about one of them takes 0.1 ms, and packets wait."""


class Briefing:
    """What the coordinator has told one node, kept up to date by its messages.

    :param own_key: the node's public key.
    :param events: where what has changed is put.
    :param cache: what :meth:`cache` returned before the last stop.
    """

    def __init__(
        self, own_key: str, events: deque[ControlEvent], cache: control.Cache | None
    ) -> None:
        self._events = events
        self.peers = PeerTable(own_key)
        self.records = RecordTable()
        self.registered: control.Registered | None = None
        self.policy: control.PolicyMessage | None = None
        """Who may reach what. If it is missing, and :attr:`registered` says that there
        is one, it has been lost."""
        self.approvals: control.Approvals | None = None
        """What became of what this node offers; ``None`` if that was not said."""
        self._next_policy: control.PolicyMessage | None = None
        """In force with the netmap that comes next."""
        self._policy_of_slices: control.PolicyMessage | None = None
        """That one, if slices of this netmap have come, and not yet the last."""
        if cache is not None:
            self.registered, self.policy = cache.registered, cache.policy
            self.peers.load(cache)
            self.records.load(cache.records)

    @property
    def view(self) -> str:
        """The name of what this node may see, empty without a policy.

        While slices come, it is that of what these are of.
        """
        policy = self._policy_of_slices or self.policy
        return policy.view if policy is not None else ""

    def cache(self) -> Iterator[bytes] | None:
        """Return what to keep on disk, ``None`` before the first registration."""
        if self.registered is None:
            return None
        return self.peers.cache(self.registered, self.policy, self.records.cache())

    def begin(self, registered: control.Registered) -> None:
        """A connection begins with what the mesh is, and who this node is in it."""
        if self.registered is not None and self.registered.epoch != registered.epoch:
            # Another database: versions of the old one mean nothing in it.
            self._events.extend(_parts(self.peers.clear()))
            self.records.clear()
            self.approvals = self._policy_of_slices = None
        self.registered = registered
        self._next_policy = self._policy_of_slices
        if not registered.policy and self.policy is not None:
            self.policy = None
            self._events.append(PolicyChanged())

    def end(self) -> None:
        """Forget everything: this node is a member no longer."""
        removed = self.peers.clear()
        self.records.clear()
        self.registered = self.policy = self.approvals = None
        self._next_policy = self._policy_of_slices = None
        if removed.removed:
            self._events.extend(_parts(removed))

    def receive(self, message: control.FromCoordinator) -> bool:
        """Take news; return whether they add up: if not, all has to be told again.

        What is about something else is left alone.
        """
        match message:
            case control.NetMap():
                before = self.peers.itself
                change = self.peers.replace(message)
                self._on_change(change, before)
            case control.Delta():
                return self._on_delta(message)
            case control.PolicyMessage():
                self._next_policy = message
            case control.ItselfMessage():
                self._on_itself(message.peer)
            case control.Records():
                return self._on_records(message)
            case control.Approvals():
                self.approvals = message
                self._events.append(ApprovalsChanged())
            case control.LeaseAnswer():
                self._events.append(LeaseAnswered(message))
            case control.Credentials():
                assert self.registered is not None
                self.registered = replace(self.registered, relays=message.relays)
                self._events.append(RelaysChanged(message.relays))
        return True

    def _on_delta(self, delta: control.Delta) -> bool:
        before = self.peers.itself
        change = self.peers.update(delta)
        if change is not None:
            self._on_change(change, before)
        return change is not None and change.consistent

    def _on_records(self, records: control.Records) -> bool:
        has_changed = self.records.update(records)
        if has_changed:
            self._events.append(RecordsChanged())
        return has_changed is not None

    def _on_change(self, change: NetMapChange, before: PeerEntry | None) -> None:
        """Tell of a change of the netmap.

        :param before: this node's own entry until then.
        """
        itself = change.itself
        is_other = itself is not None and _offered(itself) != _offered(before)
        if change.peers.changed or change.peers.removed or is_other:
            is_ahead = self._next_policy is not None
            self._events.extend(_parts(change.peers, is_ahead=is_ahead))
        if change.is_last:
            self._policy_of_slices = None
            self._settle_policy()
        else:
            self._policy_of_slices = self._next_policy
        if itself is not None:
            self._on_self_changed(itself)

    def _on_self_changed(self, itself: PeerEntry) -> None:
        known = self.registered
        if known and (known.name, known.addresses) != (itself.name, itself.addresses):
            name, addresses = itself.name, itself.addresses
            self.registered = replace(known, name=name, addresses=addresses)
            self._events.append(SelfChanged(itself))

    def _on_itself(self, itself: PeerEntry) -> None:
        """Take note of the own entry, where the netmap does not have it."""
        if self.peers.put_itself(itself):
            self._on_self_changed(itself)
            self._events.append(PeersChanged((), ()))

    def _settle_policy(self) -> None:
        """Have the policy that was told before a netmap: only both together are right.

        A policy that this node could not read is missed here.
        """
        if self._next_policy is not None:
            self.policy, self._next_policy = self._next_policy, None
            self._events.append(PolicyChanged())
            if self.registered is not None:
                version = self.policy.version
                self.registered = replace(self.registered, policy=version)
        elif self.policy is None and self.registered and self.registered.policy:
            self._events.append(PolicyChanged())


def _parts(change: PeersChanged, *, is_ahead: bool = False) -> Iterator[PeersChanged]:
    """Yield a change in parts that are small enough to be dealt with at once.

    :param is_ahead: whether the policy that it fits is not in force yet.
    """
    changed, removed = change.changed, change.removed
    most = max(len(changed), len(removed), 1)
    for start in range(0, most, TOLD_AT_ONCE):
        end = start + TOLD_AT_ONCE
        yield PeersChanged(changed[start:end], removed[start:end], is_ahead)


def _offered(itself: PeerEntry | None) -> tuple[object, ...]:
    """Return what others are told that a node is to them."""
    if itself is None:
        return "node", (), False
    return itself.role, itself.routes, itself.exit
