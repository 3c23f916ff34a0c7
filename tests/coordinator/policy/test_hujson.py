"""Policies of others are translated, or refused with what has no counterpart."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.policy.document import parse_policy
from coordinator.policy.hujson import from_hujson
from meshwg.errors import ConfigError

TAILSCALE = r"""
// The office's policy.
{
  "groups": {"group:sre": ["alice@example.org", "bob@example.org"],},
  "hosts": {"db": "10.0.5.10" /* behind the router */},
  "tagOwners": {"tag:db": ["group:sre", "autogroup:admin"], "tag:web": []},
  "acls": [
    {"action": "accept", "src": ["group:sre"], "dst": ["tag:db:5432,9100-9110"]},
    {"action": "accept", "src": ["*"], "dst": ["db:*", "tag:web:443"], "proto": "tcp"},
    {"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]},
    {"action": "accept", "src": ["group:sre"], "dst": ["*:*"], "proto": "icmp"},
  ],
  "grants": [{"src": ["group:sre"], "dst": ["tag:web"], "ip": ["tcp:22", "udp:53"]}],
  "autoApprovers": {"routes": {"10.0.0.0/16": ["tag:db"]}, "exitNode": ["tag:web"]},
  "ssh": [{"action": "check"}],
  "tests": [{"src": "alice@example.org", "accept": ["tag:db:5432"], "deny": ["db:1"]}],
}
"""


def test_what_others_say_becomes_a_policy_that_does_the_same() -> None:
    text = from_hujson(TAILSCALE)
    document = parse_policy(text)

    rules = [
        (
            [each.text for each in rule.sources],
            [each.text for each in rule.destinations],
            [str(each) for each in rule.ports],
        )
        for rule in document.allows
    ]
    assert rules == [
        (
            ["group:sre"],
            ["tag:db"],
            ["tcp/5432", "tcp/9100-9110", "udp/5432", "udp/9100-9110"],
        ),
        (["any"], ["db"], ["tcp/*"]),
        (["any"], ["tag:web"], ["tcp/443"]),
        (["role:member"], ["self"], ["any"]),
        (["group:sre"], ["any"], ["icmp"]),
        (["group:sre"], ["tag:web"], ["tcp/22", "udp/53"]),
    ]
    assert "# 'ssh' has no counterpart" in text
    assert [each.exits for each in document.approvals] == [False, True]
    assert [str(each.ports) for each in document.expectations] == ["tcp/5432", "tcp/1"]
    assert [each.text for each in document.tag_owners["db"]] == ["group:sre"]


def test_comments_inside_texts_stay() -> None:
    text = from_hujson('{"hosts": {"a": "10.0.0.1"}, "x": "// \\" /* , ] */",}')

    assert 'a" = "10.0.0.1"' in text


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "is not valid HuJSON"),
        ("[]", "is no object"),
        ("[" * 100_000, "is not valid HuJSON"),
        ('{"acls": {"a": 1}}', "'acls' in the policy is no list of objects"),
        ('{"groups": []}', None),
        ('{"groups": 5}', "'groups' in the policy is no object"),
        ('{"acls": [{"action": "deny"}]}', "A rule does not accept"),
        ('{"acls": [{"src": ["*"], "dst": ["*:x"]}]}', "'x' is no port"),
        ('{"acls": [{"src": "*", "dst": ["*:1"]}]}', "'src' in the policy is no list"),
        (
            '{"acls": [{"src": ["autogroup:shared"], "dst": ["*:*"]}]}',
            "'autogroup:shared' has no counterpart",
        ),
        (
            '{"acls": [{"src": ["*"], "dst": ["*:*"], "proto": "gre"}]}',
            "The protocol 'gre' has no counterpart",
        ),
        ('{"postures": {"a": 1}}', "The policy uses 'postures'"),
        ('{"grants": [{"via": ["tag:x"]}]}', "A grant uses 'via'"),
    ],
)
def test_what_has_no_counterpart_is_refused(text: str, error: str | None) -> None:
    if error is None:
        assert from_hujson(text) == "version = 1\n"
        return
    with pytest.raises(ConfigError) as refusal:
        from_hujson(text)
    assert error in str(refusal.value)


@given(st.text(alphabet='{}[]",:/*\\ \nab1', max_size=60))
def test_any_other_text_is_refused_by_a_sentence(text: str) -> None:
    with contextlib.suppress(ConfigError):
        from_hujson(text)
