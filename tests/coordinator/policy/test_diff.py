"""What a new policy changes is found, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from coordinator.policy.diff import differences, names_label, union
from meshwg.policy.ports import TCP, UDP, Ports
from tests.coordinator.policy.policies import EXAMPLE, NODES, load


def said(before: str | None, after: str) -> list[tuple[str, str, str, str]]:
    old = None if before is None else load(before)
    return [
        (
            ", ".join(each.sources),
            ", ".join(each.destinations),
            ", ".join(map(str, each.gained)),
            ", ".join(map(str, each.lost)),
        )
        for each in differences(old, load(after), NODES.values())
    ]


def rule(source: str, destination: str, ports: str) -> str:
    return (
        f'[[allow]]\nfrom = ["{source}"]\nto = ["{destination}"]\nports = [{ports}]\n'
    )


def test_the_same_policy_changes_nothing() -> None:
    assert said(EXAMPLE, EXAMPLE) == []


def test_gains_and_losses_are_named_by_ports() -> None:
    before = rule("tag:web", "tag:db", '"tcp/1-100", "udp/53"')
    after = rule("tag:web", "tag:db", '"tcp/50-200", "icmp"')

    assert said(before, after) == [
        ("web-1", "db-1", "icmp, tcp/101-200", "tcp/1-49, udp/53")
    ]


def test_nodes_that_are_alike_are_named_together() -> None:
    after = rule("role:member", "tag:db", '"tcp/22"')

    assert said("", after) == [
        ("laptop-alice, phone-alice", "db-1", "tcp/22", ""),
        ("laptop-bob", "db-1", "tcp/22", ""),
    ]
    assert names_label(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_a_first_policy_takes_from_all() -> None:
    lost = said(None, rule("any", "tag:db", '"tcp/22"'))

    assert ("guest, router, web-1", "db-1", "", "any") in lost
    assert ("db-1", "guest, router, web-1", "", "any") in lost


def test_nodes_of_one_kind_are_compared_among_themselves() -> None:
    assert said("", rule("alice@example.org", "self", '"tcp/22"')) == [
        ("laptop-alice, phone-alice", "laptop-alice, phone-alice", "tcp/22", "")
    ]


@given(
    st.lists(
        st.tuples(
            st.sampled_from((TCP, UDP)), st.integers(0, 30), st.integers(0, 30)
        ).map(lambda each: Ports(each[0], min(each[1:]), max(each[1:])))
    )
)
def test_a_union_covers_the_same_and_overlaps_nowhere(ports: list[Ports]) -> None:
    merged = union(ports)

    for protocol in (TCP, UDP):
        for port in range(32):
            covering = [each for each in merged if each.covers(protocol, port)]
            assert len(covering) == any(each.covers(protocol, port) for each in ports)
