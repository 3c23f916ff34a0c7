"""Commands that talk to a daemon, and what they say when that fails."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshwg.cli.client import DaemonClient
from meshwg.cli.group import run
from meshwg.errors import DaemonNotRunning, MeshError, NotJoined, NotPermitted
from tests.cli.daemon import FakeDaemon, serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "meshwg.sock"


def test_an_answer_is_an_object(path: Path) -> None:
    daemon = FakeDaemon()
    daemon.report = {"schema": 1}
    with serving(daemon, path):
        assert DaemonClient(str(path)).get("/v1/status") == {"schema": 1}


@pytest.mark.parametrize("kind", [MeshError, NotJoined, NotPermitted])
def test_what_the_daemon_refuses_is_raised_as_it_was(
    path: Path, kind: type[MeshError]
) -> None:
    daemon = FakeDaemon()
    daemon.refusal = kind("One sentence")
    with serving(daemon, path), pytest.raises(kind, match="One sentence") as caught:
        DaemonClient(str(path)).get("/v1/status")

    assert type(caught.value) is kind


def test_an_unknown_request_is_an_error(path: Path) -> None:
    with serving(FakeDaemon(), path), pytest.raises(MeshError):
        DaemonClient(str(path)).get("/v1/nothing")


def test_a_stream_ends_with_the_error_in_it(path: Path) -> None:
    daemon = FakeDaemon()
    daemon.answers = [{"sequence": 1}, NotJoined("Lost it")]
    with serving(daemon, path):
        stream = DaemonClient(str(path)).stream("/v1/ping", {})
        assert next(stream) == {"sequence": 1}
        with pytest.raises(NotJoined, match="Lost it"):
            next(stream)


@pytest.mark.parametrize("left_behind", [False, True])
def test_a_missing_daemon_is_named_with_the_remedy(
    path: Path, left_behind: bool
) -> None:
    path.parent.mkdir()
    if left_behind:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))

    with pytest.raises(DaemonNotRunning, match="start one with 'meshwg node'"):
        DaemonClient(str(path)).get("/v1/status")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_whatever_else_answers_there_is_named(path: Path, answer: bytes) -> None:
    with answering(path, answer), pytest.raises(MeshError) as caught:
        DaemonClient(str(path)).get("/v1/status")

    assert str(path) in str(caught.value) or "The daemon says 500" in str(caught.value)


def test_a_daemon_that_hangs_is_not_waited_for_forever(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(MeshError, match="does not answer"):
            DaemonClient(str(path), timeout=0.05).get("/v1/status")


def test_a_command_ends_with_the_status_of_its_error(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(["status", "--control-socket", str(path)])

    assert ended.value.code == 3
    error = capsys.readouterr().err
    assert error.startswith(f"meshwg: No meshwg daemon listens at {path}")
    assert error.count("\n") == 1


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Answer one connection with these bytes, whatever it asks."""
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer_once() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=answer_once)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        listener.close()
