"""Fixtures for every test, above all ``lab``: an internet in network namespaces.

A test that is marked ``netns`` or ``lab`` needs root; without, it is skipped and the
summary says so.

With MESHWG_DATAPATH=core in the environment, all engines run over the compiled core.
"""

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from netlab.lab import Lab
from tests import datapaths

# No test asserts a duration: a busy machine is not a bug.
settings.register_profile("meshwg", deadline=None)
settings.load_profile("meshwg")

FAILED = pytest.StashKey[bool]()


@pytest.fixture(autouse=True)
def datapath() -> Iterator[None]:
    """Make devices over the data path that the environment asks for."""
    # The test's own monkeypatch would be undone after its lab, which needs the PATH.
    with pytest.MonkeyPatch.context() as patch:
        datapaths.use(datapaths.chosen(), patch)
        yield


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An empty lab of this test's own; its logs and captures stay if the test fails."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with Lab(title=request.node.name) as lab:
        yield lab
        lab.keep_files = request.node.stash.get(FAILED, False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process waits in the end."""
    slow = {item.path for item in items if item.get_closest_marker("netns")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    marked = any(item.get_closest_marker(name) for name in ("netns", "lab"))
    if marked and os.geteuid() != 0:
        pytest.skip("network namespaces need root")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables that tests recorded: ``record_property("table", text)``."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name == "table":
                        terminalreporter.ensure_newline()
                        terminalreporter.write_line(str(value))
