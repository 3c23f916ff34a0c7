"""The guard: what this node lets pass, whatever the coordinator allows.

It is a file of this machine in the form of a policy, and can only take away: packets
pass that both allow. It names what the machine's own administrator knows of: nodes by
their names, networks, ``self`` for this node, and ``any``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from meshwg.errors import ConfigError
from meshwg.policy.ports import EVERYTHING, Ports, parse_ports
from meshwg.policy.rules import AllowRule
from meshwg.prefixes import IPNetwork

MAX_RULES = 1000
_KEYS = ("from", "to", "ports", "note")
_EVERYTHING = (ip_network("0.0.0.0/0"), ip_network("::/0"))

AddressesOf = Callable[[str], Iterable[str]]
"""Returns the addresses of the node of a name; of this one, for ``self``."""


@dataclass(frozen=True, slots=True)
class GuardRule:
    """What may pass, in the words of the file."""

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: tuple[Ports, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of nodes in it."""
        return tuple(
            each.removeprefix("node:")
            for each in (*self.sources, *self.destinations)
            if each.startswith("node:")
        )


def parse_guard(values: Mapping[str, Any], where: str) -> tuple[GuardRule, ...]:
    """Return the rules of a guard.

    :param values: the file as TOML has it.
    :param where: its path, for errors.
    :raises ConfigError: if there is anything that is not understood.
    """
    for key in values:
        if key not in ("version", "allow"):
            raise ConfigError(
                f"The guard {where} has no {key!r}: it has [[allow]] only"
            )
    rules = values.get("allow", [])
    if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
        raise ConfigError(f"The guard {where} has no rules: begin each with [[allow]]")
    if len(rules) > MAX_RULES:
        raise ConfigError(f"The guard {where} has more than {MAX_RULES} rules")
    return tuple(
        _rule(each, f"Rule {number} of the guard {where}")
        for number, each in enumerate(rules, 1)
    )


def resolve_guard(
    rules: Iterable[GuardRule], addresses_of: AddressesOf
) -> tuple[AllowRule, ...]:
    """Return what a guard says of the mesh as it is; unknown names are nobody's."""
    found = []
    for number, rule in enumerate(rules, 1):
        sources = _end(rule.sources, addresses_of)
        destinations = _end(rule.destinations, addresses_of)
        found.append(AllowRule((), (), rule.ports, sources, destinations, line=number))
    return tuple(found)


def _rule(values: Mapping[str, Any], name: str) -> GuardRule:
    for key in values:
        if key not in _KEYS:
            raise ConfigError(f"{name} has no {key!r}: use {', '.join(_KEYS)}")
    listed = {key: values.get(key) for key in ("from", "to")}
    for key, texts in listed.items():
        if not _are_texts(texts) or not texts:
            raise ConfigError(f'{name} wants a list in {key!r}: write {key} = ["any"]')
        for text in texts:
            _check(text, name)
    ports = values.get("ports", ["any"])
    if not _are_texts(ports):
        raise ConfigError(f'{name} wants a list of ports: write ports = ["tcp/22"]')
    try:
        parsed = tuple(map(parse_ports, ports)) or (EVERYTHING,)
    except ValueError as error:
        raise ConfigError(f"{name} has no such ports: {error}") from None
    return GuardRule(tuple(listed["from"] or ()), tuple(listed["to"] or ()), parsed)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _check(text: str, name: str) -> None:
    if text in ("any", "self") or (text.startswith("node:") and text != "node:"):
        return
    try:
        ip_network(text)
    except ValueError:
        raise ConfigError(
            f"{name} means nobody by {text!r}: write node:NAME, a network, self or any"
        ) from None


def _end(texts: Iterable[str], addresses_of: AddressesOf) -> tuple[IPNetwork, ...]:
    networks: list[IPNetwork] = []
    for text in texts:
        if text == "any":
            return _EVERYTHING
        if text == "self" or text.startswith("node:"):
            name = text.removeprefix("node:")
            networks += map(ip_network, addresses_of(name))
        else:
            networks.append(ip_network(text))
    return tuple(networks)
