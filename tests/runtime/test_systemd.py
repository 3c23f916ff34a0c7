"""The service manager is notified, if there is one, and never gets in the way."""

import socket
from pathlib import Path

import pytest

from meshwg.runtime.systemd import notify


def test_the_service_manager_gets_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)

        notify("READY=1", "STATUS=Running")

        assert manager.recv(99) == b"READY=1\nSTATUS=Running"


def test_an_abstract_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(b"")
        name = manager.getsockname()[1:].decode()
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

        notify("STOPPING=1")

        assert manager.recv(99) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify", "@nobody"])
def test_a_missing_service_manager_is_not_an_error(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify("READY=1")
