"""Tells the machines on a link that a floating address is here now."""

import socket
from collections.abc import Sequence

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.kubernetes.floatingaddress import IPAddress
from meshwg.packet.neighbours import MAC_LENGTH, announcements

_ARPHRD_ETHER = 1


class LanAnnouncer:
    """Announces on one Ethernet interface.

    :raises ConfigError: if it is none.
    :raises NotPermitted: without the right to send frames there.
    """

    def __init__(self, interface: str, addresses: Sequence[IPAddress]) -> None:
        try:
            self._socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK
            )
        except PermissionError:
            raise NotPermitted(
                "Announcing on a link needs frames of one's own: run as root, or with "
                "CAP_NET_RAW"
            ) from None
        try:
            self._socket.bind((interface, 0))
            _, _, _, kind, mac = self._socket.getsockname()
        except OSError as error:
            self._socket.close()
            raise ConfigError(
                f"Nothing can be announced on {interface} ({error.strerror}): name an "
                "interface that 'ip link' shows with --lan"
            ) from None
        if kind != _ARPHRD_ETHER or len(mac) != MAC_LENGTH:
            self._socket.close()
            raise ConfigError(
                f"{interface} is no Ethernet, and so has no neighbours to tell: leave "
                "--lan out"
            )
        self._frames = [
            frame for each in addresses for frame in announcements(each, bytes(mac))
        ]

    def announce(self) -> None:
        """Tell all once.

        :raises MeshError: if the link does not take it.
        """
        try:
            for frame in self._frames:
                self._socket.send(frame)
        except OSError as error:
            raise MeshError(
                f"The link does not take announcements ({error.strerror}): see whether "
                "it is up"
            ) from None

    def close(self) -> None:
        """Announce no more."""
        self._socket.close()
