"""Floating addresses on an interface, for as long as the kernel is told."""

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_interface

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.kubernetes.floatingaddress import IPAddress
from meshwg.routing import IPInterface
from meshwg.runtime import rtnetlink
from meshwg.runtime.rtnetlink import IFA_F_PERMANENT


class KernelAddresses:
    """The floating addresses of one interface of this machine, at first without them.

    :raises NotPermitted: without the right to change addresses.
    :raises ConfigError: if there is no such interface, or the machine has one of the
        addresses for good.
    """

    def __init__(self, interface: str, addresses: Sequence[IPAddress]) -> None:
        try:
            self._index = socket.if_nametoindex(interface)
        except OSError:
            raise ConfigError(
                f"There is no interface {interface}: name one with --interface that "
                "'ip link' shows"
            ) from None
        self._interface = interface
        self._wanted = [_alone(each) for each in addresses]
        permanent = {
            each.interface.ip
            for each in rtnetlink.addresses()
            if each.flags & IFA_F_PERMANENT
        }
        for address in addresses:
            if address in permanent:
                raise ConfigError(
                    f"{address} is an address of this machine for good: remove it "
                    "where it is set, since a floating one comes and goes"
                )
        # One that was killed may have left them, and this shows what is permitted.
        self.remove()

    def have(self, seconds: int) -> None:
        """Have the addresses for so long from now on, if nothing else is said.

        :raises MeshError: if the kernel refuses it.
        """
        for each in self._wanted:
            try:
                rtnetlink.add_address(self._index, each, seconds=seconds)
            except OSError as error:
                raise self._refusal(each, error) from None

    def remove(self) -> None:
        """Have none of them, of those that are there.

        :raises MeshError: if the kernel refuses it.
        """
        failed: MeshError | None = None
        for each in self._wanted:
            try:
                rtnetlink.remove_address(self._index, each)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                    failed = self._refusal(each, error)
        if failed is not None:
            raise failed

    def _refusal(self, address: IPInterface, error: OSError) -> MeshError:
        if error.errno in (errno.EPERM, errno.EACCES):
            return NotPermitted(
                "A floating address is put on an interface: run as root, or with "
                "CAP_NET_ADMIN"
            )
        return MeshError(
            f"The system refuses {address.ip} on {self._interface} ({error.strerror}): "
            "choose another --interface"
        )


def _alone(address: IPAddress) -> IPInterface:
    """Return an address as the only one of its network."""
    return ip_interface((address, address.max_prefixlen))
