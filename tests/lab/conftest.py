"""Fixtures of the lab's own tests."""

import pytest

from netlab.results import Report
from tests.lab.reports import make_report


@pytest.fixture
def report() -> Report:
    """A report in which everything is as expected."""
    return make_report()
