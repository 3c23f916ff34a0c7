"""Netmaps and deltas, cut into slices that a node reads between two packets.

What changed is told in the order of versions. So whoever has a slice, and all before
it, has everything up to some version, and needs no more than what comes after that if
its connection ends there. Several nodes may have one version: then a slice leads only
to the version before, until the last of them is told.
"""

from collections.abc import Sequence
from typing import NamedTuple, overload

from meshwg.wire.control import pack
from meshwg.wire.digest import format_digest

MAX_ENTRIES = 24
"""Nodes in one slice: a node takes 0.1 ms for each of them, and packets wait for it."""
MAX_BYTES = 16 * 1024
"""Bytes of JSON in one slice, for nodes that have much to say."""


class Entry(NamedTuple):
    """A node that changed, or is gone."""

    version: int
    key: str
    fragment: bytes | None
    """It as JSON, ``None`` if it is gone."""


class Slices(Sequence[bytes]):
    """The payloads of one netmap or delta, each made when it is first asked for.

    :param base: the version from which they lead on; ``None`` for a whole netmap.
    :param version: to which they lead.
    :param digest: of the netmap as of that version.
    :param whole: whether all is one payload, for nodes that do not know of slices.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        base: int | None,
        version: int,
        digest: int,
        whole: bool = False,
    ) -> None:
        self._entries = entries
        self._base = base
        self.version = version
        self._digest = format_digest(digest)
        self._starts = [0] if whole else _starts(entries)
        self._payloads: list[bytes | None] = [None] * len(self._starts)
        self.built = 0
        """Payloads made so far."""

    def __len__(self) -> int:
        return len(self._payloads)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        payload = self._payloads[index]
        if payload is None:
            payload = self._payloads[index] = pack(self._text(index % len(self)))
            self.built += 1
        return payload

    def _text(self, index: int) -> bytes:
        """Return a slice as JSON."""
        end = self._end(index)
        entries = self._entries[self._starts[index] : end]
        is_last = end == len(self._entries)
        version = self.version if is_last else self._leads_to(index)
        digest = self._digest if is_last else ""
        through = b"" if is_last else b',"through":%d' % self.version
        changed = b",".join(each.fragment for each in entries if each.fragment)
        if index == 0 and self._base is None:
            return b'{"type":"netmap","version":%d,"digest":"%s","peers":[%s]%s}' % (
                version,
                digest.encode(),
                changed,
                through,
            )
        removed = b",".join(
            b'"%s"' % each.key.encode() for each in entries if each.fragment is None
        )
        return (
            b'{"type":"delta","base":%d,"version":%d,"digest":"%s",'
            b'"changed":[%s],"removed":[%s]%s}'
            % (
                self._leads_to(index - 1),
                version,
                digest.encode(),
                changed,
                removed,
                through,
            )
        )

    def _end(self, index: int) -> int:
        following = index + 1
        is_last = following == len(self._starts)
        return len(self._entries) if is_last else self._starts[following]

    def _leads_to(self, index: int) -> int:
        """Return up to which version a node knows all after a slice but the last."""
        base = self._base or 0
        if index < 0:
            return base
        return max(base, self._entries[self._end(index)].version - 1)


def _starts(entries: Sequence[Entry]) -> list[int]:
    """Return where slices begin."""
    starts, size = [0], 0
    for number, entry in enumerate(entries):
        length = len(entry.fragment or entry.key)
        is_full = number - starts[-1] >= MAX_ENTRIES or size + length > MAX_BYTES
        if is_full and number > starts[-1]:
            starts.append(number)
            size = 0
        size += length
    return starts
