"""Which of the networks that peers announce this node sends after them.

The coordinator tells of each network only once, if it is of this version; a node judges
for itself, all the same. Of several peers the first keeps a network, and the next one
has it when that has gone, or announces it no more.
"""

from collections.abc import Container, Iterable
from ipaddress import ip_network

from meshwg import prefixes
from meshwg.health import Complaint, Severity
from meshwg.prefixes import IPNetwork

CODE = "route-refused"
TOO_MUCH = "peers together would have too much of the internet behind them"


class Claims:
    """What peers announce, and what each of them has of that."""

    def __init__(self) -> None:
        self._mesh: tuple[IPNetwork, ...] = ()
        self._own: frozenset[str] = frozenset()
        self._announced: dict[str, tuple[str, ...]] = {}
        self._holders: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    def set_mesh(self, mesh: tuple[IPNetwork, ...], own: Iterable[str]) -> None:
        """Know the networks of the mesh, and those behind this node itself."""
        self._mesh, self._own = mesh, frozenset(own)

    def announce(self, key: str, routes: tuple[str, ...]) -> None:
        """Take note of what a peer announces, nothing if it has gone."""
        if routes:
            self._announced[key] = routes
        else:
            self._announced.pop(key, None)

    def settle(self) -> dict[str, tuple[str, ...]]:
        """Return what peers have now, those whose routes changed included."""
        before = self._holders
        self._holders, self._refused = {}, {}
        for key, routes in self._announced.items():
            for text in routes:
                if self._may_have(text) and (
                    before.get(text) == key or text not in self._holders
                ):
                    self._holders[text] = key
        self._hold_to_share(before)
        changed = {
            key
            for text in before.keys() | self._holders.keys()
            if before.get(text) != self._holders.get(text)
            for key in (before.get(text), self._holders.get(text))
            if key is not None
        }
        return {key: self.of(key) for key in sorted(changed)}

    def of(self, key: str) -> tuple[str, ...]:
        """Return what a peer has."""
        announced = self._announced.get(key, ())
        return tuple(text for text in announced if self._holders.get(text) == key)

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

    def _hold_to_share(self, before: Container[str]) -> None:
        """Let all together have no more than a share of the internet.

        :param before: networks that somebody had already, which come first.
        """
        room = dict(prefixes.PUBLIC_SHARE)
        for text in sorted(self._holders, key=lambda text: text not in before):
            version, size = 6 if ":" in text else 4, prefixes.public_size(text)
            if size > room[version]:
                del self._holders[text]
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
