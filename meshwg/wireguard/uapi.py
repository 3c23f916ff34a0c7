"""The configuration protocol between wg(8) and a userspace WireGuard interface.

A client sends an operation, a first line and an empty last one, over a stream::

    get=1                          set=1
                                   listen_port=51820
                                   public_key=…

and gets ``key=value`` lines (``get`` only), ``errno=N`` and an empty line. One
connection may carry several operations; a first line that is neither of the two ends
it without an answer.

A ``set`` describes the device first and then, after each ``public_key``, one peer. Its
lines are applied in order, and a line that fails leaves those before it applied. They
are applied when the last one is here: no other client sees half of an operation, and
one whose client died underway changes nothing.

wg(8) negates the number that answers a ``set`` and accepts only digits after a ``get``.
So an error of the former is sent as ``errno=-22`` and one of the latter as
``errno=22``.

Lines hold private keys, and a key's base64 form ends in ``=``, so that a misplaced one
looks like the name of a setting. Errors therefore never repeat what was received: they
tell the number of the line.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from errno import E2BIG, EADDRINUSE, EINVAL, EPROTO
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Protocol

from meshwg.errors import ConfigError, MeshError
from meshwg.keys import KEY_LENGTH, PrivateKey
from meshwg.transmit import Endpoint
from meshwg.wireguard.device import Device
from meshwg.wireguard.peer import Peer

MAX_LINE = 4096
"""The longest line, in bytes. The longest one in use has 78."""

MAX_OPERATION = 32 * 2**20
"""The longest operation, in bytes: 65,536 peers with several allowed IPs each."""

MAX_SCOPE = 0x7FFFFFFF
"""The largest index of an interface in Linux."""

logger = logging.getLogger(__name__)


class Interface(Protocol):
    """What the operations work on: a device, and the sockets that serve it."""

    @property
    def device(self) -> Device:
        """The engine."""

    @property
    def listen_port(self) -> int:
        """The UDP port in use, or configured while the interface is down."""

    @property
    def fwmark(self) -> int:
        """The mark of outgoing datagrams, 0 for none."""

    def index_of(self, name: str) -> int | None:
        """Return the index of one of the host's interfaces, if there is such a one."""

    def rebind(self, port: int) -> None:
        """Move to another UDP port, 0 for any; on failure the old one stays.

        :raises OSError: if the port cannot be used.
        """

    def set_fwmark(self, mark: int) -> None:
        """Mark outgoing datagrams for policy routing.

        :raises OSError: if the system refuses the mark.
        """


class UapiError(MeshError):
    """A line of a ``set`` is wrong or cannot be carried out."""

    def __init__(self, errno: int, cause: str) -> None:
        super().__init__(cause)
        self.errno = errno
        """The positive error number for the client."""


class UapiSession:
    """One connection of a client: bytes in, answers out."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._rest = b""
        self._operation: bytes | None = None
        self._lines: list[str] = []
        self._size = 0
        self.finished = False
        """The client broke the protocol: send what is left, then close."""

    def receive(self, data: bytes, now: float) -> bytes:
        """Return the answers to the operations that ``data`` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        answers = []
        for line in lines:
            if not self.finished:
                answers.append(self._receive_line(line, now))
        if len(self._rest) > MAX_LINE:
            self.finished = True
        return b"".join(answers)

    def _receive_line(self, line: bytes, now: float) -> bytes:
        if self._operation is None:
            self._operation = line
            self.finished = line not in (b"get=1", b"set=1")
            return b""
        if not line:
            return self._complete(now)
        if self._operation == b"get=1":
            self.finished = True
            return _errno(EINVAL)
        self._size += len(line)
        if self._size <= MAX_OPERATION:
            self._lines.append(line.decode("ascii", "replace"))
        return b""

    def _complete(self, now: float) -> bytes:
        """Carry out the operation and return its answer."""
        operation, lines, size = self._operation, self._lines, self._size
        self._operation, self._lines, self._size = None, [], 0
        if operation == b"get=1":
            # What was carried until now shows, though threads tell of it in batches.
            self._interface.device.settle()
            return describe(self._interface).encode() + _errno(0)
        try:
            if size > MAX_OPERATION:
                raise UapiError(E2BIG, "The configuration is too large")
            configure(self._interface, lines, now)
        except UapiError as error:
            logger.error("Configuration refused: %s", error)
            return _errno(-error.errno)
        return _errno(0)


def _errno(number: int) -> bytes:
    return b"errno=%d\n\n" % number


def describe(interface: Interface) -> str:
    """Return the lines that answer a ``get``, secrets included."""
    device = interface.device
    lines = []
    if device.private_key is not None:
        lines.append(f"private_key={device.private_key.private_bytes.hex()}")
    if interface.listen_port:
        lines.append(f"listen_port={interface.listen_port}")
    if interface.fwmark:
        lines.append(f"fwmark={interface.fwmark}")
    for peer in device.peers.values():
        lines += _describe_peer(peer)
        lines += (
            f"allowed_ip={network}" for network in device.allowed_ips.of(peer.lane)
        )
    return "".join(f"{line}\n" for line in lines)


def _describe_peer(peer: Peer) -> list[str]:
    handshake = peer.last_handshake or 0.0
    lines = [
        f"public_key={peer.public_key.hex()}",
        f"preshared_key={peer.preshared_key.hex()}",
        "protocol_version=1",
        f"last_handshake_time_sec={int(handshake)}",
        f"last_handshake_time_nsec={int(handshake % 1 * 1e9)}",
        f"tx_bytes={peer.tx_bytes}",
        f"rx_bytes={peer.rx_bytes}",
        f"persistent_keepalive_interval={peer.persistent_keepalive}",
    ]
    if peer.endpoint is not None:
        lines.insert(3, f"endpoint={peer.endpoint}")
    return lines


def configure(interface: Interface, lines: Iterable[str], now: float) -> None:
    """Apply the lines of a ``set``.

    :raises UapiError: for the first line that is wrong; those before it stay applied.
    """
    operation = _Set(interface, now)
    try:
        for number, line in enumerate(lines, start=1):
            try:
                operation.apply(line)
            except UapiError as error:
                raise UapiError(error.errno, f"line {number}: {error}") from None
    finally:
        operation.finish()


@dataclass(slots=True)
class _Section:
    """The lines of a ``set`` after one ``public_key``."""

    public_key: bytes
    peer: Peer | None
    """``None`` until a line makes a new one necessary."""
    created: bool = False
    ignored: bool = False
    """The lines are only checked: the interface's own key, or a peer not to be made."""
    keepalive: int | None = None
    """Applied last: it sends at once, with the keys and to the endpoint set here."""


class _Set:
    """A ``set`` underway."""

    def __init__(self, interface: Interface, now: float) -> None:
        self._interface = interface
        self._device = interface.device
        self._now = now
        self._section: _Section | None = None
        self._had_no_key = self._device.private_key is None

    def apply(self, line: str) -> None:
        """Apply one line.

        :raises UapiError: if it is wrong or cannot be carried out.
        """
        key, separator, value = line.partition("=")
        if not separator:
            raise UapiError(EPROTO, "There is no '='")
        if key == "public_key":
            self._finish_peer()
            self._start_peer(value)
        elif self._section is None:
            self._set_device(key, value)
        else:
            self._set_peer(self._section, key, value)

    def finish(self) -> None:
        """Let the last peer act on its lines, and all if there is a key at last."""
        self._finish_peer()
        if self._had_no_key and self._device.private_key is not None:
            self._device.start_peers(self._now)

    def _finish_peer(self) -> None:
        """Let the peer whose lines are complete act on them."""
        section, self._section = self._section, None
        if section is None or section.ignored:
            return
        peer = self._peer(section)
        if section.keepalive is not None:
            self._device.set_persistent_keepalive(peer, section.keepalive, self._now)
        if self._device.is_up:
            self._device.start_peer(peer, self._now)

    def _set_device(self, key: str, value: str) -> None:
        match key:
            case "private_key":
                scalar = _parse_key(value)
                self._device.set_private_key(
                    PrivateKey.from_bytes(scalar) if any(scalar) else None
                )
            case "listen_port":
                self._try(self._interface.rebind, _parse_number(value, 0xFFFF))
            case "fwmark":
                self._try(self._interface.set_fwmark, _parse_number(value, 0xFFFFFFFF))
            case "replace_peers":
                _require_true(value)
                for public_key in list(self._device.peers):
                    self._device.remove_peer(public_key)
            case _:
                raise UapiError(EINVAL, "This setting of an interface is unknown")

    def _start_peer(self, value: str) -> None:
        public_key = _parse_key(value)
        own = self._device.private_key
        self._section = _Section(
            public_key,
            self._device.peers.get(public_key),
            ignored=own is not None and own.public_bytes == public_key,
        )

    def _set_peer(self, section: _Section, key: str, value: str) -> None:
        device = self._device
        match key:
            case "update_only":
                _require_true(value)
                if section.peer is None or section.created:
                    self._remove_peer(section)
            case "remove":
                _require_true(value)
                self._remove_peer(section)
            case "preshared_key":
                preshared = _parse_key(value)
                self._change(
                    section,
                    lambda peer: device.set_preshared_key(peer, preshared),
                )
            case "endpoint":
                endpoint = parse_endpoint(value, self._interface.index_of)
                self._change(section, lambda peer: device.set_endpoint(peer, endpoint))
            case "persistent_keepalive_interval":
                section.keepalive = _parse_number(value, 0xFFFF)
            case "replace_allowed_ips":
                _require_true(value)
                self._change(section, lambda peer: device.allowed_ips.clear(peer.lane))
            case "allowed_ip":
                network = _parse_network(value.removeprefix("-"))
                table = device.allowed_ips
                change = table.remove if value.startswith("-") else table.insert
                self._change(section, lambda peer: change(network, peer.lane))
            case "protocol_version":
                if value != "1":
                    raise UapiError(EINVAL, "This protocol version is unknown")
            case _:
                raise UapiError(EINVAL, "This setting of a peer is unknown")

    def _change(self, section: _Section, change: Callable[[Peer], None]) -> None:
        if not section.ignored:
            change(self._peer(section))

    def _peer(self, section: _Section) -> Peer:
        """Return the peer that the lines are about; make it if it is new."""
        if section.peer is None:
            try:
                section.peer = self._device.add_peer(section.public_key)
            except ConfigError as error:
                raise UapiError(EINVAL, str(error)) from None
            section.created = True
        return section.peer

    def _remove_peer(self, section: _Section) -> None:
        section.ignored = True
        if section.public_key in self._device.peers:
            self._device.remove_peer(section.public_key)

    @staticmethod
    def _try(change: Callable[[int], None], value: int) -> None:
        """Change a socket; wg(8) knows one error for whatever the system says."""
        try:
            change(value)
        except OSError as error:
            raise UapiError(EADDRINUSE, error.strerror or str(error)) from error


def parse_endpoint(value: str, index_of: Callable[[str], int | None]) -> Endpoint:
    """Return the endpoint for ``192.0.2.1:51820`` or ``[2001:db8::1]:51820``.

    A link-local address may have a scope, ``[fe80::1%eth0]:51820``. The endpoint has
    its number: wg(8) reads a name only where it is that of an interface, but may run in
    another network namespace.

    :param index_of: finds a scope that is given by name.
    :raises UapiError: if it has another form, or an unknown scope; host names are not
        resolved.
    """
    host, separator, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if not separator or address is None or bracketed != (address.version == 6):
        raise UapiError(EINVAL, "An endpoint is ADDRESS:PORT or [ADDRESS]:PORT")
    number = _parse_number(port, 0xFFFF)
    if isinstance(address, IPv4Address):
        return Endpoint(str(address), number)
    # The IPv6 socket does not carry IPv4, in whatever notation.
    text = str(address.ipv4_mapped or IPv6Address(address.packed))
    if address.is_link_local and address.scope_id:
        scope = index_of(address.scope_id)
        if scope is None:
            scope = _parse_number(address.scope_id, MAX_SCOPE)
        text += f"%{scope}" if scope else ""
    return Endpoint(text, number)


def _parse_key(value: str) -> bytes:
    try:
        key = bytes.fromhex(value)
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH or len(value) != 2 * KEY_LENGTH:
        raise UapiError(EINVAL, f"A key is {2 * KEY_LENGTH} hexadecimal digits")
    return key


def _parse_number(value: str, largest: int) -> int:
    # The length keeps int() from work, and from its own limit, on very long ones.
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise UapiError(EINVAL, "A number has only the digits 0 to 9")
    number = int(value)
    if number > largest:
        raise UapiError(EINVAL, f"This number must be at most {largest}")
    return number


def _parse_network(value: str) -> IPv4Network | IPv6Network:
    """Return the network for ``ADDRESS/LENGTH``; host bits are masked."""
    _, separator, length = value.partition("/")
    try:
        if separator and "%" not in value and length.isascii() and length.isdigit():
            return ip_network(value, strict=False)
    except ValueError:
        pass
    raise UapiError(EINVAL, "An allowed IP is ADDRESS/LENGTH")


def _require_true(value: str) -> None:
    if value != "true":
        raise UapiError(EINVAL, "The only value of this setting is 'true'")
