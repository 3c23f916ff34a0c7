"""Which of the networks that peers announce this node sends after them.

Several peers may have the same network. Those that may have it are its *owners*; one of
them is chosen, and packets go there: the one with the lowest priority number, then the
one that was chosen before, then the first that announced it.

The coordinator should tell of nothing that nobody can have; a node judges for itself,
all the same.
"""

from collections.abc import Container, Iterable, Mapping
from ipaddress import ip_network

from meshwg import prefixes
from meshwg.health import Complaint, Severity
from meshwg.prefixes import IPNetwork
from meshwg.routeoptions import DEFAULT_PRIORITY

CODE = "peer-route-refused"
TOO_MUCH = "peers together would have too much of the internet behind them"


class Claims:
    """What peers announce, and what each of them has of that."""

    def __init__(self) -> None:
        self._mesh: tuple[IPNetwork, ...] = ()
        self._own: frozenset[str] = frozenset()
        self._announced: dict[str, tuple[str, ...]] = {}
        self._priorities: dict[str, Mapping[str, int]] = {}
        self._owners: dict[str, tuple[str, ...]] = {}
        self._refused: dict[str, str] = {}

    def set_mesh(self, mesh: tuple[IPNetwork, ...], own: Iterable[str]) -> None:
        """Know the networks of the mesh, and those behind this node itself."""
        self._mesh, self._own = mesh, frozenset(own)

    def announce(
        self,
        key: str,
        routes: tuple[str, ...],
        priorities: Mapping[str, int] | None = None,
    ) -> None:
        """Take note of what a peer announces, nothing if it has gone.

        :param priorities: of those routes whose priority is not the usual one.
        """
        if routes:
            self._announced[key] = routes
            self._priorities[key] = priorities or {}
        else:
            self._announced.pop(key, None)
            self._priorities.pop(key, None)

    def settle(self) -> dict[str, tuple[str, ...]]:
        """Return what is sent to peers now, those included for which that changed."""
        before = {text: owners[0] for text, owners in self._owners.items()}
        self._owners, self._refused = {}, {}
        for key, routes in self._announced.items():
            for text in routes:
                if self._may_have(text):
                    known = self._owners.get(text, ())
                    self._owners[text] = known if key in known else (*known, key)
        for text, owners in self._owners.items():
            self._owners[text] = self._in_order(text, owners, before.get(text))
        self._hold_to_share(before)
        changed = {
            key
            for text in before.keys() | self._owners.keys()
            if before.get(text) != self._chosen(text)
            for key in (before.get(text), self._chosen(text))
            if key is not None
        }
        return {key: self.of(key) for key in sorted(changed)}

    def of(self, key: str) -> tuple[str, ...]:
        """Return the networks that are sent to a peer."""
        announced = self._announced.get(key, ())
        return tuple(text for text in announced if self._chosen(text) == key)

    @property
    def owners(self) -> Mapping[str, tuple[str, ...]]:
        """The keys of the peers that have each network, the chosen one first."""
        return self._owners

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

    def _chosen(self, text: str) -> str | None:
        return next(iter(self._owners.get(text, ())), None)

    def _in_order(
        self, text: str, owners: tuple[str, ...], chosen: str | None
    ) -> tuple[str, ...]:
        """Return owners of a network by preference.

        :param chosen: the one before.
        """

        def preference(key: str) -> tuple[int, bool]:
            priority = self._priorities[key].get(text, DEFAULT_PRIORITY)
            return priority, key != chosen

        return tuple(sorted(owners, key=preference))

    def _hold_to_share(self, before: Container[str]) -> None:
        """Let all together have no more than a share of the internet.

        :param before: networks that somebody had already, which come first.
        """
        room = dict(prefixes.PUBLIC_SHARE)
        for text in sorted(self._owners, key=lambda text: text not in before):
            version, size = 6 if ":" in text else 4, prefixes.public_size(text)
            if size > room[version]:
                del self._owners[text]
                self._refused[text] = TOO_MUCH
            else:
                room[version] -= size

    def _may_have(self, text: str) -> bool:
        if text in self._own:
            return False
        why = prefixes.refusal(ip_network(text), self._mesh)
        if why is not None:
            self._refused[text] = why
        return why is None
