"""Whose key a name is: pinned when it is first seen, and not changed by anybody's word.

The coordinator says which key has which name and which addresses, and could say
anything. So a node remembers what it was told first. What a peer *claims* is its name
and its addresses in the mesh; each claim belongs to the first key that made it. A peer
with a claim that is another key's is *held*: the node has no session with it and no
routes to it, until the user accepts it.

A claim does not become free because the coordinator says that its owner was removed or
is called otherwise now: it could say so before it gives the name away. A peer that
changes its name keeps the old ones, too. Nodes that are ephemeral when a name is first
seen are not pinned, since each run of them has a new key; they cannot have what is
another's either.

The networks of the mesh are pinned, too: what is called the mesh is routed into it.

Pins are kept as long as this node is in its mesh. Only if there are more than
:data:`MAX_PINS` do those go that were not seen for :data:`KEPT`, the longest first; if
there are none of these, peers that are new are used without a pin, and ``health`` says
so.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Annotated, Literal

from meshwg import prefixes
from meshwg.errors import InvalidMessage, MeshError
from meshwg.health import Complaint, Health, Severity
from meshwg.schema import MaxLength, plain, read
from meshwg.wire.control import MAX_ADDRESSES, PeerEntry
from meshwg.wire.fields import Address, Name, Prefix, PublicKey, UnixTime

MAX_PINS = 16_384
"""Peers that are remembered: about 12 MB of memory and 3 MB of file."""
MAX_NAMES = 8
"""Names, and as many addresses, that one key is remembered with."""
KEPT = 90 * 86400.0
"""Seconds for which a pin stays in any case after its key was last seen."""
FRESH = 86400.0
"""Seconds for which nothing is written only because a key is still there."""

PART = 64
"""Pins in one part of the file: each takes 15 microseconds, and packets wait."""

HELD = "peer-held"
FULL = "peers-not-pinned"
MESH = "mesh-refused"
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What one key has claimed."""

    public_key: PublicKey
    names: Annotated[tuple[Name, ...], MaxLength(MAX_NAMES)]
    """The newest last."""
    addresses: Annotated[tuple[Address, ...], MaxLength(MAX_NAMES)]
    first_seen: UnixTime
    last_seen: UnixTime

    def claims(self) -> Iterator[str]:
        """Yield what nobody else may claim."""
        yield from map(_folded, self.names)
        yield from self.addresses


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """All that is on the disk."""

    schema: Literal[1] = 1
    networks: Annotated[tuple[Prefix, ...], MaxLength(MAX_ADDRESSES)] = ()
    pins: Annotated[tuple[Pin, ...], MaxLength(MAX_PINS)] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """A peer that is not trusted."""

    entry: PeerEntry
    claim: str
    """Its name or address that is another's."""
    owner: str | None
    """The key that has the claim; ``None`` if it is this node's own, or nobody's."""
    reason: str
    """A sentence for the user."""


class Trust:
    """The pins of one node.

    :param pins: what :meth:`to_json` returned before the last stop, as it was read.
    """

    def __init__(self, pins: Pins | None = None) -> None:
        pins = pins or Pins()
        self.networks = pins.networks
        """Those of the mesh, as they were first."""
        self.held: dict[str, Held] = {}
        """Peers that are not trusted, by public key."""
        self.has_changed = False
        """There is something to save; whoever saves it resets this."""
        self._pins: dict[str, Pin] = {}
        self._owners: dict[str, str] = {}
        self._present: dict[str, str] = {}
        """Names of the peers that there are now, by public key."""
        self._unpinned: dict[str, None] = {}
        """Those of them for which there was no room."""
        self._fleeting: dict[str, list[str]] = {}
        """What those claim that are not pinned, as long as they are there."""
        self._refused_networks: tuple[str, ...] = ()
        self._aged_at = float("-inf")
        """When there was last something to save for the sake of times only."""
        for pin in pins.pins:
            self._put(pin)

    def to_json(self) -> bytes:
        """Return what to keep on the disk."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """Return the same in parts; it is as of now, whenever these are taken."""
        return _parts(plain(Pins(networks=self.networks)), self.pins)

    # What the coordinator says.

    def judge_networks(self, networks: Sequence[str]) -> tuple[str, ...]:
        """Return the networks of the mesh to be believed in: those named first."""
        if not self.networks:
            self.networks = tuple(each for each in networks if _may_be_mesh(each))
            self.has_changed = True
        known = self.networks
        self._refused_networks = tuple(each for each in networks if each not in known)
        return known

    def judge(
        self, entry: PeerEntry, own: Collection[str], unix_time: float
    ) -> Held | None:
        """Take note of a peer; return why it is held, ``None`` if it is trusted.

        :param own: this node's own name and addresses.
        """
        key = entry.public_key
        self._present[key] = entry.name
        held = self._objection(entry, own)
        if held is not None:
            self.held[key] = held
            return held
        self.held.pop(key, None)
        self._release(key)
        pin = self._pins.get(key)
        if pin is not None:
            self._renew(pin, entry, unix_time)
        elif not entry.ephemeral:
            self._begin(entry, unix_time)
        if key not in self._pins:
            self._fleeting[key] = claims_of(entry)
            self._owners |= dict.fromkeys(self._fleeting[key], key)
        return None

    def owner(self, claim: str) -> str | None:
        """Return the key that has an address, or a name."""
        return self._owners.get(_folded(claim))

    def forget(self, key: str) -> None:
        """Take note that a peer is no longer a member. Its pin stays."""
        self._release(key)
        for each in (self._present, self.held, self._unpinned):
            each.pop(key, None)

    def _release(self, key: str) -> None:
        for claim in self._fleeting.pop(key, ()):
            if self._owners.get(claim) == key:
                del self._owners[claim]

    # What the user says.

    def accept(self, name: str, key: str | None, unix_time: float) -> Held:
        """Trust a peer that is held: what it claims is its own from now on.

        :param name: its name or its public key.
        :param key: its public key, if the user has compared that.
        :raises MeshError: if there is none, or it is not clear which.
        """
        held = self._find_held(name, key)
        entry = held.entry
        for claim in claims_of(entry):
            if self._owners.get(claim) != entry.public_key:
                self._take_away(claim)
        pin = self._pins.get(entry.public_key)
        if pin is None:
            self._begin(entry, unix_time)
        else:
            # Of more names than one key may have, the oldest are forgotten.
            self._drop(entry.public_key)
            names = _joined(pin.names, (entry.name,))[-MAX_NAMES:]
            addresses = _joined(pin.addresses, entry.addresses)[-MAX_NAMES:]
            self._put(replace(pin, names=names, addresses=addresses))
        self.has_changed = True
        return held

    def _find_held(self, name: str, key: str | None) -> Held:
        wanted = _folded(name)
        found = [
            held
            for held in self.held.values()
            if wanted == _folded(held.entry.name) or name == held.entry.public_key
        ]
        if not found:
            is_known = wanted in map(_folded, self._present.values())
            raise MeshError(
                f"{name} is not held: its key is the one that is known"
                if is_known
                else f"There is no peer '{name}': see 'meshwg trust list'"
            )
        if key is not None:
            found = [held for held in found if held.entry.public_key == key]
            if not found:
                raise MeshError(
                    f"{name} does not have the key {key} now: see 'meshwg trust list'"
                )
        if len(found) > 1:
            raise MeshError(
                f"{len(found)} peers are called {name}: say which by --key, see "
                "'meshwg trust list'"
            )
        if found[0].owner is None:
            raise MeshError(f"{name} cannot be accepted: {found[0].reason}")
        return found[0]

    # What there is to show.

    @property
    def pins(self) -> tuple[Pin, ...]:
        """All pins, the oldest first."""
        return tuple(self._pins.values())

    def state_of(self, pin: Pin) -> str:
        """Return whether a pinned key is there: ``trusted``, ``held`` or ``away``."""
        if pin.public_key in self.held:
            return "held"
        return "trusted" if pin.public_key in self._present else "away"

    def complain(self, health: Health) -> None:
        """Have the complaints stand that there are."""
        health.put(HELD, self._complaint_of_held())
        health.put(MESH, self._complaint_of_networks())
        complaint = None
        if self._unpinned:
            complaint = Complaint(
                FULL,
                Severity.WARNING,
                f"The keys of {len(self._unpinned)} peers are not pinned, since "
                f"{MAX_PINS} others are: a change of theirs would not be noticed.",
                "Remove nodes that are gone, at the coordinator.",
            )
        health.put(FULL, complaint)

    def _complaint_of_held(self) -> Complaint | None:
        if not self.held:
            return None
        names = [held.entry.name for held in self.held.values()]
        shown = ", ".join(names[:NAMES_SHOWN])
        more = f" and {len(names) - NAMES_SHOWN} more" if names[NAMES_SHOWN:] else ""
        first = next(iter(self.held.values()))
        return Complaint(
            HELD,
            Severity.FAILURE,
            f"No traffic with {shown}{more}, whose keys are not those that were "
            f"known: {first.reason}",
            "See 'meshwg trust list', compare the key with the public key in 'meshwg "
            f"status' on that machine, and if it is the same: 'meshwg trust accept "
            f"{first.entry.name}'.",
        )

    def _complaint_of_networks(self) -> Complaint | None:
        if not self._refused_networks:
            return None
        return Complaint(
            MESH,
            Severity.FAILURE,
            f"The coordinator calls {', '.join(self._refused_networks)} the mesh, "
            f"which was {', '.join(self.networks) or 'nothing'} before; it stays so.",
            "If the mesh was begun anew, 'meshwg leave' and join it again.",
        )

    # Pins.

    def _objection(self, entry: PeerEntry, own: Collection[str]) -> Held | None:
        """Return why a peer cannot be what it is said to be."""
        key = entry.public_key
        for claim in claims_of(entry):
            if claim in own:
                reason = f"It has {claim}, which is this node's own."
                return Held(entry, claim, None, reason)
            owner = self._owners.get(claim)
            if owner not in (None, key):
                return Held(entry, claim, owner, self._explain(entry, claim))
        pin = self._pins.get(key)
        if pin is not None and len(_joined(pin.names, (entry.name,))) > MAX_NAMES:
            reason = f"It has had {MAX_NAMES} other names."
            return Held(entry, _folded(entry.name), key, reason)
        if pin is not None and len(_joined(pin.addresses, entry.addresses)) > MAX_NAMES:
            reason = f"It has had {MAX_NAMES} other addresses."
            return Held(entry, entry.addresses[-1], key, reason)
        return None

    def _explain(self, entry: PeerEntry, claim: str) -> str:
        owner = self._owners[claim]
        if claim == _folded(entry.name):
            return (
                f"The key of {entry.name} is {entry.public_key}, and was {owner} "
                "before: a new machine or key, or a coordinator that lies."
            )
        known = self._pins.get(owner)
        whose = known.names[-1] if known is not None else self._present.get(owner)
        return (
            f"{entry.name} has the address {claim}, which was that of {whose} with "
            "another key before."
        )

    def _begin(self, entry: PeerEntry, unix_time: float) -> None:
        if len(self._pins) >= MAX_PINS and not self._make_room(unix_time):
            self._unpinned[entry.public_key] = None
            return
        self._unpinned.pop(entry.public_key, None)
        self._put(
            Pin(
                public_key=entry.public_key,
                names=(entry.name,),
                addresses=tuple(dict.fromkeys(entry.addresses))[:MAX_NAMES],
                first_seen=unix_time,
                last_seen=unix_time,
            )
        )
        self.has_changed = True

    def _renew(self, pin: Pin, entry: PeerEntry, unix_time: float) -> None:
        names = _joined(pin.names, (entry.name,))
        addresses = _joined(pin.addresses, entry.addresses)
        is_other = (names, addresses) != (pin.names, pin.addresses)
        is_old = not _is_fresh(pin.last_seen, unix_time)
        if is_other or is_old:
            self._put(
                replace(pin, names=names, addresses=addresses, last_seen=unix_time)
            )
        if is_other or (is_old and not _is_fresh(self._aged_at, unix_time)):
            self._aged_at = unix_time
            self.has_changed = True

    def _put(self, pin: Pin) -> None:
        self._pins[pin.public_key] = pin
        for claim in pin.claims():
            self._owners[claim] = pin.public_key

    def _drop(self, key: str) -> None:
        pin = self._pins.pop(key, None)
        for claim in pin.claims() if pin is not None else ():
            if self._owners.get(claim) == key:
                del self._owners[claim]

    def _take_away(self, claim: str) -> None:
        """Let nobody have a claim; who is left with no name is forgotten."""
        owner = self._owners.get(claim)
        if owner is None:
            return
        pin = self._pins.get(owner)
        if pin is None:
            self._release(owner)
            return
        self._drop(owner)
        names = tuple(name for name in pin.names if _folded(name) != claim)
        addresses = tuple(each for each in pin.addresses if each != claim)
        if names:
            self._put(replace(pin, names=names, addresses=addresses))

    def _make_room(self, unix_time: float) -> bool:
        gone = [
            pin
            for pin in self._pins.values()
            if pin.public_key not in self._present and pin.last_seen + KEPT < unix_time
        ]
        if gone:
            self._drop(min(gone, key=lambda pin: pin.last_seen).public_key)
        return bool(gone)


def _parts(head: dict[str, object], pins: Sequence[Pin]) -> Iterator[bytes]:
    """Yield the JSON of pins, some at a time."""
    del head["pins"]
    yield json.dumps(head, separators=(",", ":")).encode().removesuffix(b"}")
    yield b',"pins":['
    for start in range(0, len(pins), PART):
        texts = (
            json.dumps(plain(pin), separators=(",", ":"))
            for pin in pins[start : start + PART]
        )
        yield (("," if start else "") + ",".join(texts)).encode()
    yield b"]}"


def load_pins(text: bytes) -> Pins:
    """Return the pins that a node wrote.

    :raises InvalidMessage: if the text is damaged.
    """
    try:
        return read(Pins, json.loads(text))
    except (ValueError, RecursionError):
        raise InvalidMessage("The pinned keys are damaged") from None


def claims_of(entry: PeerEntry) -> list[str]:
    """Return what a peer claims, of which each belongs to one key only."""
    return [_folded(entry.name), *entry.addresses]


def _folded(name: str) -> str:
    """Return a name as people read it, who do not tell capital letters apart."""
    return name.strip().casefold()


def _is_fresh(since: float, unix_time: float) -> bool:
    """Tell whether a time is of the last day; clocks may be set back, too."""
    return since <= unix_time < since + FRESH


def _joined(known: tuple[str, ...], now: Iterable[str]) -> tuple[str, ...]:
    """Return what was known before and is not now, and then what is now."""
    current = dict.fromkeys(now)
    return (*(each for each in known if each not in current), *current)


def _may_be_mesh(text: str) -> bool:
    return prefixes.refusal(ip_network(text), ()) is None
