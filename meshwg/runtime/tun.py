"""The TUN device: batches of complete IP packets in, batches out.

The kernel can exchange superpackets of up to 64 KiB with the device (IFF_VNET_HDR).
Writes always use them where the kernel takes them: :mod:`meshwg.packet.coalesce` makes
them at less than the cost of the calls that they save. For reads, the kernel can cut
its superpackets or leave that to :mod:`meshwg.packet.segment` (TSO and USO), which
saves as many calls but has to compute each checksum here. In Python that costs
more: 14 microseconds of a sender's time for each packet of a TCP stream, encryption
included, instead of 11. So the kernel cuts, unless ``tso`` is set, as it should be
once compiled code makes the segments.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Container, Sequence
from functools import partial

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.packet import vnet
from meshwg.packet.coalesce import coalesce
from meshwg.packet.segment import segment

DEVICE = "/dev/net/tun"
_OWN_NAMESPACE = "/proc/thread-self/ns/net"
MAX_NAME_LENGTH = 15
MAX_BATCH = 128
"""Packets after which a read returns: enough to fill two or three GSO runs."""
READ_SIZE = 65535 + vnet.HEADER.size
QUEUE_LENGTH = 1000
"""Packets that the interface queues, as those of the kernel's own WireGuard do."""

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8
TUNGETDEVNETNS = 0x54E3
SIOCSIFMTU = 0x8922
SIOCSIFTXQLEN = 0x8943

IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000

TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04
TUN_F_USO4 = 0x20
TUN_F_USO6 = 0x40

TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
UDP_OFFLOADS = TUN_F_USO4 | TUN_F_USO6
OFFLOADS = (TCP_OFFLOADS | UDP_OFFLOADS, TCP_OFFLOADS)
"""What the kernel may support, best first: USO came with Linux 6.2."""

_IFREQ = struct.Struct("16sH22x")
_IFREQ_VALUE = struct.Struct("16si20x")

GONE = (errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO)


class TunGone(MeshError):
    """The interface was removed while this program used it."""


class TunDevice:
    """A TUN device, non-blocking.

    :param fd: an open TUN device, which this object closes.
    :param tso: read superpackets and cut them here.
    """

    def __init__(
        self, fd: int, name: str, *, has_vnet_header: bool, tso: bool = False
    ) -> None:
        self.name = name
        self.malformed = 0
        """Superpackets from the kernel that were malformed."""
        self.dropped = 0
        """Packets that the kernel did not take."""
        self.local_addresses: Container[bytes] = frozenset()
        """This host's addresses, packed: only packets to them are written joined."""
        self._fd = fd
        self._index = _index_of(name)
        self.header = vnet.PLAIN if has_vnet_header else b""
        """What stands before a packet, read or written, that is no superpacket."""
        self.read_raw: Callable[[], bytes] = partial(os.read, fd, READ_SIZE)
        """Return the next packet or superpacket with its header.

        :raises OSError: BlockingIOError if none waits; for others see :meth:`read`.
        """
        self.write_raw: Callable[[Sequence[bytes]], int] = partial(os.writev, fd)
        """Hand a packet, in pieces that begin with the header, to the kernel.

        :raises OSError: if it is not taken; see :meth:`write`.
        """
        self._joins_udp = has_vnet_header and self._negotiate_offloads(tso)

    @classmethod
    def open(
        cls, name: str, mtu: int | None = None, *, tso: bool = False
    ) -> "TunDevice":
        """Create the interface ``name``, or attach to a TUN device kept under it.

        :param mtu: in bytes, ``None`` for the system's choice.
        :raises ConfigError: if the name or the MTU is refused, or there are no TUN
            devices.
        :raises NotPermitted: without the privilege to create interfaces.
        """
        if not 0 < len(os.fsencode(name)) <= MAX_NAME_LENGTH:
            raise ConfigError(
                f"The interface name '{name}' must have 1 to {MAX_NAME_LENGTH} bytes:"
                " choose a shorter one"
            )
        fd = _open_device()
        try:
            _attach(fd, name)
            device = cls.from_fd(fd, tso=tso)
            device._configure(SIOCSIFTXQLEN, QUEUE_LENGTH, "queue length")
            if mtu is not None:
                device.set_mtu(mtu)
        except BaseException:
            os.close(fd)
            raise
        return device

    @classmethod
    def from_fd(cls, fd: int, *, tso: bool = False) -> "TunDevice":
        """Use a TUN device that another program opened and attached (WG_TUN_FD).

        :raises ConfigError: if the descriptor is not an attached TUN device.
        """
        try:
            name, flags = _identify(fd)
            os.set_blocking(fd, False)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigError(
                f"File descriptor {fd} is not an open TUN device ({error}):"
                " pass one that is attached to an interface"
            ) from error
        if not flags & IFF_TUN:
            raise ConfigError(
                f"File descriptor {fd} is a TAP device: pass one attached as IFF_TUN"
            )
        has_vnet_header = bool(flags & IFF_VNET_HDR)
        return cls(fd, name, has_vnet_header=has_vnet_header, tso=tso)

    @property
    def index(self) -> int:
        """The index that the interface had when it was opened."""
        return self._index

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._fd

    def close(self) -> None:
        """Close the device; the interface goes with it unless it is kept."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def locate(self) -> tuple[str, int | None]:
        """Return the interface's name and a descriptor of its network namespace.

        Both change when it is renamed or moved, without any effect on this device.
        The descriptor is the caller's to close; it is ``None`` if the kernel
        cannot tell (before Linux 5.2, or without CAP_NET_ADMIN).

        :raises TunGone: if the interface was removed.
        """
        try:
            self.name, _ = _identify(self._fd)
            return self.name, fcntl.ioctl(self._fd, TUNGETDEVNETNS)
        except OSError as error:
            self._raise_if_gone(error)
            return self.name, None

    def has_index(self, index: int) -> bool:
        """Return whether an interface index of this namespace is the device's.

        Where the interface was moved to another namespace, one that is still here, or
        comes later, may have the index and even the name that it had.
        """
        if index != self._index:
            return False
        try:
            name, namespace = self.locate()
        except TunGone:
            return False
        if namespace is None:
            return True
        try:
            is_here = os.path.samestat(os.stat(namespace), os.stat(_OWN_NAMESPACE))
            return is_here and _index_of(name) == index
        finally:
            os.close(namespace)

    def set_mtu(self, mtu: int) -> None:
        """Set the interface's MTU, in bytes.

        :raises ConfigError: if the kernel does not accept it.
        """
        self._configure(SIOCSIFMTU, mtu, "MTU")

    def unpack(self, data: bytes) -> list[bytes]:
        """Return the packet that was read, or those of a superpacket."""
        header = self.header
        if data.startswith(header):
            return [data[len(header) :]]
        return self._segment(data)

    def read(self, limit: int = MAX_BATCH) -> list[bytes]:
        """Return the packets that wait; fewer than the limit if there are no more.

        :param limit: superpackets may exceed it by what they hold.
        :raises TunGone: if the interface was removed.
        """
        read, fd, header = os.read, self._fd, self.header
        packets: list[bytes] = []
        try:
            while len(packets) < limit:
                data = read(fd, READ_SIZE)
                if data.startswith(header):
                    packets.append(data[len(header) :])
                else:
                    packets += self._segment(data)
        except BlockingIOError:
            pass
        except OSError as error:
            self._raise_if_gone(error)
        return packets

    def write(self, packets: Sequence[bytes]) -> None:
        """Hand packets to the kernel; what it does not take is counted as dropped.

        :raises TunGone: if the interface was removed.
        """
        writes: Sequence[Sequence[bytes]]
        if len(packets) == 1:
            writes = [(self.header, packets[0])]
        elif self.header:
            writes = coalesce(packets, self.local_addresses, udp=self._joins_udp)
        else:
            writes = [[packet] for packet in packets]
        for parts in writes:
            try:
                os.writev(self._fd, parts)
            except OSError as error:
                self._raise_if_gone(error)
                self.dropped += max(1, len(parts) - 1)

    def _segment(self, superpacket: bytes) -> list[bytes]:
        packets = segment(superpacket)
        if not packets:
            self.malformed += 1
        return packets

    def _negotiate_offloads(self, tso: bool) -> bool:
        """Ask for superpackets, or for none; return whether UDP ones may be written."""
        fcntl.ioctl(self._fd, TUNSETVNETHDRSZ, struct.pack("=i", vnet.HEADER.size))
        for offloads in OFFLOADS:
            try:
                fcntl.ioctl(self._fd, TUNSETOFFLOAD, offloads)
                break
            except OSError:
                continue
        else:
            return False
        if not tso:
            fcntl.ioctl(self._fd, TUNSETOFFLOAD, 0)
        return bool(offloads & UDP_OFFLOADS)

    def _configure(self, request: int, value: int, what: str) -> None:
        """Set a number of the interface, in the namespace of this program."""
        argument = _IFREQ_VALUE.pack(os.fsencode(self.name), value)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                fcntl.ioctl(sock, request, argument)
            except OSError as error:
                raise ConfigError(
                    f"The {what} of '{self.name}' cannot be {value}"
                    f" ({os.strerror(error.errno or 0)}): choose another one"
                ) from error

    def _raise_if_gone(self, error: OSError) -> None:
        if error.errno in GONE:
            raise TunGone(f"The interface '{self.name}' was removed") from error


def _identify(fd: int) -> tuple[str, int]:
    """Return the name and the flags of the interface behind a descriptor."""
    request = fcntl.ioctl(fd, TUNGETIFF, bytes(_IFREQ.size))
    name, flags = _IFREQ.unpack(request)
    return os.fsdecode(name.rstrip(b"\0")), flags


def _index_of(name: str) -> int:
    """Return the index of an interface of this namespace, 0 if there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _open_device() -> int:
    """Return a descriptor for a TUN device that has no interface yet."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPermitted(
            f"No permission to open {DEVICE}: run as root or with CAP_NET_ADMIN"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{DEVICE} is missing ({os.strerror(error.errno or 0)}): load the kernel"
            " module 'tun', or give the container this device"
        ) from error


def _attach(fd: int, name: str) -> None:
    """Create the interface, with the virtio-net header if the kernel knows it."""
    try:
        flags = IFF_TUN | IFF_NO_PI
        try:
            fcntl.ioctl(
                fd, TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags | IFF_VNET_HDR)
            )
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            fcntl.ioctl(fd, TUNSETIFF, _IFREQ.pack(os.fsencode(name), flags))
    except PermissionError as error:
        raise NotPermitted(
            f"No permission to create the interface '{name}': run as root or with"
            " CAP_NET_ADMIN"
        ) from error
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise ConfigError(
                f"The interface '{name}' is used by another program: stop that program"
                " or choose another name"
            ) from error
        raise ConfigError(
            f"The interface '{name}' cannot be created"
            f" ({os.strerror(error.errno or 0)}): choose a name without '/' or spaces"
            " that no other interface has"
        ) from error
