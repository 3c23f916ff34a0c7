"""The data directory: the coordinator's key, its secrets, and who may use them."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from coordinator.relaysecrets import parse_secrets
from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.keys import PrivateKey, format_key, parse_key
from meshwg.transmit import Random

KEY_FILE = "coordinator.key"
FORMER_KEY_FILE = "coordinator.key.old"
ADMIN_TOKEN_FILE = "admin.token"
RELAY_SECRET_FILE = "turn.secret"
DATABASE_FILE = "coordinator.db"
SECRET_FILES = (KEY_FILE, FORMER_KEY_FILE, ADMIN_TOKEN_FILE, RELAY_SECRET_FILE)
LOCK_FILE = "lock"
BEGINNING_FILE = "beginning"
"""There from before the key is made until the database holds a mesh: a key without it
belongs to a mesh that nodes are in."""


class DataDirectory:
    """The files of one coordinator, readable by their owner only."""

    def __init__(self, path: Path, random: Random) -> None:
        self.path = path
        self._random = random

    @property
    def exists(self) -> bool:
        """Whether a coordinator has been started here."""
        with _plain_errors(self.path):
            return (self.path / KEY_FILE).exists()

    @property
    def default_database(self) -> str:
        return f"sqlite:///{self.path.absolute() / DATABASE_FILE}"

    def create(self) -> None:
        """Make the directory, 0700, if it is not there."""
        with _plain_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def begin(self) -> bool:
        """Make the key if there is none; return whether it may begin a mesh.

        It may if no node can know it yet.

        :raises MeshError: if it cannot be made.
        """
        path = self.path / BEGINNING_FILE
        with _plain_errors(self.path):
            if not (self.path / KEY_FILE).exists():
                path.touch(mode=0o600)
                self._make_key_or_remove(path)
            return path.exists()

    def _make_key_or_remove(self, beginning: Path) -> None:
        try:
            self.private_key()
        except MeshError:
            beginning.unlink()
            raise

    def begun(self) -> None:
        """The database holds the mesh of this directory's key."""
        with _plain_errors(self.path):
            (self.path / BEGINNING_FILE).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other coordinators out as long as this one runs.

        :raises MeshError: if one runs already.
        """
        with _plain_errors(self.path):
            descriptor = os.open(
                self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise MeshError(
                f"Another coordinator uses the data directory {self.path}; stop "
                "it, or choose another --data-dir"
            ) from None
        finally:
            os.close(descriptor)

    def private_key(self) -> PrivateKey:
        """Return the coordinator's key, made at first start.

        :raises ConfigError: if the file is damaged.
        """
        path = self.path / KEY_FILE
        return _parsed(path, self._read_or_create(path, self._new_key))

    def former_key(self) -> PrivateKey | None:
        """Return the key before, if it is still served.

        :raises ConfigError: if the file is damaged.
        """
        path = self.path / FORMER_KEY_FILE
        with _plain_errors(path):
            try:
                text = path.read_text()
            except FileNotFoundError:
                return None
        key = _parsed(path, text)
        # A rotation that was cut short has left the same key in both files.
        return None if key == self.private_key() else key

    def rotate_key(self) -> PrivateKey:
        """Make a new key, and keep the one that there was beside it; return the new.

        :raises MeshError: if an older one is still served.
        """
        if self.former_key() is not None:
            raise MeshError(
                "The key before is still served: 'meshwg-coordinator key retire' ends "
                "that, and lets this one be replaced"
            )
        old, new = self.private_key(), self._new_key()
        self.replace({FORMER_KEY_FILE: format_key(old.private_bytes) + "\n"})
        self.replace({KEY_FILE: new + "\n"})
        self.give_to_owner()
        return self.private_key()

    def retire_key(self) -> bool:
        """Forget the key before; return whether there was one."""
        path = self.path / FORMER_KEY_FILE
        with _plain_errors(path):
            was_there = path.exists()
            path.unlink(missing_ok=True)
        return was_there

    def stamp_of_keys(self) -> tuple[int, ...]:
        """Return what changes whenever a file of keys does."""
        stamps = []
        for name in (KEY_FILE, FORMER_KEY_FILE):
            try:
                found = (self.path / name).stat()
                stamps += [found.st_ctime_ns, found.st_ino]
            except OSError:
                stamps.append(0)
        return tuple(stamps)

    def admin_token(self) -> str:
        """Return the bearer token of the administration, made at first start."""
        return self._secret(ADMIN_TOKEN_FILE)

    def relay_secret(self) -> bytes:
        """Return the secret shared with relays, made at first use."""
        return self._secret(RELAY_SECRET_FILE).encode()

    def contents(self) -> dict[str, str]:
        """Return the files that a backup holds, by name."""
        found = {}
        for name in SECRET_FILES:
            with (
                _plain_errors(self.path / name),
                contextlib.suppress(FileNotFoundError),
            ):
                found[name] = (self.path / name).read_text()
        return found

    def put_back(self, contents: Mapping[str, str]) -> None:
        """Have the files of a backup, and no key of another mesh beside them."""
        self.replace(contents)
        if FORMER_KEY_FILE not in contents:
            self.retire_key()

    def replace(self, contents: Mapping[str, str]) -> None:
        """Write some of the files."""
        for name, text in contents.items():
            with _plain_errors(self.path / name):
                write_private(self.path / name, text.encode())

    def give_to_owner(self) -> None:
        """Let all files belong to the directory's owner, if root has written some.

        The service has a user of its own, and root administers it.
        """
        if os.geteuid() != 0:
            return
        with _plain_errors(self.path):
            owner = self.path.stat()
            for each in self.path.iterdir():
                os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def _new_key(self) -> str:
        return format_key(PrivateKey.generate(self._random).private_bytes)

    def _secret(self, name: str) -> str:
        path = self.path / name
        text = self._read_or_create(path, lambda: self._random(24).hex()).strip()
        if not text:
            raise ConfigError(f"{path} is empty; remove it, and a new one is made")
        return text

    def _read_or_create(self, path: Path, make: Callable[[], str]) -> str:
        with _plain_errors(path):
            try:
                return path.read_text()
            except FileNotFoundError:
                text = make()
                write_private(path, f"{text}\n".encode())
                return text


def _parsed(path: Path, text: str) -> PrivateKey:
    try:
        return PrivateKey.from_bytes(parse_key(text))
    except ValueError:
        raise ConfigError(
            f"{path} is damaged; restore it from a backup: nodes know the "
            "coordinator by this key"
        ) from None


def read_relay_secrets(path: Path | None) -> dict[str, bytes]:
    """Return the relays' secrets in a file an administrator has named, by host.

    :param path: ``None`` for no file.
    :raises ConfigError: if there is none in it.
    """
    if path is None:
        return {}
    found = parse_secrets(read_secret_file(path))
    if not found:
        raise ConfigError(f"{path} is empty; it should hold lines of HOST SECRET")
    return found


def read_secret_file(path: Path) -> bytes:
    """Return the secret in a file an administrator has named.

    :raises ConfigError: if there is none.
    """
    with _plain_errors(path):
        secret = path.read_bytes().strip()
    if not secret:
        raise ConfigError(f"{path} is empty; it should hold the shared secret")
    return secret


def write_private(path: Path, content: bytes) -> None:
    """Write a file, 0600, that is there whole or not at all.

    :raises OSError: if it cannot be written; what was there before then stays.
    """
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise NotPermitted(
            f"{path} belongs to another user; run this as that user, or choose another "
            "--data-dir"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MeshError(
                f"The disk that holds {path} is full; free some space"
            ) from None
        raise MeshError(f"{path} cannot be used: {reason}") from None
