"""What checks say about the tunnel's messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwg.path.report import DeliveryReport
from meshwg.path.tally import Amount

reports = st.builds(
    DeliveryReport,
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
)


@given(reports)
def test_a_report_is_read_as_it_was_written(report: DeliveryReport) -> None:
    assert DeliveryReport.parse(report.pack()) == report


def test_counts_are_told_modulo_their_size() -> None:
    received = Amount(initiations=257, responses=256, batches=9, data=2**32 + 5)
    report = DeliveryReport.of(received, refuses=True, is_strange=False)
    assert report == DeliveryReport(1, 0, 5, refuses=True)


def test_a_later_version_may_say_more() -> None:
    report = DeliveryReport(1, 2, 3)
    assert DeliveryReport.parse(report.pack() + b"more") == report


@pytest.mark.parametrize("value", [None, b"", bytes(7)])
def test_what_is_too_short_says_nothing(value: bytes | None) -> None:
    assert DeliveryReport.parse(value) is None


@given(st.binary(max_size=32))
def test_whatever_arrives_is_a_report_or_none(value: bytes) -> None:
    report = DeliveryReport.parse(value)
    assert (report is None) == (len(value) < 8)
