"""A Unix socket for the administration, which knows its users from the kernel.

Only the coordinator's own user, and root, may connect. Whoever does needs no token. A
proxy must not stand before it: whatever came through that would be let in, which is why
a request that names a client of a proxy is treated as any other.
"""

import os
import pwd
import socket
import stat
import struct
from pathlib import Path

from aiohttp import web

from meshwg.errors import MeshError, NotPermitted

BACKLOG = 64
_CREDENTIALS = struct.Struct("=iII")
_FORWARDED = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


def listen_at(path: Path) -> socket.socket:
    """Return a listening socket that only its owner and root may use.

    :raises MeshError: if another program listens there, or it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _clear(path)
        mask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
    except PermissionError:
        listener.close()
        raise NotPermitted(
            f"The socket {path} cannot be made by this user: choose another "
            "--admin-socket"
        ) from None
    except OSError as error:
        listener.close()
        raise MeshError(
            f"The socket {path} cannot be made ({error.strerror or error}): choose "
            "another --admin-socket"
        ) from None
    except MeshError:
        listener.close()
        raise
    return listener


def user_behind(request: web.Request) -> str | None:
    """Return the user who asks through the socket, ``None`` for other ways."""
    transport = request.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    if any(name in request.headers for name in _FORWARDED):
        return None
    option = socket.SO_PEERCRED
    _, number, _ = _CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    )
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        # The system has no name for this user.
        name = str(number)
    return f"{name}@{socket.gethostname()}"[:255]


def _clear(path: Path) -> None:
    """Remove the socket of a program that has ended.

    :raises MeshError: if it has not, or if something else is there.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise MeshError(f"{path} is no socket: choose another --admin-socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise MeshError(
        f"Another program listens at {path}: stop it, or choose another --admin-socket"
    )
