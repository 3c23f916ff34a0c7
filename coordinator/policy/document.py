"""The policy as its administrator writes it: a TOML file, read and checked whole.

A file is refused for anything in it that is not understood, since a rule that is
skipped, or a word that means nothing, would be a hole or a wall that nobody sees.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from coordinator.policy.lines import Lines
from coordinator.policy.selectors import Selector, SelectorKind, parse_selector
from meshwg.errors import ConfigError
from meshwg.policy.ports import EVERYTHING, Ports, parse_ports
from meshwg.prefixes import IPNetwork

MAX_TEXT = 1 << 20
"""Bytes of a policy."""
MAX_RULES = 5000
MAX_NOTE = 200
RESERVED = ("any", "self", "internet")
"""Words that have a meaning."""
MAX_LISTED = 2000
"""Texts in one list."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_USER = re.compile(r"[^\s:/]{1,255}")
_TOML_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_TABLES: Mapping[str, tuple[str, ...]] = {
    "allow": ("from", "to", "ports", "note"),
    "approve": ("routes", "exits", "by"),
    "test": ("from", "allow", "deny"),
}
"""Tables that there may be many of, and their keys."""
_SINGLE = ("version", "groups", "hosts", "tag-owners")


class PolicyError(ConfigError):
    """A policy is refused."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"Line {line} of the policy: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Allow:
    """A rule: whoever is in ``sources`` may reach these ports of ``destinations``."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    ports: tuple[Ports, ...]
    note: str
    line: int


@dataclass(frozen=True, slots=True)
class Approval:
    """Routes, or the role of an exit, that need no administrator."""

    routes: tuple[IPNetwork, ...]
    exits: bool
    by: tuple[Selector, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Expectation:
    """That one is to reach something, or is not to."""

    source: Selector
    destination: Selector
    ports: Ports
    allowed: bool
    line: int


@dataclass(frozen=True, slots=True)
class Document:
    """A policy that is well formed."""

    allows: tuple[Allow, ...] = ()
    approvals: tuple[Approval, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Users and, with ``group:`` before them, other groups."""
    hosts: Mapping[str, IPNetwork] = field(default_factory=dict)
    tag_owners: Mapping[str, tuple[Selector, ...]] = field(default_factory=dict)
    lines: Lines = field(default_factory=lambda: Lines(""), compare=False)


def parse_policy(text: str) -> Document:
    """Return what a file says.

    :raises PolicyError: naming the first line at fault, what is wrong, and the mend.
    """
    if len(text.encode(errors="replace")) > MAX_TEXT:
        size = f"{MAX_TEXT >> 20} MiB"
        raise PolicyError(1, f"it is longer than {size}; use groups and tags")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(str(error), text) from None
    except RecursionError:
        raise PolicyError(1, "it is nested too deeply to be read; flatten it") from None
    return _Parser(values, Lines(text)).document()


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a group, a host or a tag."""
    return _NAME.fullmatch(text) is not None


def is_user(text: str) -> bool:
    """Tell whether a text can be the name of a user."""
    return _USER.fullmatch(text) is not None and text not in RESERVED


def _not_toml(message: str, text: str) -> PolicyError:
    found = _TOML_LINE.search(message)
    line = int(found[1]) if found and found[1] else len(text.splitlines()) or 1
    what = _TOML_LINE.sub("", message)
    return PolicyError(line, f"this is not valid TOML ({what.lower()}); correct it")


class _Parser:
    """Reads the tables of one file, in the order in which they need each other."""

    def __init__(self, values: dict[str, Any], lines: Lines) -> None:
        self._values = values
        self._lines = lines
        self._hosts: dict[str, IPNetwork] = {}

    def document(self) -> Document:
        self._check_keys()
        self._hosts = self._read_hosts()
        groups = self._read_groups()
        tag_owners = self._read_tag_owners()
        allows = tuple(self._allow(*each) for each in self._tables("allow"))
        approvals = tuple(self._approval(*each) for each in self._tables("approve"))
        tests = [self._test(*each) for each in self._tables("test")]
        return Document(
            allows,
            approvals,
            tuple(each for test in tests for each in test),
            groups,
            self._hosts,
            tag_owners,
            self._lines,
        )

    def _check_keys(self) -> None:
        for key in self._values:
            if key not in _SINGLE and key not in _TABLES:
                known = ", ".join((*_SINGLE, *_TABLES))
                line = self._lines.of_table(key)
                raise PolicyError(line, f"there is no '{key}'; use one of {known}")
        if self._values.get("version", 1) != 1:
            line = self._lines.of_key("", "version")
            raise PolicyError(line, "only version 1 is known; write version = 1")

    # Tables that are there once.

    def _named(self, table: str) -> dict[str, Any]:
        """Return a table whose keys are names."""
        found = self._values.get(table, {})
        if not isinstance(found, dict):
            line = self._lines.of_table(table)
            raise PolicyError(line, f"'{table}' is a table; begin it with [{table}]")
        for name in found:
            if not _NAME.fullmatch(name):
                raise PolicyError(
                    self._lines.of_key(table, name),
                    f"{name!r} is no name; use small letters, digits and -",
                )
        return found

    def _read_hosts(self) -> dict[str, IPNetwork]:
        hosts = {}
        for name, value in self._named("hosts").items():
            line = self._lines.of_key("hosts", name)
            if name in RESERVED:
                raise PolicyError(line, f"'{name}' has a meaning; take another name")
            try:
                if not isinstance(value, str) or "%" in value:
                    raise ValueError
                alone = "/" not in value
                hosts[name] = ip_network(ip_address(value) if alone else value)
            except ValueError:
                raise PolicyError(
                    line,
                    f"{value!r} is no address or network; write 10.0.5.10 or "
                    "10.0.5.0/24",
                ) from None
        return hosts

    def _read_groups(self) -> dict[str, tuple[str, ...]]:
        groups = {}
        for name in self._named("groups"):
            members = self._texts("groups", name, self._values["groups"][name], 0)
            for member in members:
                line = self._lines.of_text("groups", name, member)
                group = member.removeprefix("group:")
                pattern = _USER if group == member else _NAME
                if not pattern.fullmatch(group):
                    raise PolicyError(
                        line, f"{member!r} is neither a user nor group:NAME; write one"
                    )
            groups[name] = members
        return groups

    def _read_tag_owners(self) -> dict[str, tuple[Selector, ...]]:
        owners = {}
        for name in self._named("tag-owners"):
            value = self._values["tag-owners"][name]
            # Without owners only an administrator puts it on nodes.
            owners[name] = (
                self._selectors("tag-owners", name, value, 0) if value != [] else ()
            )
            for each in owners[name]:
                if each.kind not in (SelectorKind.USER, SelectorKind.GROUP):
                    raise PolicyError(
                        self._lines.of_text("tag-owners", name, each.text),
                        f"{each.text!r} cannot own a tag; name users or groups",
                    )
        return owners

    # Tables that there may be many of.

    def _tables(self, kind: str) -> list[tuple[dict[str, Any], int]]:
        """Return all tables of a kind with their numbers, if their keys are known."""
        found = self._values.get(kind, [])
        if not isinstance(found, list) or not all(isinstance(t, dict) for t in found):
            line = self._lines.of_table(kind)
            raise PolicyError(line, f"there may be many; begin each with [[{kind}]]")
        if len(found) > MAX_RULES:
            line = self._lines.of_table(kind, MAX_RULES)
            problem = f"there are more than {MAX_RULES} of these; use groups and tags"
            raise PolicyError(line, problem)
        for index, table in enumerate(found):
            for key in table:
                if key not in _TABLES[kind]:
                    known = ", ".join(_TABLES[kind])
                    raise PolicyError(
                        self._lines.of_key(kind, key, index),
                        f"[[{kind}]] has no '{key}'; use {known}",
                    )
        return [(table, index) for index, table in enumerate(found)]

    def _allow(self, table: dict[str, Any], index: int) -> Allow:
        sources = self._required("allow", "from", table, index)
        for each in sources:
            if each.kind in (SelectorKind.SELF, SelectorKind.INTERNET):
                raise PolicyError(
                    self._lines.of_text("allow", "from", each.text, index),
                    f"'{each.text}' is a destination; write it in 'to'",
                )
        destinations = self._required("allow", "to", table, index)
        ports: tuple[Ports, ...] = (EVERYTHING,)
        if "ports" in table:
            texts = self._texts("allow", "ports", table["ports"], index)
            ports = tuple(self._ports("allow", "ports", each, index) for each in texts)
            if not ports:
                line = self._lines.of_key("allow", "ports", index)
                raise PolicyError(line, "'ports' is empty; leave it out to allow all")
        note = table.get("note", "")
        if not isinstance(note, str) or len(note) > MAX_NOTE or not note.isprintable():
            line = self._lines.of_key("allow", "note", index)
            problem = f"a note is one line of {MAX_NOTE} letters; shorten it"
            raise PolicyError(line, problem)
        line = self._lines.of_table("allow", index)
        return Allow(sources, destinations, ports, note, line)

    def _approval(self, table: dict[str, Any], index: int) -> Approval:
        line = self._lines.of_table("approve", index)
        exits = table.get("exits", False)
        if not isinstance(exits, bool):
            line = self._lines.of_key("approve", "exits", index)
            raise PolicyError(line, "'exits' is true or false; write one of them")
        texts = self._texts("approve", "routes", table.get("routes", []), index)
        routes = []
        for text in texts:
            try:
                routes.append(self._hosts.get(text) or ip_network(text))
            except ValueError:
                line = self._lines.of_text("approve", "routes", text, index)
                raise PolicyError(
                    line, f"{text!r} is no network; write 10.0.0.0/16"
                ) from None
        if not routes and not exits:
            raise PolicyError(line, "it approves nothing; write routes or exits = true")
        by = self._required("approve", "by", table, index)
        return Approval(tuple(routes), exits, by, line)

    def _test(self, table: dict[str, Any], index: int) -> list[Expectation]:
        line = self._lines.of_table("test", index)
        source = table.get("from")
        if not isinstance(source, str):
            raise PolicyError(line, 'a test has one source; write from = "NAME"')
        selector = self._selector("test", "from", source, index)
        found = [
            self._expectation(selector, text, key, index)
            for key in ("allow", "deny")
            for text in self._texts("test", key, table.get(key, []), index)
        ]
        if not found:
            raise PolicyError(line, "a test expects something; write allow or deny")
        return found

    def _expectation(
        self, source: Selector, text: str, key: str, index: int
    ) -> Expectation:
        """Return what ``tag:db:tcp/5432`` expects; without ports, any."""
        name, _, ports = text.rpartition(":")
        if name and (ports in ("icmp", "any") or ports.startswith(("tcp/", "udp/"))):
            meant = self._ports("test", key, ports, index, text)
        else:
            name, meant = text, EVERYTHING
        destination = self._selector("test", key, name, index, text)
        line = self._lines.of_text("test", key, text, index)
        return Expectation(source, destination, meant, key == "allow", line)

    # Values.

    def _required(
        self, table: str, key: str, values: dict[str, Any], index: int
    ) -> tuple[Selector, ...]:
        if key not in values:
            line = self._lines.of_table(table, index)
            raise PolicyError(line, f"[[{table}]] has no '{key}'; say who is meant")
        return self._selectors(table, key, values[key], index)

    def _selectors(
        self, table: str, key: str, value: Any, index: int
    ) -> tuple[Selector, ...]:
        texts = self._texts(table, key, value, index)
        if not texts:
            line = self._lines.of_key(table, key, index)
            raise PolicyError(line, f"'{key}' is empty; name somebody, or remove it")
        return tuple(self._selector(table, key, each, index) for each in texts)

    def _texts(self, table: str, key: str, value: Any, index: int) -> tuple[str, ...]:
        line = self._lines.of_key(table, key, index)
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(t, str) for t in listed):
            raise PolicyError(line, f'\'{key}\' is a list of texts; write ["…", "…"]')
        if len(listed) > MAX_LISTED:
            problem = f"'{key}' has more than {MAX_LISTED} texts; use groups or tags"
            raise PolicyError(line, problem)
        if len(dict.fromkeys(listed)) < len(listed):
            text = next(text for text in listed if listed.count(text) > 1)
            line = self._lines.of_text(table, key, text, index)
            raise PolicyError(line, f"{text!r} is there twice; remove one of them")
        return tuple(listed)

    def _selector(
        self, table: str, key: str, text: str, index: int, written: str = ""
    ) -> Selector:
        try:
            return parse_selector(text, self._hosts)
        except ValueError as error:
            line = self._lines.of_text(table, key, written or text, index)
            raise PolicyError(line, f"{text!r} names nobody: {error}") from None

    def _ports(
        self, table: str, key: str, text: str, index: int, written: str = ""
    ) -> Ports:
        try:
            return parse_ports(text)
        except ValueError as error:
            line = self._lines.of_text(table, key, written or text, index)
            raise PolicyError(line, f"{text!r} are no ports: {error}") from None
