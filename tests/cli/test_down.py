"""``meshwg down``: it returns when the daemon is gone."""

from pathlib import Path

import pytest

from meshwg.cli.group import run
from tests.cli.daemon import FakeDaemon, serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "meshwg.sock"


def test_down_returns_when_the_daemon_is_gone(path: Path) -> None:
    daemon = FakeDaemon()
    with serving(daemon, path):
        with pytest.raises(SystemExit) as ended:
            run(["down", "--control-socket", str(path)])

        assert ended.value.code == 0
        assert daemon.stopped.is_set()
        assert not path.exists()
