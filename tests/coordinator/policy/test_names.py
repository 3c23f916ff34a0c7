"""Names in a policy are somebody's, and groups do not contain themselves."""

import pytest

from coordinator.policy.document import PolicyError, parse_policy
from coordinator.policy.names import MAX_DEPTH, check_names, resolve_groups
from tests.coordinator.policy.policies import ALICE, BOB, EXAMPLE, INVENTORY


def test_groups_have_the_users_of_those_they_contain() -> None:
    groups = resolve_groups(parse_policy(EXAMPLE), INVENTORY)

    assert groups["sre"] == {ALICE, BOB}
    assert groups["idp-oncall"] == {BOB}


def test_a_group_of_the_file_stands_before_that_of_the_provider() -> None:
    document = parse_policy('[groups]\nidp-oncall = ["alice@example.org"]')

    assert resolve_groups(document, INVENTORY)["idp-oncall"] == {ALICE}


def rule(source: str = "any", destination: str = "any") -> str:
    return f'[[allow]]\nfrom = ["{source}"]\nto = ["role:hub",\n"{destination}"]\n'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (rule("carol"), "Line 2 of the policy: there is no user or host 'carol'"),
        (rule("group:x"), "Line 2 of the policy: there is no group 'x'"),
        (
            rule("any", "tag:x"),
            "Line 4 of the policy: no node and no token has the tag",
        ),
        (rule("any", "node:x"), "Line 4 of the policy: there is no node 'x'"),
        (
            rule("any", "100.64.1.0/24"),
            "Line 4 of the policy: '100.64.1.0/24' has addr",
        ),
        ('[hosts]\ndb = "100.64.0.5"', "Line 2 of the policy: 'db' has addresses of"),
        ('[groups]\na = ["carol"]', "Line 2 of the policy: there is no user or host"),
        ('[groups]\na = ["group:b"]', "Line 2 of the policy: there is no group 'b'"),
        (
            '[groups]\na = ["group:b"]\nb = ["group:a"]',
            "Line 3 of the policy: group:a contains itself",
        ),
        ('[groups]\na = ["group:a"]', "Line 2 of the policy: group:a contains itself"),
        ('[tag-owners]\ndb = ["carol"]', "Line 2 of the policy: there is no user"),
        (
            '[[approve]]\nexits = true\nby = ["tag:x"]',
            "Line 3 of the policy: no node and no token",
        ),
        (
            '[[test]]\nfrom = "any"\ndeny = ["tag:x"]',
            "Line 3 of the policy: no node and no token",
        ),
    ],
)
def test_a_name_of_nobody_is_refused_with_its_line(text: str, error: str) -> None:
    with pytest.raises(PolicyError) as refusal:
        check_names(parse_policy(text), INVENTORY)

    assert str(refusal.value).startswith(error)


def test_a_tag_is_known_if_it_has_owners() -> None:
    text = '[tag-owners]\nnew = ["alice@example.org"]\n' + rule("tag:new")

    check_names(parse_policy(text), INVENTORY)


def test_groups_that_contain_each_other_many_times_cost_little() -> None:
    # 2^30 ways lead from the first to the last.
    lines = [
        f'{name}{depth} = ["group:a{depth + 1}", "group:b{depth + 1}"]'
        for depth in range(30)
        for name in "ab"
    ]
    text = "\n".join(["[groups]", *lines, f'a30 = ["{ALICE}"]', "b30 = []"])

    assert resolve_groups(parse_policy(text), INVENTORY)["a0"] == {ALICE}


def test_groups_are_not_nested_too_deeply() -> None:
    deep = range(2 * MAX_DEPTH)
    lines = [f'a{depth} = ["group:a{depth + 1}"]' for depth in deep]
    text = "\n".join(["[groups]", *lines, f"a{2 * MAX_DEPTH} = []"])

    with pytest.raises(PolicyError, match="nested more than"):
        resolve_groups(parse_policy(text), INVENTORY)
