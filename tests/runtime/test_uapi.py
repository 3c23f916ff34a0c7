"""The UAPI socket: its file, its clients, and what happens when the file goes."""

import asyncio
import os
import resource
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.runtime.uapi import UapiServer, UapiSocket
from meshwg.wireguard.device import Device


def test_the_socket_is_for_its_owner_in_a_directory_for_all(tmp_path: Path) -> None:
    with opened(tmp_path / "run" / "wireguard") as uapi_socket:
        assert mode(uapi_socket.path) == 0o700
        assert mode(uapi_socket.path.parent) == 0o755
    assert current_umask() == 0o022


def test_closing_removes_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as uapi_socket:
        assert uapi_socket.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_the_file_appears_only_when_the_socket_is_listening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For wg(8), which looks at every file there, removes what refuses it."""
    found: list[bool] = []
    listen = socket.socket.listen

    def look_and_listen(listener: socket.socket) -> None:
        found.extend(path.suffix == ".sock" for path in tmp_path.iterdir())
        listen(listener)

    monkeypatch.setattr(socket.socket, "listen", look_and_listen)
    with opened(tmp_path) as uapi_socket:
        assert found == [False]
        assert list(tmp_path.iterdir()) == [uapi_socket.path]


def test_what_a_killed_process_left_behind_is_replaced(tmp_path: Path) -> None:
    leave_stale_socket(tmp_path / "wg0.sock")
    with opened(tmp_path) as uapi_socket:
        assert can_connect(uapi_socket.path)


def test_a_socket_that_answers_is_left_to_its_process(tmp_path: Path) -> None:
    with opened(tmp_path) as uapi_socket:
        with pytest.raises(MeshError, match="served by another process: stop it"):
            UapiSocket.open("wg0", tmp_path)
        assert can_connect(uapi_socket.path)


def test_a_process_too_busy_to_accept_still_answers(tmp_path: Path) -> None:
    with opened(tmp_path) as uapi_socket:
        uapi_socket.socket.listen(0)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(str(uapi_socket.path))
        with pytest.raises(MeshError, match="served by another process"):
            UapiSocket.open("wg0", tmp_path)
        for client in clients:
            client.close()


def test_a_file_that_is_not_a_socket_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "wg0.sock").write_text("precious")
    with pytest.raises(MeshError, match="is not a socket: remove it"):
        UapiSocket.open("wg0", tmp_path)
    assert (tmp_path / "wg0.sock").read_text() == "precious"


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        MeshError, match=r"wg0\.sock cannot be created: Not a directory"
    ):
        UapiSocket.open("wg0", tmp_path / "file" / "wireguard")


def test_missing_privileges_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(NotPermitted, match="run this as root"):
        UapiSocket.open("wg0", tmp_path / "wireguard")


def test_closing_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    with opened(tmp_path) as uapi_socket:
        uapi_socket.path.unlink()
        successor = UapiSocket.open("wg0", tmp_path)
        assert not uapi_socket.is_in_place()
    assert can_connect(successor.path)
    successor.close()


def test_an_open_socket_can_be_adopted_by_its_descriptor(tmp_path: Path) -> None:
    with opened(tmp_path) as uapi_socket:
        descriptor = os.dup(uapi_socket.socket.fileno())
        adopted = UapiSocket.adopt(descriptor, "wg0", tmp_path)
        assert adopted.path == uapi_socket.path
        assert adopted.is_in_place()
        adopted.socket.close()


def test_a_descriptor_that_is_no_unix_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Descriptor 9999 is not an open socket"):
        UapiSocket.adopt(9999, "wg0", tmp_path)
    with (
        socket.socket() as tcp,
        pytest.raises(ConfigError, match="is not a Unix socket"),
    ):
        UapiSocket.adopt(os.dup(tcp.fileno()), "wg0", tmp_path)


async def test_a_client_gets_and_sets_on_one_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"set=1\nlisten_port=51820\n\nget=1\n\n")
        answer = await reader.readexactly(len(b"errno=0\n\n" * 2) + 18)
        assert answer == b"errno=0\n\nlisten_port=51820\nerrno=0\n\n"
        writer.close()


async def test_output_is_drained_after_every_operation(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        for count in (1, 2):
            writer.write(b"get=1\n\n")
            await reader.readuntil(b"\n\n")
            assert server.operations == count
        writer.close()


async def test_clients_that_speak_simultaneously_do_not_disturb_each_other(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server:
        slow_reader, slow = await asyncio.open_unix_connection(server.path)
        slow.write(b"set=1\nfwmark=1\n")
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"get=1\n\n")
        assert await reader.readuntil(b"\n\n") == b"errno=0\n\n"
        slow.write(b"\n")
        assert await slow_reader.readuntil(b"\n\n") == b"errno=0\n\n"
        assert server.interface.fwmark == 1
        slow.close()
        writer.close()


async def test_a_client_that_breaks_the_protocol_is_hung_up_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"GET / HTTP/1.1\n\n")
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_reads_late_gets_everything(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        peers = "".join(f"public_key={n:064x}\n" for n in range(1, 2001))
        request = f"set=1\n{peers}\n" + "get=1\n\n" * 20
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(request.encode())
        await wait(server.operated)
        writer.write_eof()
        answer = await reader.read()
        assert answer.count(b"public_key=") == 2000 * 20
        assert answer.count(b"errno=0\n\n") == 21
        writer.close()


async def test_removal_of_the_file_is_noticed_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.path.unlink()
        await wait(server.removed)
        (tmp_path / "wg0.sock").write_text("")
        (tmp_path / "wg0.sock").unlink()
        await asyncio.sleep(0)
        assert server.removals == 1


async def test_a_file_moved_away_counts_as_removed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.path.rename(tmp_path / "elsewhere")
        await wait(server.removed)


async def test_removal_before_the_server_runs_is_noticed_too(tmp_path: Path) -> None:
    async with serving(tmp_path, removed_early=True) as server:
        await wait(server.removed)


async def test_a_change_of_mode_is_not_a_removal(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.path.chmod(0o770)
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"get=1\n\n")
        await reader.readuntil(b"\n\n")
        assert server.removals == 0
        writer.close()


async def test_a_file_that_cannot_be_watched_is_one_sentence(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        with opened(tmp_path, "wg1") as uapi_socket:
            unwatched = UapiServer(
                uapi_socket,
                server.interface,
                after=server.after,
                on_removal=server.on_removal,
            )
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
            try:
                with pytest.raises(MeshError, match=r"Too many open files\): raise"):
                    await unwatched.start()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            unwatched.close()


async def test_closing_hangs_up_and_removes_the_file(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"get=1\n\n")
        await reader.readuntil(b"\n\n")
    assert await reader.read() == b""
    assert not can_connect(server.path)
    assert os.listdir(tmp_path) == []
    assert server.removals == 0
    writer.close()


class Serving:
    """A server, with a note of what it called back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.interface = FakeInterface()
        self.operations = 0
        self.operated = asyncio.Event()
        self.removals = 0
        self.removed = asyncio.Event()

    def after(self) -> None:
        self.operations += 1
        self.operated.set()

    def on_removal(self) -> None:
        self.removals += 1
        self.removed.set()


class FakeInterface:
    """An interface without sockets."""

    def __init__(self) -> None:
        self.device = Device(random=bytes, unix_time=lambda now: now)
        self.listen_port = 0
        self.fwmark = 0

    def index_of(self, name: str) -> int | None:
        return None

    def rebind(self, port: int) -> None:
        self.listen_port = port

    def set_fwmark(self, mark: int) -> None:
        self.fwmark = mark


@asynccontextmanager
async def serving(
    directory: Path, *, removed_early: bool = False
) -> AsyncIterator[Serving]:
    uapi_socket = UapiSocket.open("wg0", directory)
    if removed_early:
        uapi_socket.path.unlink()
    state = Serving(uapi_socket.path)
    server = UapiServer(
        uapi_socket, state.interface, after=state.after, on_removal=state.on_removal
    )
    await server.start()
    try:
        yield state
    finally:
        server.close()
        # Connections are torn down, and transports closed, in the loop's next turns.
        await asyncio.sleep(0)


@contextmanager
def opened(directory: Path, name: str = "wg0") -> Iterator[UapiSocket]:
    uapi_socket = UapiSocket.open(name, directory)
    try:
        yield uapi_socket
    finally:
        uapi_socket.close()


async def wait(event: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await event.wait()


def leave_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def can_connect(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def current_umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask
