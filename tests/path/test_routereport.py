"""What a router's checks say of the networks behind it."""

import pytest

from meshwg.path.routereport import MAX_DEAD, RouteReport, tag_of

SITE, OTHER = "10.1.0.0/16", "fd12::/48"


def test_it_says_which_networks_are_dead() -> None:
    report = RouteReport.of(1.7e9, [SITE], leaves=False)
    assert RouteReport.parse(report.pack()) == report
    assert not report.reaches(SITE)
    assert report.reaches(OTHER)


def test_who_leaves_reaches_nothing() -> None:
    report = RouteReport.parse(RouteReport.of(1.7e9, [], leaves=True).pack())
    assert report is not None
    assert report.leaves
    assert not report.reaches(OTHER)


def test_a_later_report_is_known_by_its_number_also_when_that_begins_again() -> None:
    first = RouteReport.of(1.7e9, [], leaves=False)
    second = RouteReport.of(1.7e9 + 0.001, [], leaves=False)
    assert first.is_older(second)
    assert not second.is_older(first)
    assert not first.is_older(first)
    assert RouteReport((1 << 32) - 1).is_older(RouteReport(0))


@pytest.mark.parametrize("value", [None, b"", bytes(5)])
def test_what_is_too_short_is_no_report(value: bytes | None) -> None:
    assert RouteReport.parse(value) is None


def test_what_is_too_long_or_ragged_is_read_as_far_as_it_is_whole() -> None:
    head = RouteReport(7).pack()
    ragged = RouteReport.parse(head + tag_of(SITE) + b"xyz")
    assert ragged is not None
    assert ragged.dead == (tag_of(SITE),)
    many = RouteReport.parse(head + bytes(4 * MAX_DEAD + 400))
    assert many is not None
    assert len(many.dead) == MAX_DEAD


def test_what_a_later_version_adds_to_the_flags_is_left_alone() -> None:
    report = RouteReport.parse(bytes([0, 0, 0, 1, 0xFE, 0xFF]))
    assert report == RouteReport(1)
