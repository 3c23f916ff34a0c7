"""The rules of iptables-legacy, which are apart from those that nft shows.

They are those that ``iptables-legacy -S`` prints, of the table *filter*: one option a
line, ``-P CHAIN POLICY``, ``-N CHAIN``, ``-A CHAIN … -j TARGET``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FORWARD = "FORWARD"
MAX_DEPTH = 16
"""Jumps that are followed, as many as are in the tables of ordinary machines."""
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
"""A word, which may be quoted."""
_DROPPING = ("DROP", "REJECT")


@dataclass(frozen=True, slots=True)
class LegacyRule:
    """One rule, as the words that made it."""

    chain: str
    words: tuple[str, ...]

    @property
    def target(self) -> str:
        """Where it leads, or what it does."""
        return self._after("-j", "-g")

    @property
    def owner(self) -> str:
        """The first word of its comment: that of a node names its interface."""
        return self._after("--comment").partition(" ")[0]

    def _after(self, *options: str) -> str:
        pairs = zip(self.words, self.words[1:], strict=False)
        return next((value for option, value in pairs if option in options), "")


@dataclass(frozen=True, slots=True)
class LegacyRules:
    """The rules of one IP version."""

    policies: dict[str, str] = field(default_factory=dict)
    rules: tuple[LegacyRule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "LegacyRules":
        """Return the rules in a text; what cannot be read of it is left out."""
        policies: dict[str, str] = {}
        rules: list[LegacyRule] = []
        for line in text.splitlines():
            kind, chain, *words = _words(line) + [""] * (2 - len(_words(line)))
            if kind == "-P" and words:
                policies[chain] = words[0]
            elif kind == "-A":
                rules.append(LegacyRule(chain, tuple(words)))
        return cls(policies, tuple(rules))

    def drops_forwarded(self) -> bool:
        """Tell whether something that is forwarded may be dropped."""
        return self.policies.get(FORWARD) == "DROP" or self._may_drop(FORWARD, 0)

    def rules_of(self, owner: str) -> list[LegacyRule]:
        """Return the rules whose comment begins with this word."""
        return [rule for rule in self.rules if rule.owner == owner]

    def is_first(self, rule: LegacyRule) -> bool:
        """Tell whether nothing is dropped in a rule's chain before it."""
        for each in self._in(rule.chain):
            if each == rule:
                return True
            if self._leads_to_drop(each, 0):
                return False
        return False

    def _may_drop(self, chain: str, depth: int) -> bool:
        return any(self._leads_to_drop(rule, depth) for rule in self._in(chain))

    def _leads_to_drop(self, rule: LegacyRule, depth: int) -> bool:
        if rule.target in _DROPPING:
            return True
        return depth < MAX_DEPTH and self._may_drop(rule.target, depth + 1)

    def _in(self, chain: str) -> Iterator[LegacyRule]:
        return (rule for rule in self.rules if rule.chain == chain)


def _words(line: str) -> list[str]:
    return [
        re.sub(r"\\(.)", r"\1", quoted) if quoted else plain
        for quoted, plain in _WORD.findall(line)
    ]
