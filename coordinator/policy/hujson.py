"""Policies in Tailscale's form: JSON with comments and trailing commas.

What has no counterpart is refused where leaving it out would allow more, or less, than
meant; what does not concern packets is left out, which a comment says.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from meshwg.errors import ConfigError
from meshwg.policy.ports import MAX_PORT, Ports, parse_ports

MAX_TEXT = 1 << 20
_COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMAS = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
_NO_PACKETS = ("ssh", "sshTests", "nodeAttrs", "attrConfig", "disableIPv4")
_UNKNOWN = ("postures", "defaultSrcPosture", "ipsets")
_WORDS = {
    "*": "any",
    "autogroup:member": "role:member",
    "autogroup:self": "self",
    "autogroup:internet": "internet",
    "autogroup:danger-all": "any",
}
_PROTOCOLS = {
    **dict.fromkeys(("tcp", "6"), ("tcp",)),
    **dict.fromkeys(("udp", "17"), ("udp",)),
    **dict.fromkeys(("icmp", "1", "ipv6-icmp", "58"), ("icmp",)),
}
_EITHER = ("tcp", "udp")


def from_hujson(text: str) -> str:
    """Return the TOML text of a policy that does the same.

    :raises ConfigError: if the text is not valid, or says what we have no word for.
    """
    values = _read(text)
    for key in _UNKNOWN:
        if values.get(key):
            raise ConfigError(
                f"The policy uses '{key}', which has no counterpart: remove it first"
            )
    return "\n".join(_lines(values)) + "\n"


def _read(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise ConfigError("The policy is longer than 1 MiB: it is not imported")
    plain = _COMMENTS.sub(_text_or_lines, text)
    try:
        values = json.loads(_COMMAS.sub(_text_or_lines, plain))
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"The policy is not valid HuJSON ({error}): mend it"
        ) from None
    if not isinstance(values, dict):
        raise ConfigError("The policy is no object: it begins with {")
    return values


def _text_or_lines(found: re.Match[str]) -> str:
    """Return a text as it is, and of all else the ends of its lines."""
    return found[1] or "\n" * found[0].count("\n")


def _lines(values: dict[str, Any]) -> Iterator[str]:
    yield "version = 1"
    for key in _NO_PACKETS:
        if values.get(key):
            yield f"# '{key}' has no counterpart, and is left out."
    hosts = _object(values, "hosts")
    yield from _table(
        "groups",
        (
            (name.removeprefix("group:"), [_selector(each) for each in members])
            for name, members in _object(values, "groups").items()
        ),
    )
    yield from _table("hosts", hosts.items())
    yield from _table(
        "tag-owners",
        (
            (name.removeprefix("tag:"), _owners(owners))
            for name, owners in _object(values, "tagOwners").items()
        ),
    )
    for rule in _objects(values, "acls"):
        yield from _acl(rule)
    for grant in _objects(values, "grants"):
        yield from _grant(grant)
    yield from _approvals(_object(values, "autoApprovers"))
    for test in _objects(values, "tests"):
        yield from _test(test)


def _table(name: str, pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    listed = list(pairs)
    if listed:
        yield f"\n[{name}]"
    for key, value in listed:
        yield f"{json.dumps(key)} = {_toml(value)}"


def _owners(owners: Any) -> list[str]:
    """Return who owns a tag: tags that own tags have no counterpart here."""
    return [
        each
        for each in _texts(owners, "tagOwners")
        if not each.startswith(("autogroup:", "tag:"))
    ]


def _acl(rule: dict[str, Any]) -> Iterator[str]:
    if rule.get("action", "accept") != "accept":
        raise ConfigError("A rule does not accept: rules here only allow; remove it")
    protocols = _protocols(str(rule.get("proto", "")))
    by_ports: dict[tuple[str, ...], list[str]] = {}
    for target in _texts(rule.get("dst"), "dst"):
        host, _, ports = target.rpartition(":")
        by_ports.setdefault(_ports(ports, protocols), []).append(_selector(host))
    sources = [_selector(each) for each in _texts(rule.get("src"), "src")]
    for listed, destinations in by_ports.items():
        yield from _allow(sources, destinations, listed)


def _grant(grant: dict[str, Any]) -> Iterator[str]:
    for key in ("via", "srcPosture"):
        if grant.get(key):
            raise ConfigError(
                f"A grant uses '{key}', which has no counterpart: remove it first"
            )
    if "ip" not in grant:
        yield "# A grant that is about an application alone is left out."
        return
    found: list[str] = []
    for each in _texts(grant["ip"], "ip"):
        protocol, colon, ports = each.rpartition(":")
        found += _ports(ports, _protocols(protocol if colon else ""))
    sources = [_selector(each) for each in _texts(grant.get("src"), "src")]
    destinations = [_selector(each) for each in _texts(grant.get("dst"), "dst")]
    listed = ("any",) if "any" in found else tuple(dict.fromkeys(found))
    yield from _allow(sources, destinations, listed)


def _allow(
    sources: list[str], destinations: list[str], ports: tuple[str, ...]
) -> Iterator[str]:
    yield "\n[[allow]]"
    yield f"from = {_toml(list(dict.fromkeys(sources)))}"
    yield f"to = {_toml(list(dict.fromkeys(destinations)))}"
    if ports != ("any",):
        yield f"ports = {_toml(list(ports))}"


def _approvals(values: dict[str, Any]) -> Iterator[str]:
    by_owners: dict[tuple[str, ...], list[str]] = {}
    for route, owners in _object(values, "routes").items():
        by = tuple(_selector(each) for each in _texts(owners, "autoApprovers"))
        by_owners.setdefault(by, []).append(route)
    for by, routes in by_owners.items():
        yield from ("\n[[approve]]", f"routes = {_toml(routes)}", f"by = {_toml(by)}")
    exits = [_selector(each) for each in _texts(values.get("exitNode", []), "exitNode")]
    if exits:
        yield from ("\n[[approve]]", "exits = true", f"by = {_toml(exits)}")


def _test(test: dict[str, Any]) -> Iterator[str]:
    protocols = _protocols(str(test.get("proto", "")))
    yield "\n[[test]]"
    yield f"from = {_toml(_selector(str(test.get('src', ''))))}"
    for key, old in (("allow", "accept"), ("deny", "deny")):
        expected = []
        for target in _texts(test.get(old, []), old):
            host, _, ports = target.rpartition(":")
            # A port alone means TCP in a test.
            for each in _ports(ports, protocols if protocols != _EITHER else ("tcp",)):
                expected.append(f"{_selector(host)}:{each}")
        if expected:
            yield f"{key} = {_toml(expected)}"


def _selector(text: Any) -> str:
    """Return our word for whom a text means."""
    if not isinstance(text, str):
        raise ConfigError(f"{text!r} is no text, and cannot mean anybody: correct it")
    if text in _WORDS:
        return _WORDS[text]
    if text.startswith(("autogroup:", "ipset:", "user:*")):
        raise ConfigError(
            f"{text!r} has no counterpart: name groups, tags or networks instead"
        )
    return text


def _protocols(text: str) -> tuple[str, ...]:
    if text in ("", "*"):
        return _EITHER
    found = _PROTOCOLS.get(text)
    if found is None:
        raise ConfigError(f"The protocol {text!r} has no counterpart: remove the rule")
    return found


def _ports(text: str, protocols: tuple[str, ...]) -> tuple[str, ...]:
    """Return our words for ``22,80-90`` or ``*`` of some protocols."""
    if text == "*" and protocols == _EITHER:
        return ("any",)
    found: list[str] = []
    for protocol in protocols:
        if protocol == "icmp":
            found.append("icmp")
            continue
        for each in text.split(","):
            try:
                found.append(_canonical(f"{protocol}/{each}"))
            except ValueError as error:
                raise ConfigError(f"{each!r} is no port: {error}") from None
    return tuple(found)


def _canonical(text: str) -> str:
    """Return ports in their usual form, the whole range as a star."""
    ports = parse_ports(text)
    if (ports.first, ports.last) == (1, MAX_PORT):
        ports = Ports(ports.protocol)
    return str(ports)


def _object(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise ConfigError(f"'{key}' in the policy is no object: correct it")
    return found


def _objects(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = values.get(key) or []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ConfigError(f"'{key}' in the policy is no list of objects: correct it")
    return found


def _texts(value: Any, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"'{key}' in the policy is no list of texts: correct it")
    return value


def _toml(value: Any) -> str:
    """Return a text, or a list of texts, as TOML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)
