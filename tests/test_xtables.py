"""The rules of iptables-legacy, as it prints them."""

from meshwg.xtables import LegacyRule, LegacyRules

OURS = '-A FORWARD -i m0 -m comment --comment "meshwg-m0 to 10.1.0.0/16" -j ACCEPT'


def test_a_policy_that_drops_is_seen() -> None:
    assert LegacyRules.parse("-P FORWARD DROP").drops_forwarded()
    assert not LegacyRules.parse("-P FORWARD ACCEPT\n-P INPUT DROP").drops_forwarded()
    assert not LegacyRules.parse("").drops_forwarded()


def test_a_rule_that_drops_is_seen_wherever_it_leads() -> None:
    text = "-P FORWARD ACCEPT\n-N one\n-N two\n-A FORWARD -j one\n-A one -g two\n"
    assert not LegacyRules.parse(text).drops_forwarded()
    assert LegacyRules.parse(f"{text}-A two -j REJECT").drops_forwarded()
    assert not LegacyRules.parse(f"{text}-A INPUT -j DROP").drops_forwarded()


def test_chains_that_lead_in_a_circle_end() -> None:
    text = "-P FORWARD ACCEPT\n-A FORWARD -j one\n-A one -j FORWARD"
    assert not LegacyRules.parse(text).drops_forwarded()


def test_rules_of_a_node_are_known_by_their_comment() -> None:
    rules = LegacyRules.parse(f"-A FORWARD -j DROP\n{OURS}")
    (rule,) = rules.rules_of("meshwg-m0")
    assert rule.target == "ACCEPT"
    assert rules.rules_of("meshwg-m1") == []


def test_a_rule_counts_only_before_what_drops() -> None:
    behind = LegacyRules.parse(f"-A FORWARD -j DROP\n{OURS}")
    before = LegacyRules.parse(f"-A FORWARD -j LOG\n{OURS}\n-A FORWARD -j DROP")
    assert not behind.is_first(behind.rules_of("meshwg-m0")[0])
    assert before.is_first(before.rules_of("meshwg-m0")[0])
    assert not before.is_first(LegacyRule("FORWARD", ("-j", "ACCEPT")))


def test_what_cannot_be_read_is_left_out() -> None:
    text = '-A FORWARD --comment "open\n-Z\n\n# comment\n-P FORWARD DROP'
    assert LegacyRules.parse(text).drops_forwarded()
