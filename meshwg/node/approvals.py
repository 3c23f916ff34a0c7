"""What became of what this node offers, for ``status`` and for ``health``.

The coordinator says so in a message of its own. An older one does not: then a network
is approved if it is in the node's own entry of the netmap.
"""

from collections.abc import Iterable

from meshwg import prefixes
from meshwg.control.client import ControlClient
from meshwg.health import Complaint, Health, Severity
from meshwg.wire.control import PeerEntry
from meshwg.wire.routes import ApprovalState, RouteState, WishState

HUB = "hub"
ROUTE_WAITING, ROUTE_REFUSED = "route-waiting", "route-refused"
EXIT_WAITING, EXIT_REFUSED = "exit-waiting", "exit-refused"
HUB_WAITING, HUB_REFUSED = "hub-waiting", "hub-refused"
NOT_SAID = "the coordinator has not said anything about it yet"
MAX_NAMED = 5
"""Networks that one complaint names."""

_WISHES = {"exit": (EXIT_WAITING, EXIT_REFUSED), "hub": (HUB_WAITING, HUB_REFUSED)}


class OwnOffers:
    """What this node offers, with what became of it.

    :param public_key: this node's own.
    """

    def __init__(self, client: ControlClient, public_key: str) -> None:
        self._client = client
        self._public_key = public_key

    def routes(self) -> tuple[RouteState, ...]:
        """Return the state of each network that this node offers."""
        offered = prefixes.readable(self._client.offered_routes)
        return tuple(map(self._state_of, offered))

    def exit(self) -> WishState | None:
        """Return the state of its wish to be an exit, ``None`` if it has none."""
        if not self._client.offers_exit:
            return None
        approvals, itself = self._client.approvals, self._itself
        told = itself is not None and itself.exit
        return _wish(None if approvals is None else approvals.exit, told)

    def hub(self) -> WishState | None:
        """Return the state of its wish to be a hub, ``None`` if it has none."""
        if self._client.offered_role != HUB:
            return None
        approvals, itself = self._client.approvals, self._itself
        told = itself is not None and itself.role == HUB
        return _wish(None if approvals is None else approvals.hub, told)

    def complain(self, health: Health) -> None:
        """Tell the user of what others are not told of, once that is known."""
        is_known = self._client.approvals is not None or self._itself is not None
        states = [each for each in self.routes() if is_known and self._is_said(each)]
        waiting = _in_state(states, ApprovalState.ADVERTISED)
        refused = _in_state(states, ApprovalState.REFUSED)
        health.put(ROUTE_WAITING, self._of_routes(ROUTE_WAITING, waiting))
        health.put(ROUTE_REFUSED, self._of_routes(ROUTE_REFUSED, refused))
        wishes = {"exit": self.exit(), "hub": self.hub()}
        for what, codes in _WISHES.items():
            wish = wishes[what]
            for code, state in zip(codes, _NOT_TOLD, strict=True):
                complaint = None
                if wish is not None and wish.state == state and is_known:
                    complaint = self._of_wish(code, what, wish)
                is_said = wish is None or self._is_said(wish)
                health.put(code, complaint if is_said else None)

    def _is_said(self, state: RouteState | WishState) -> bool:
        """Tell whether the coordinator has said so, or is one that says nothing."""
        return self._client.approvals is None or state.reason != NOT_SAID

    @property
    def _itself(self) -> PeerEntry | None:
        return self._client.peers.get(self._public_key)

    @property
    def _name(self) -> str:
        registered = self._client.registered
        return "NAME" if registered is None else registered.name

    def _state_of(self, prefix: str) -> RouteState:
        approvals, itself = self._client.approvals, self._itself
        if approvals is not None:
            said = (each for each in approvals.routes if each.prefix == prefix)
            known = next(said, None)
            if known is not None:
                return known
        is_told = itself is not None and prefix in itself.routes
        if approvals is None and is_told:
            return RouteState(prefix=prefix, state=ApprovalState.APPROVED)
        state = ApprovalState.ADVERTISED
        return RouteState(prefix=prefix, state=state, reason=NOT_SAID)

    def _of_routes(self, code: str, states: list[RouteState]) -> Complaint | None:
        if not states:
            return None
        named = ", ".join(each.prefix for each in states[:MAX_NAMED])
        more = f" and {len(states) - MAX_NAMED} more" if states[MAX_NAMED:] else ""
        first = states[0]
        reason = f": {first.reason}" if first.reason else ""
        mend = (
            "Have it approved on the coordinator: 'meshwg-coordinator route approve "
            f"{self._name} {first.prefix}'."
        )
        if code == ROUTE_REFUSED:
            mend = f"Offer it no more: 'meshwg route remove {first.prefix}'."
        text = f"Others are not told of {named}{more}, which this node offers{reason}."
        return Complaint(code, Severity.WARNING, text, mend)

    def _of_wish(self, code: str, what: str, wish: WishState) -> Complaint:
        reason = f": {wish.reason}" if wish.reason else ""
        approve = f"route approve {self._name} exit"
        if what == HUB:
            approve = f"node approve {self._name} --hub"
        mend = f"Have it approved on the coordinator: 'meshwg-coordinator {approve}'."
        if code in (EXIT_REFUSED, HUB_REFUSED):
            mend = f"Start the node without --{what}, or ask the administrator."
        article = "an" if what == "exit" else "a"
        text = f"This node is not {article} {what}, as it was told to be{reason}."
        return Complaint(code, Severity.WARNING, text, mend)


_NOT_TOLD = (ApprovalState.ADVERTISED, ApprovalState.REFUSED)


def _wish(said: WishState | None, is_told: bool) -> WishState:
    """Return the state of a wish.

    :param is_told: whether the netmap has it fulfilled.
    """
    if said is not None:
        return said
    if is_told:
        return WishState(state=ApprovalState.APPROVED)
    return WishState(state=ApprovalState.ADVERTISED, reason=NOT_SAID)


def _in_state(states: Iterable[RouteState], state: str) -> list[RouteState]:
    return [each for each in states if each.state == state]
