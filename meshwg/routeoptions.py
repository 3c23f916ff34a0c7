"""How a node is told of a network behind it: the network, and how it is served.

``PREFIX[=MAPPED][,probe=ADDRESS][,priority=N][,snat=yes|no]``. ``PREFIX`` is the real
network. With ``=MAPPED`` others see it as that other network of the same length, so two
sites may both have 192.168.1.0/24; only ``MAPPED`` is announced then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final

from meshwg import prefixes
from meshwg.prefixes import IPNetwork

DEFAULT_PRIORITY: Final = 100
MAX_PRIORITY: Final = 1000
_SNAT = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class RouteOptions:
    """One network behind a node."""

    prefix: str
    """As it really is."""
    mapped: str | None = None
    """As others see it, if that is another network."""
    probe: str | None = None
    """An address in :attr:`prefix` that answers as long as the network can be reached.
    """
    priority: int = DEFAULT_PRIORITY
    """Of several routers of one network, that with the lower number is preferred."""
    snat: bool = True
    """Whether packets from the mesh get the router's own address there."""

    @property
    def announced(self) -> str:
        """The network that others are told of."""
        return self.mapped or self.prefix

    def __str__(self) -> str:
        """Return the shortest text that means the same."""
        parts = [self.prefix if self.mapped is None else f"{self.prefix}={self.mapped}"]
        if self.probe is not None:
            parts.append(f"probe={self.probe}")
        if self.priority != DEFAULT_PRIORITY:
            parts.append(f"priority={self.priority}")
        if not self.snat:
            parts.append("snat=no")
        return ",".join(parts)


def parse_route(text: str) -> RouteOptions:
    """Return what a text says.

    :raises ValueError: if it is none; the text says what is wrong with it.
    """
    networks, *words = text.strip().split(",")
    real, is_mapped, seen = networks.partition("=")
    prefix = _network(real)
    mapped = _mapped(prefix, _network(seen)) if is_mapped else None
    values = _values(words)
    return RouteOptions(
        str(prefix),
        mapped,
        _probe(values["probe"], prefix) if "probe" in values else None,
        _priority(values["priority"]) if "priority" in values else DEFAULT_PRIORITY,
        _snat(values["snat"]) if "snat" in values else True,
    )


def canonical_route(text: str) -> str:
    """Return a text in its shortest form.

    :raises ValueError: as :func:`parse_route`.
    """
    return str(parse_route(text))


def distinct_routes(texts: Iterable[str]) -> tuple[str, ...]:
    """Return texts, none of which announces what another one does.

    :raises ValueError: if two do so.
    """
    seen: dict[str, str] = {}
    for text in texts:
        announced = parse_route(text).announced
        if seen.setdefault(announced, text) != text:
            raise ValueError(f"{announced} is there twice: leave one of both out")
    return tuple(seen.values())


def _network(text: str) -> IPNetwork:
    network = ip_network(prefixes.canonical(text))
    if network.prefixlen == 0:
        raise ValueError(
            f"{text} is a default route, not a network behind a node: offer the whole "
            "internet with --exit"
        )
    why = prefixes.refusal(network, ())
    if why is not None:
        raise ValueError(f"{text} cannot be behind a node: {why}")
    return network


def _mapped(prefix: IPNetwork, mapped: IPNetwork) -> str:
    if mapped == prefix:
        raise ValueError(f"{prefix} is mapped on itself: leave '={mapped}' out")
    if mapped.version != prefix.version:
        raise ValueError(f"{prefix} and {mapped} are of different families")
    if mapped.prefixlen != prefix.prefixlen:
        raise ValueError(
            f"{prefix} and {mapped} have different lengths: write "
            f"{mapped.network_address}/{prefix.prefixlen}"
        )
    if prefixes.overlap(prefix, mapped):
        raise ValueError(f"{prefix} and {mapped} overlap")
    return str(mapped)


def _values(words: Iterable[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for word in words:
        name, _, value = word.strip().partition("=")
        if name not in ("probe", "priority", "snat"):
            raise ValueError(
                f"{word.strip()!r} is no option of a route: use probe=ADDRESS, "
                "priority=N or snat=yes|no"
            )
        if name in values:
            raise ValueError(f"{name} is there twice")
        values[name] = value
    return values


def _probe(text: str, prefix: IPNetwork) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"probe={text} is no address") from None
    if "%" in text or address.version != prefix.version or address not in prefix:
        raise ValueError(f"probe={text} is no address in {prefix}")
    return str(address)


def _priority(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= 4
    if not is_number or int(text) > MAX_PRIORITY:
        raise ValueError(f"priority={text} is no number from 0 to {MAX_PRIORITY}")
    return int(text)


def _snat(text: str) -> bool:
    if text not in _SNAT:
        raise ValueError(f"snat={text} is neither yes nor no")
    return _SNAT[text]
