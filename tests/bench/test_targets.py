"""A target is met by medians, and by every run where nothing may be lost."""

from bench.targets import NEVER, Target, table


def test_the_median_counts_and_one_bad_run_does_not() -> None:
    target = Target("direct", 3.0, "s", [0.4, 0.5, NEVER])

    assert target.is_met
    assert target.to_json()["median"] == 0.5
    assert target.to_json()["worst"] is None


def test_the_worst_group_decides() -> None:
    groups = [[0.1, 0.2, 0.3], [3.5, 3.6, 0.1]]
    target = Target(
        "direct", 3.0, "s", [each for one in groups for each in one], groups
    )

    assert target.median == 3.5
    assert not target.is_met


def test_where_no_loss_is_allowed_every_run_counts() -> None:
    assert Target("lost", 0, "", [0, 0, 0]).is_met
    assert not Target("lost", 0, "", [0, 0, 1]).is_met


def test_what_was_never_measured_is_not_met() -> None:
    assert not Target("lost", 0, "", []).is_met
    assert not Target("direct", 3.0, "s", []).is_met


def test_the_table_has_a_row_for_each() -> None:
    targets = [Target("first", 1.0, "s", [0.1]), Target("lost", 0, "", [2, NEVER])]

    _, first, lost = table(targets).splitlines()

    assert first.split() == [
        "first",
        "<",
        "1",
        "s",
        "0.10",
        "s",
        "0.10",
        "s",
        "1",
        "met",
    ]
    assert lost.split() == ["lost", "0", "never", "never", "2", "MISSED"]
