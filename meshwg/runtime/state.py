"""The node's state directory: its key, its membership, and the cached netmap.

Files are replaced whole: written beside the old one, flushed to the disk, and renamed
over it, so that a crash or a full disk leaves the old contents. One daemon at a time
may use a directory.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwg.errors import ConfigError, InvalidMessage, MeshError, NotPermitted
from meshwg.keys import KEY_LENGTH, PrivateKey, format_key, parse_key
from meshwg.node.trust import Pins, load_pins
from meshwg.relay.transactions import TurnCredentials
from meshwg.transmit import Random

KEY_FILE = "node.key"
MEMBERSHIP_FILE = "membership.json"
NETMAP_FILE = "netmap.json"
PINS_FILE = "trust.json"
PORT_FILE = "port"
RELAYS_FILE = "relays.json"
FORWARDING_FILE = "forwarding.json"
DNS_FILE = "dns.json"
EXIT_FILE = "exit.json"
DOMAIN_FILE = "domain"
DOWN_FILE = "down"
TOLD_FILE = "told"
ROUTES_FILE = "routes.json"
CLUSTER_FILE = "cluster.json"
LOCK_FILE = "lock"


_OF_A_MESH = (
    MEMBERSHIP_FILE,
    NETMAP_FILE,
    PINS_FILE,
    RELAYS_FILE,
    PORT_FILE,
    DOWN_FILE,
    TOLD_FILE,
    DOMAIN_FILE,
    EXIT_FILE,
    ROUTES_FILE,
    KEY_FILE,
)
"""What is forgotten when a mesh is left; the key last."""


@dataclass(frozen=True, slots=True)
class StoredMembership:
    """Which coordinator this node belongs to."""

    url: str
    coordinator_key: bytes
    auth_key: str | None = field(default=None, repr=False)
    """Until the coordinator has accepted the node for the first time."""
    former_key: bytes | None = None
    """The coordinator's key before, until it has proved that it has the other."""
    others: tuple[str, ...] = ()
    """URLs of other coordinators of the mesh."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the coordinators are, the one to be asked first in front."""
        return (self.url, *self.others)

    def knows(self, key: bytes) -> bool:
        """Tell whether the coordinator is known by a key."""
        return key in (self.coordinator_key, self.former_key)


class StateDirectory:
    """A directory that only root, or the daemon's user, can look into.

    :raises ConfigError: if it cannot be made, or another daemon uses it.
    :raises NotPermitted: without the right to use it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told: set[str] = set()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / LOCK_FILE, os.O_CREAT | os.O_RDWR, 0o600)
        except PermissionError:
            raise NotPermitted(
                f"No permission to use the state directory {path}: run as root, or "
                "name another one with --state-dir"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"The state directory {path} cannot be created ({error.strerror}): "
                "name another one with --state-dir"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise ConfigError(
                f"Another meshwg node uses the state directory {path}: stop it, or "
                "give this one its own with --state-dir"
            ) from None

    def close(self) -> None:
        """Let another daemon use the directory."""
        os.close(self._lock)

    def private_key(self, random: Random) -> PrivateKey:
        """Return the node's key, made when it is first asked for.

        :raises ConfigError: if the file holds no key: it is never overwritten.
        """
        path = self._path / KEY_FILE
        text = self._read(path)
        if text is None:
            key = PrivateKey.generate(random)
            self._write(path, format_key(key.private_bytes) + "\n")
            return key
        try:
            scalar = parse_key(text)
        except ValueError:
            scalar = bytes(KEY_LENGTH)
        if not any(scalar):
            raise ConfigError(
                f"The node's key {path} is damaged: restore it, or remove it and join "
                "again as a new node"
            )
        return PrivateKey.from_bytes(scalar)

    def membership(self) -> StoredMembership | None:
        """Return which mesh this node is in, ``None`` before it first joined.

        :raises ConfigError: if the file is damaged.
        """
        path = self._path / MEMBERSHIP_FILE
        text = self._read(path)
        if text is None:
            return None
        try:
            raw: dict[str, Any] = json.loads(text)
            key = parse_key(raw["coordinator_key"])
            former = raw.get("former_key")
            return StoredMembership(
                str(raw["url"]),
                key,
                raw.get("auth_key"),
                None if former is None else parse_key(former),
                tuple(str(each) for each in raw.get("others", ())),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(
                f"The membership {path} is damaged: remove it and join again with "
                "'meshwg node --join TOKEN'"
            ) from None

    def save_membership(self, membership: StoredMembership) -> None:
        """Remember the mesh for the next start."""
        raw: dict[str, Any] = {
            "url": membership.url,
            "coordinator_key": format_key(membership.coordinator_key),
            "auth_key": membership.auth_key,
        }
        if membership.former_key is not None:
            raw["former_key"] = format_key(membership.former_key)
        if membership.others:
            raw["others"] = list(membership.others)
        self._write(self._path / MEMBERSHIP_FILE, json.dumps(raw) + "\n")

    def forget_membership(self) -> None:
        """Remove what :meth:`save_membership` wrote."""
        with contextlib.suppress(OSError):
            (self._path / MEMBERSHIP_FILE).unlink(missing_ok=True)

    def netmap(self) -> bytes | None:
        """Return the cached netmap, which the control client understands."""
        text = self._read(self._path / NETMAP_FILE)
        return None if text is None else text.encode()

    def save_netmap(self, cache: bytes) -> None:
        """Replace the cached netmap.

        :raises MeshError: if it cannot be written; the old one then stays.
        """
        self._write(self._path / NETMAP_FILE, cache.decode())

    def forget_netmap(self) -> None:
        """Remove the cached netmap of a mesh that this node left."""
        with contextlib.suppress(OSError):
            (self._path / NETMAP_FILE).unlink(missing_ok=True)

    def pins(self) -> Pins:
        """Return whose keys are known.

        :raises ConfigError: if the file is damaged: without it, anybody's would do.
        """
        path = self._path / PINS_FILE
        text = self._read(path)
        if text is None:
            return Pins()
        try:
            return load_pins(text.encode())
        except InvalidMessage:
            raise ConfigError(
                f"The keys of peers in {path} are damaged: restore the file, or remove "
                "it to trust the coordinator for all of them anew"
            ) from None

    def save_pins(self, pins: bytes) -> None:
        """Replace what is known of others' keys.

        :raises MeshError: if it cannot be written; the old file then stays.
        """
        self._write(self._path / PINS_FILE, pins.decode())

    def forget(self) -> None:
        """Remove all there is to remember of the mesh, and the key by which it knows
        this node."""
        for name in _OF_A_MESH:
            self._remove(name)

    def is_news(self, code: str) -> bool:
        """Tell whether something was not told before, and note that it is now.

        If that cannot be written, it is told again at the next start.
        """
        try:
            told = (self._read(self._path / TOLD_FILE) or "").split()
        except MeshError:
            told = []
        if code in told or code in self._told:
            return False
        self._told.add(code)
        with contextlib.suppress(MeshError):
            text = "".join(f"{each}\n" for each in (*told, code))
            self._write(self._path / TOLD_FILE, text)
        return True

    def is_down(self) -> bool:
        """Tell whether the node was taken down and is to stay so."""
        return (self._path / DOWN_FILE).exists()

    def set_down(self, down: bool) -> None:
        """Remember that the node was taken down, or that it is to be connected.

        :raises MeshError: if it cannot be written.
        """
        if down:
            self._write(self._path / DOWN_FILE, "")
        else:
            self._remove(DOWN_FILE)

    def last_port(self) -> int:
        """Return the UDP port of the last run, 0 if it is not known."""
        text = (self._read(self._path / PORT_FILE) or "").strip()
        is_number = len(text) <= 5 and text.isascii() and text.isdecimal()
        port = int(text) if is_number else 0
        return port if port <= 0xFFFF else 0

    def save_port(self, port: int) -> None:
        """Remember the UDP port, so that peers find the node there after a restart.

        If it cannot be written, only that is lost.
        """
        if port == self.last_port():
            # A disk takes milliseconds to write, or more, and peers wait meanwhile.
            return
        with contextlib.suppress(MeshError):
            self._write(self._path / PORT_FILE, f"{port}\n")

    def relay_credentials(self) -> list[tuple[str, TurnCredentials]]:
        """Return what the last run used at relays, by URL; nothing if it is damaged."""
        try:
            raw = json.loads(self._read(self._path / RELAYS_FILE) or "[]")
            return [
                (str(each["url"]), TurnCredentials(each["username"], each["password"]))
                for each in raw
            ]
        except (ValueError, KeyError, TypeError):
            return []

    def save_relay_credentials(
        self, credentials: Iterable[tuple[str, TurnCredentials]]
    ) -> None:
        """Remember them: only with them can a left allocation be given back.

        If they cannot be written, only that is lost.
        """
        raw = [
            {"url": url, "username": user.username, "password": user.password}
            for url, user in credentials
        ]
        with contextlib.suppress(MeshError):
            self._write(self._path / RELAYS_FILE, json.dumps(raw) + "\n")

    def forwarding(self) -> dict[str, Any] | None:
        """Return what a hub has changed in the system and not yet undone."""
        try:
            note = json.loads(self._read(self._path / FORWARDING_FILE) or "null")
        except ValueError:
            return {}
        return note if note is None or isinstance(note, dict) else {}

    def save_forwarding(self, note: dict[str, Any] | None) -> None:
        """Remember what a hub is about to change, or that it was undone.

        :raises MeshError: if it cannot be written.
        """
        path = self._path / FORWARDING_FILE
        if note is not None:
            self._write(path, json.dumps(note) + "\n")
        else:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def domain(self, said: str) -> str:
        """Return what names of the mesh end with, as it was when that was first said.

        :param said: what the coordinator says now.
        """
        path = self._path / DOMAIN_FILE
        known = (self._read(path) or "").strip()
        if known:
            return known
        with contextlib.suppress(MeshError):
            self._write(path, f"{said}\n")
        return said

    def routes(self) -> dict[str, Any]:
        """Return what was changed of the networks that the settings name.

        :raises ConfigError: if the file is damaged.
        """
        path = self._path / ROUTES_FILE
        text = self._read(path)
        try:
            changed = json.loads("{}" if text is None else text)
        except ValueError:
            changed = None
        if not isinstance(changed, dict):
            raise ConfigError(
                f"The networks in {path} are damaged: remove the file, and use "
                "'meshwg route add' again"
            )
        return changed

    def save_routes(self, changed: dict[str, Any]) -> None:
        """Remember what was changed of them.

        :raises MeshError: if it cannot be written; the old file then stays.
        """
        self._write(self._path / ROUTES_FILE, json.dumps(changed) + "\n")

    def cluster(self) -> dict[str, Any] | None:
        """Return what a cluster last said of this node, if that can be read."""
        try:
            note = json.loads(self._read(self._path / CLUSTER_FILE) or "null")
        except ValueError:
            return None
        return note if isinstance(note, dict) else None

    def save_cluster(self, note: dict[str, Any] | None) -> None:
        """Remember what a cluster says of this node, or that it does not know it.

        :raises MeshError: if it cannot be written; the old note then stays.
        """
        if note is None:
            self._remove(CLUSTER_FILE)
        else:
            self._write(self._path / CLUSTER_FILE, json.dumps(note) + "\n")

    def dns(self) -> dict[str, Any] | None:
        """Return how the system was told of this node's names, if not undone since."""
        try:
            note = json.loads(self._read(self._path / DNS_FILE) or "null")
        except ValueError:
            return None
        return note if isinstance(note, dict) else None

    def save_dns(self, note: dict[str, Any] | None) -> None:
        """Remember what the system is about to be told, or that it was undone.

        :raises MeshError: if it cannot be written.
        """
        if note is not None:
            self._write(self._path / DNS_FILE, json.dumps(note) + "\n")
        else:
            with contextlib.suppress(OSError):
                (self._path / DNS_FILE).unlink(missing_ok=True)

    def exit(self) -> dict[str, Any] | None:
        """Return which exit is used, ``None`` for none."""
        try:
            note = json.loads(self._read(self._path / EXIT_FILE) or "null")
        except ValueError:
            return None
        return note if isinstance(note, dict) else None

    def save_exit(self, note: dict[str, Any] | None) -> None:
        """Remember which exit is used, over restarts of node and machine.

        :raises MeshError: if it cannot be written.
        """
        if note is not None:
            self._write(self._path / EXIT_FILE, json.dumps(note) + "\n")
        else:
            self._remove(EXIT_FILE)

    def _remove(self, name: str) -> None:
        path = self._path / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise MeshError(
                f"{path} cannot be removed ({error.strerror}): remove it by hand"
            ) from None

    def _read(self, path: Path) -> str | None:
        try:
            return path.read_text()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            return ""
        except OSError as error:
            raise NotPermitted(
                f"{path} cannot be read ({error.strerror}): run as the user it "
                "belongs to"
            ) from None

    def _write(self, path: Path, text: str) -> None:
        new = path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise MeshError(
                f"{path} cannot be written ({error.strerror}): free space on the disk, "
                "or name another directory with --state-dir"
            ) from None
