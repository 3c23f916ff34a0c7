"""The TUN device: batches of complete IP packets in, batches out.

The kernel exchanges superpackets of up to 64 KiB with the device (IFF_VNET_HDR): one
read or write then carries some forty packets. :mod:`meshwg.packet.segment` and
:mod:`meshwg.packet.coalesce` turn them into packets and back. Kernels that know less
get less: first without UDP, then without any segmentation, then without the header.
"""

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Container, Sequence

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.packet import vnet
from meshwg.packet.coalesce import coalesce
from meshwg.packet.segment import segment

DEVICE = "/dev/net/tun"
MAX_NAME_LENGTH = 15
READ_SIZE = 65535 + vnet.HEADER.size

TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
TUNGETIFF = 0x800454D2
TUNSETVNETHDRSZ = 0x400454D8
SIOCSIFMTU = 0x8922

IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000

TUN_F_CSUM = 0x01
TUN_F_TSO4 = 0x02
TUN_F_TSO6 = 0x04
TUN_F_USO4 = 0x20
TUN_F_USO6 = 0x40

TCP_OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
OFFLOADS = (TCP_OFFLOADS | TUN_F_USO4 | TUN_F_USO6, TCP_OFFLOADS, 0)
"""What to ask the kernel for, best first: USO came with Linux 6.2."""

_IFREQ = struct.Struct("16sH22x")
_IFREQ_MTU = struct.Struct("16si20x")

GONE = (errno.EBADFD, errno.EBADF, errno.ENODEV, errno.ENXIO)


class TunGone(MeshError):
    """The interface was removed while this program used it."""


class TunDevice:
    """A TUN device, non-blocking.

    :param fd: an open TUN device, which this object closes.
    """

    def __init__(self, fd: int, name: str, has_vnet_header: bool) -> None:
        self.name = name
        self.malformed = 0
        """Superpackets from the kernel that made no sense."""
        self.dropped = 0
        """Packets that the kernel did not take."""
        self.local_addresses: Container[bytes] = frozenset()
        """This host's addresses, packed: only packets to them are written joined."""
        self._fd = fd
        self._has_vnet_header = has_vnet_header
        self._offloads = self._enable_offloads() if has_vnet_header else 0

    @classmethod
    def open(cls, name: str, mtu: int | None = None) -> "TunDevice":
        """Create the interface ``name``, or attach to a TUN device kept under it.

        :param mtu: in bytes, ``None`` for the system's choice.
        :raises ConfigError: if the name or the MTU cannot be had, or TUN devices.
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
            device = cls.from_fd(fd)
            if mtu is not None:
                device.set_mtu(mtu)
        except BaseException:
            os.close(fd)
            raise
        return device

    @classmethod
    def from_fd(cls, fd: int) -> "TunDevice":
        """Use a TUN device that another program opened and attached (WG_TUN_FD).

        :raises ConfigError: if the descriptor is not an attached TUN device.
        """
        request = bytearray(_IFREQ.size)
        try:
            fcntl.ioctl(fd, TUNGETIFF, request)
            os.set_blocking(fd, False)
        except OSError as error:
            raise ConfigError(
                f"File descriptor {fd} is not an open TUN device"
                f" ({os.strerror(error.errno or 0)}): pass one that is"
            ) from error
        name, flags = _IFREQ.unpack(request)
        return cls(fd, os.fsdecode(name.rstrip(b"\0")), bool(flags & IFF_VNET_HDR))

    def fileno(self) -> int:
        """Return the file descriptor, for the event loop."""
        return self._fd

    def close(self) -> None:
        """Close the device; the interface goes with it unless it is kept."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def set_mtu(self, mtu: int) -> None:
        """Set the interface's MTU, in bytes.

        :raises ConfigError: if the kernel does not accept it.
        """
        request = _IFREQ_MTU.pack(os.fsencode(self.name), mtu)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                fcntl.ioctl(sock, SIOCSIFMTU, request)
            except OSError as error:
                raise ConfigError(
                    f"The MTU of '{self.name}' cannot be {mtu}"
                    f" ({os.strerror(error.errno or 0)}): choose 1280 to 65535"
                ) from error

    def read(self) -> list[bytes] | None:
        """Return the packets of one read, ``None`` if there are none now.

        :raises TunGone: if the interface was removed.
        """
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return None
        except OSError as error:
            self._raise_if_gone(error)
            return None
        if not self._has_vnet_header:
            return [data]
        packets = segment(data)
        if not packets:
            self.malformed += 1
        return packets

    def write(self, packets: Sequence[bytes]) -> None:
        """Hand packets to the kernel; what it does not take is counted as dropped.

        :raises TunGone: if the interface was removed.
        """
        if self._has_vnet_header:
            udp = bool(self._offloads & TUN_F_USO4)
            writes = coalesce(packets, self.local_addresses, udp=udp)
        else:
            writes = [[packet] for packet in packets]
        for parts in writes:
            try:
                os.writev(self._fd, parts)
            except OSError as error:
                self._raise_if_gone(error)
                self.dropped += max(1, len(parts) - 1)

    def _enable_offloads(self) -> int:
        """Ask for the largest superpackets that this kernel makes, and return which."""
        fcntl.ioctl(self._fd, TUNSETVNETHDRSZ, struct.pack("=i", vnet.HEADER.size))
        for offloads in OFFLOADS:
            try:
                fcntl.ioctl(self._fd, TUNSETOFFLOAD, offloads)
            except OSError:
                continue
            return offloads
        return 0

    def _raise_if_gone(self, error: OSError) -> None:
        if error.errno in GONE:
            raise TunGone(f"The interface '{self.name}' was removed") from error


def _open_device() -> int:
    """Return a descriptor for a TUN device that has no interface yet."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError as error:
        raise NotPermitted(
            f"{DEVICE} may not be opened: run as root or with CAP_NET_ADMIN"
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
            f"The interface '{name}' may not be created: run as root or with"
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
