"""The plain file ``/etc/resolv.conf``, where nothing else decides.

The file is replaced as a whole. Before that, a note goes to the state directory: what
the new file's hash is, and what stood there if it was a link. A node that is killed
leaves a file in which the servers that were there follow behind its own, at which
nobody answers any more: programs ask the next one at once. Its next start, or
``meshwg cleanup``, puts back what was there, also after a power cut or on another
machine; but only if the file still is what the node has written.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import socket
from pathlib import Path
from typing import Any

from meshwg.dns import resolvconf
from meshwg.errors import MeshError
from meshwg.runtime.dns.integration import Registration
from meshwg.runtime.state import StateDirectory

RESOLV_CONF = Path("/etc/resolv.conf")
MODE = "file"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_ENCODING, _ERRORS = "utf-8", "surrogateescape"
_ONLY_THE_FILE = {errno.EBUSY, errno.EROFS, errno.EACCES, errno.EPERM, errno.EXDEV}
"""What a directory says in which nothing can be put, though a file there is writable.
"""

Stamp = tuple[int, ...] | None

logger = logging.getLogger(__name__)


class ResolverFile:
    """The file, with the mesh's name server in it or not.

    :param state: where the note is kept.
    """

    mode = MODE
    forwards = True
    is_lost = False

    def __init__(self, state: StateDirectory, path: Path = RESOLV_CONF) -> None:
        self._state = state
        self._path = path
        self._link: str | None = None
        """What the file was a link to."""
        self._was_missing = False
        self._stamps: tuple[Stamp, Stamp] = (None, None)

    async def apply(self, wanted: Registration) -> tuple[str, ...]:
        """See :class:`~meshwg.runtime.dns.integration.Integration`."""
        return await asyncio.to_thread(self._apply, wanted)

    async def has_changed(self) -> bool:
        """Tell whether somebody else has written the file, or what it was a link to."""
        return self._look() != self._stamps

    async def undo(self) -> None:
        """Put back what was there, if the file still is what was written."""
        await asyncio.to_thread(recover, self._state, self._path)

    def _apply(self, wanted: Registration) -> tuple[str, ...]:
        text = read(self._path)
        original = self._original(text, wanted)
        new = resolvconf.with_server(
            original, wanted.host, wanted.domain, _host_domain()
        )
        if new != text:
            note = {
                "mode": MODE,
                "path": str(self._path),
                "boot": boot_id(),
                "sha256": _hash(new),
                "link": self._link,
                "missing": self._was_missing,
            }
            self._state.save_dns(note)
            write(self._path, new)
        self._stamps = self._look()
        servers = resolvconf.read(original).servers
        return servers or (resolvconf.DEFAULT_SERVER,)

    def _original(self, text: str | None, wanted: Registration) -> str:
        """Return what the file says without the mesh."""
        if text is None:
            self._link, self._was_missing = _link(self._path), True
            return ""
        is_own = resolvconf.read(text).servers[:1] == (wanted.host,)
        if not is_own or not resolvconf.is_ours(text):
            self._link, self._was_missing = _link(self._path), False
            return text
        if self._link is not None:
            # Whoever has made the link goes on writing there.
            target = read(self._path.parent / self._link)
            if target is not None:
                return target
        return resolvconf.without_server(text)

    def _look(self) -> tuple[Stamp, Stamp]:
        target = None
        if self._link is not None:
            target = _stamp(self._path.parent / self._link)
        return _stamp(self._path), target


def recover(state: StateDirectory, path: Path = RESOLV_CONF) -> bool:
    """Put back what a node has found, if the file still is what it has written.

    :returns: whether there was something to put back.
    """
    note = state.dns()
    if note is not None and note.get("mode") == MODE:
        undone = _restore(note, Path(str(note.get("path") or path)))
        state.save_dns(None)
        return undone
    return _remove_stray(path)


def _restore(note: dict[str, Any], path: Path) -> bool:
    text = read(path)
    if text is None or _hash(text) != note.get("sha256"):
        # It is somebody else's by now, and right: perhaps of another network.
        return False
    link = note.get("link")
    try:
        if isinstance(link, str):
            _replace_by_link(path, link)
        elif note.get("missing") is True:
            path.unlink()
        else:
            write(path, resolvconf.without_server(text))
    except (OSError, MeshError) as error:
        logger.warning("%s cannot be put back: %s", path, error)
        return False
    if note.get("boot") != boot_id():
        logger.info("%s is as it was before the machine was last started", path)
    return True


def _remove_stray(path: Path) -> bool:
    """Take a node's server out of a file that nobody has a note of, if it is dead."""
    text = read(path)
    if text is None or not resolvconf.is_ours(text):
        return False
    server = resolvconf.read(text).servers[:1]
    if server and _is_served(server[0]):
        return False
    try:
        write(path, resolvconf.without_server(text))
    except MeshError as error:
        logger.warning("%s", error)
        return False
    return True


def read(path: Path) -> str | None:
    """Return what a file says, ``None`` if it cannot be read."""
    try:
        with path.open(encoding=_ENCODING, errors=_ERRORS) as file:
            return file.read(resolvconf.MAX_TEXT)
    except OSError:
        return None


def write(path: Path, text: str) -> None:
    """Replace a file.

    :raises MeshError: if that is not possible; the old one is there then.
    """
    data = text.encode(_ENCODING, _ERRORS)
    new = path.with_name(f".{path.name}.meshwg")
    try:
        try:
            _write_new(new, data)
            new.replace(path)
        except OSError as error:
            # A file that was mounted there by itself, as in containers.
            if error.errno not in _ONLY_THE_FILE or path.is_symlink():
                raise
            with path.open("r+b") as file:
                file.write(data)
                file.truncate()
    except OSError as error:
        raise MeshError(f"{path} cannot be written ({error.strerror})") from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def boot_id() -> str:
    """Return what identifies this boot of the machine."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return ""


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _replace_by_link(path: Path, link: str) -> None:
    new = path.with_name(f".{path.name}.meshwg")
    new.unlink(missing_ok=True)
    new.symlink_to(link)
    new.replace(path)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(_ENCODING, _ERRORS)).hexdigest()


def _link(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _stamp(path: Path) -> Stamp:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _host_domain() -> str:
    """Return the domain in this machine's name, which is searched by default."""
    return socket.gethostname().partition(".")[2]


def _is_served(host: str) -> bool:
    """Tell whether somebody has taken the name server's port at an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 53))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
