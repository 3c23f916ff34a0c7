"""Every test of a whole engine runs over each data path, the fast path included."""

import pytest

from tests import datapaths
from tests.wireguard.pair import Pair

WAYS = ["in-batches", "fast-path"] + [
    each for each in datapaths.MAKERS if each == "core"
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Repeat the tests of files that have engines, and choose for themselves."""
    chooses = hasattr(metafunc.module, "way")
    if hasattr(metafunc.module, "Pair") and not chooses:
        metafunc.parametrize("way", WAYS, indirect=True)


@pytest.fixture(autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the data path, and the way of packets that come alone."""
    name = getattr(request, "param", "in-batches")
    monkeypatch.setattr(Pair, "fast_path", name == "fast-path")
    datapaths.use("core" if name == "core" else "python", monkeypatch)
