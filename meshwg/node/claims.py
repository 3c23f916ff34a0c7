"""Which of the networks that peers announce this node sends after them.

The coordinator tells of networks that an administrator has approved; a node judges for
itself, all the same. Several peers may announce the same network: which of them has it
is decided by :mod:`meshwg.node.routers`.
"""

from collections.abc import Collection, Container, Iterable, Mapping

from meshwg import prefixes
from meshwg.health import Complaint, Severity
from meshwg.node.routers import Contender
from meshwg.prefixes import IPNetwork
from meshwg.routeoptions import DEFAULT_PRIORITY

CODE = "peer-route-refused"
TOO_MUCH = "peers together would have too much of the internet behind them"
NO_PRIORITIES: Mapping[str, int] = {}


class Claims:
    """What peers announce, and which of that this node believes."""

    def __init__(self) -> None:
        self._mesh: tuple[IPNetwork, ...] = ()
        self._own: frozenset[str] = frozenset()
        self._announced: dict[str, dict[str, int]] = {}
        self._known: dict[str, tuple[Contender, ...]] = {}
        self._refused: dict[str, str] = {}

    def set_mesh(self, mesh: tuple[IPNetwork, ...], own: Iterable[str]) -> None:
        """Know the networks of the mesh, and those behind this node itself."""
        self._mesh, self._own = mesh, frozenset(own)

    def announce(
        self,
        key: str,
        routes: Collection[str],
        priorities: Mapping[str, int] = NO_PRIORITIES,
    ) -> bool:
        """Take note of what a peer announces, nothing if it has gone.

        :param priorities: by network, of those that are not as all others.
        :return: whether it announces anything, or did.
        """
        if not routes:
            return self._announced.pop(key, None) is not None
        self._announced[key] = {
            text: priorities.get(text, DEFAULT_PRIORITY) for text in routes
        }
        return True

    def settle(self) -> dict[str, tuple[Contender, ...]]:
        """Return the peers that can have each network, in the order of their news."""
        before, self._refused = self._known, {}
        found: dict[str, list[Contender]] = {}
        for key, routes in self._announced.items():
            for text, priority in routes.items():
                if self._may_have(text):
                    found.setdefault(text, []).append(Contender(key, priority))
        self._hold_to_share(found, before)
        self._known = {text: tuple(contenders) for text, contenders in found.items()}
        return self._known

    @property
    def networks(self) -> Collection[str]:
        """The networks that some peer can have."""
        return self._known.keys()

    def of(self, key: str) -> tuple[str, ...]:
        """Return what a peer announces, in its order, as far as it is believed."""
        announced = self._announced.get(key, ())
        return tuple(text for text in announced if text in self._known)

    def complaint(self) -> Complaint | None:
        """Return what the user should know of networks that nobody can have."""
        if not self._refused:
            return None
        text, why = next(iter(sorted(self._refused.items())))
        more = f", nor {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return Complaint(
            CODE,
            Severity.WARNING,
            f"A peer announces {text}, which is not used{more}: {why}.",
            "Update the coordinator, which should not have told of it.",
        )

    def _hold_to_share(
        self, found: dict[str, list[Contender]], before: Container[str]
    ) -> None:
        """Let all together have no more than a share of the internet.

        :param before: networks that somebody had already, which come first.
        """
        room = dict(prefixes.PUBLIC_SHARE)
        for text in sorted(found, key=lambda text: text not in before):
            version, size = 6 if ":" in text else 4, prefixes.public_size(text)
            if size > room[version]:
                del found[text]
                self._refused[text] = TOO_MUCH
            else:
                room[version] -= size

    def _may_have(self, text: str) -> bool:
        if text in self._own:
            return False
        why = prefixes.refusal(prefixes.network(text), self._mesh)
        if why is not None:
            self._refused[text] = why
        return why is None
