"""The UAPI socket: where wg(8) finds a userspace interface and configures it.

The socket is opened before the program goes into the background, so that the caller can
use it at once, and served when the event loop runs. Removing its file is how a user, or
wg-quick, may ask the program to end.
"""

import asyncio
import ctypes
import errno
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.runtime import clock
from meshwg.wireguard.uapi import Interface, UapiSession

SOCKET_DIRECTORY = Path("/var/run/wireguard")
"""Where wg(8) looks for ``INTERFACE.sock``."""

# From linux/inotify.h. A bound socket keeps its inode, so that removing its file shows
# as a change of the inode's link count: IN_ATTRIB.
_IN_ATTRIB = 0x4
_IN_DELETE_SELF = 0x400
_IN_MOVE_SELF = 0x800


class UapiSocket:
    """A listening socket and its file, which is removed with it unless it was replaced.

    :ivar path: the file.
    :ivar socket: the socket, listening.
    """

    def __init__(self, listener: socket.socket, path: Path) -> None:
        self.path = path
        self.socket = listener
        self._identity = _identity(path)

    @classmethod
    def open(cls, name: str, directory: Path = SOCKET_DIRECTORY) -> "UapiSocket":
        """Return a new socket for the interface ``name``.

        :raises MeshError: if another process serves the interface, or the file cannot
            be made.
        """
        path = directory / f"{name}.sock"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        umask = os.umask(0o077)
        try:
            _make_directory(directory)
            _listen(listener, path)
        except OSError as error:
            listener.close()
            raise _explained(error, path) from error
        except MeshError:
            listener.close()
            raise
        finally:
            os.umask(umask)
        return cls(listener, path)

    @classmethod
    def adopt(
        cls, descriptor: int, name: str, directory: Path = SOCKET_DIRECTORY
    ) -> "UapiSocket":
        """Return the listening socket that the parent process left open.

        :raises ConfigError: if the descriptor is not a Unix socket.
        """
        try:
            listener = socket.socket(fileno=descriptor)
        except OSError as error:
            raise ConfigError(
                f"Descriptor {descriptor} is not an open socket: unset WG_UAPI_FD"
            ) from error
        if listener.family != socket.AF_UNIX:
            listener.close()
            raise ConfigError(
                f"Descriptor {descriptor} is not a Unix socket: unset WG_UAPI_FD"
            )
        return cls(listener, directory / f"{name}.sock")

    def is_in_place(self) -> bool:
        """Return whether the file is still there and still that of this socket."""
        return self._identity is not None and _identity(self.path) == self._identity

    def close(self) -> None:
        """Close the socket and remove its file, unless it is another's by now."""
        if self.is_in_place():
            self.path.unlink(missing_ok=True)
        self.socket.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what identifies a file, whatever its name."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_directory(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)


def _listen(listener: socket.socket, path: Path) -> None:
    """Listen, if need be after removing what a killed process left behind.

    The file gets its name last: wg(8) removes a socket on which nobody listens yet.
    """
    provisional = path.with_suffix(f".{os.getpid()}")
    provisional.unlink(missing_ok=True)
    listener.bind(str(provisional))
    try:
        listener.listen()
        _clear(path)
        os.link(provisional, path)
    finally:
        provisional.unlink()


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on.

    :raises MeshError: if something else is there.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MeshError(f"{path} is in the way and is not a socket: remove it")
    if _answers(path):
        raise MeshError(
            f"{path} is served by another process: stop it, or choose another name"
        )
    path.unlink(missing_ok=True)


def _answers(path: Path) -> bool:
    """Return whether a process listens on a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        # A listener may be too busy to accept: do not wait for it.
        client.setblocking(False)
        return client.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _explained(error: OSError, path: Path) -> MeshError:
    if isinstance(error, PermissionError):
        return NotPermitted(f"{path} cannot be created: run this as root")
    return MeshError(f"{path} cannot be created: {error.strerror}")


class UapiServer:
    """Serves a socket until it is closed.

    :param after: called when an operation may have changed something, so that the
        device's output is sent and its timer set.
    :param on_removal: called when the socket's file is gone.
    """

    def __init__(
        self,
        uapi_socket: UapiSocket,
        interface: Interface,
        *,
        after: Callable[[], None],
        on_removal: Callable[[], None],
    ) -> None:
        self._socket = uapi_socket
        self._interface = interface
        self._after = after
        self._on_removal = on_removal
        self._connections: set[_Connection] = set()
        self._watch = -1
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Accept clients, and notice if the socket's file is removed.

        :raises MeshError: if the file cannot be watched.
        """
        loop = asyncio.get_running_loop()
        self._watch = _watch(self._socket.path)
        self._server = await loop.create_unix_server(
            lambda: _Connection(self._interface, self._connections, self._after),
            sock=self._socket.socket,
        )
        loop.add_reader(self._watch, self._file_changed)
        # The file may have been removed before it was watched.
        loop.call_soon(self._file_changed)

    def close(self) -> None:
        """Hang up on all clients and remove the socket."""
        self._stop_watching()
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        self._socket.close()

    def _file_changed(self) -> None:
        if self._watch < 0:
            return
        with suppress(BlockingIOError):
            os.read(self._watch, 4096)
        if not self._socket.is_in_place():
            self._stop_watching()
            self._on_removal()

    def _stop_watching(self) -> None:
        if self._watch >= 0:
            asyncio.get_running_loop().remove_reader(self._watch)
            os.close(self._watch)
            self._watch = -1


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(
        self,
        interface: Interface,
        connections: "set[_Connection]",
        after: Callable[[], None],
    ) -> None:
        self._session = UapiSession(interface)
        self._connections = connections
        self._after = after
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        answer = self._session.receive(data, clock.now())
        if answer:
            self._transport.write(answer)
            self._after()
        if self._session.finished:
            self._transport.close()

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read its answers."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _watch(path: Path) -> int:
    """Return an inotify descriptor that becomes readable when a file is removed.

    :raises MeshError: if the system has none left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise MeshError(
            f"{path} cannot be watched ({os.strerror(ctypes.get_errno())}): "
            "raise the sysctl fs.inotify.max_user_instances, or the limit of open files"
        )
    mask = _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
    # A file that is gone already is found by the caller's own look.
    libc.inotify_add_watch(descriptor, os.fsencode(path), mask)
    return descriptor
