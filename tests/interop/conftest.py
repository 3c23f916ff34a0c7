"""The data path that programs of ours use: the one that the environment asks for, or
each where a test is marked :data:`tests.datapaths.over_each`."""

from collections.abc import Iterator

import pytest

from meshwg.runtime.core import VARIABLE


@pytest.fixture(autouse=True)
def data_path(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have programs that are started meanwhile use a data path."""
    name: str | None = getattr(request, "param", None)
    # The test's own monkeypatch would be undone after its lab.
    with pytest.MonkeyPatch.context() as patch:
        if name is not None:
            patch.setenv(VARIABLE, name)
        yield
