"""Every test of an engine runs twice: its lone packets may take the fast path."""

import pytest

from tests.wireguard.pair import Pair


@pytest.fixture(autouse=True, params=[False, True], ids=["in-batches", "fast-path"])
def fast_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the way of packets that come alone."""
    monkeypatch.setattr(Pair, "fast_path", request.param)
