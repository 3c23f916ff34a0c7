"""What the agent reads and writes on the machine: network lists, rules, forwarding."""

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path

from meshwg.errors import ConfigError, MeshError, NotPermitted
from meshwg.kubernetes.masquerade import removal
from meshwg.kubernetes.networklist import FILE
from meshwg.kubernetes.verdict import MachineView, PodNetwork
from meshwg.runtime.nft import nft
from meshwg.runtime.rtnetlink import remove_address, take_snapshot

FORWARDING = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)
_ROUTER_ADVERTISEMENTS = Path("/proc/sys/net/ipv6/conf")
_POD_END = re.compile(r"veth[0-9a-f]{8}")
"""As the bridge plugin calls the node's end of a pod's interface."""
_LOOPBACK = "lo"


class PodMachine:
    """One machine as the pods' network needs it.

    :param directory: of the network lists.
    :param bridge: that the pods are on.
    :param interface: the mesh's.
    :param replaces: names of lists that are put aside while there is one of ours.
    """

    def __init__(
        self,
        directory: Path,
        bridge: str,
        interface: str,
        replaces: Sequence[str] = (),
    ) -> None:
        self._directory = directory
        self._replaces = tuple(replaces)
        self._bridge = bridge
        self._interface = interface

    def is_inside(self, name: str) -> bool:
        """Tell whether an interface is the pods' or the mesh's own."""
        own = (self._bridge, self._interface)
        return name in own or _POD_END.fullmatch(name) is not None

    def look(self) -> MachineView:
        """Return what is there beside that."""
        snapshot = take_snapshot()
        names = {each.number: each.name for each in snapshot.links}
        networks = {
            str(each.interface.network): None
            for each in snapshot.addresses
            if (name := names.get(each.link)) is not None
            if name != _LOOPBACK and not self.is_inside(name)
            if not each.interface.is_link_local
        }
        return MachineView(tuple(sorted(networks)), tuple(sorted(self._files())))

    def _files(self) -> list[str]:
        try:
            return os.listdir(self._directory)
        except OSError:
            return []

    async def configure(self, network: PodNetwork) -> None:
        """Have a network list and rules: first the rules, as pods start by the list.

        :raises MeshError: if the system refuses; there is neither then.
        """
        try:
            await nft(network.rules)
        except ConfigError as error:
            await self.unconfigure()
            raise MeshError(
                f"Pods cannot be masqueraded ({error}): install nftables, and run the "
                "agent privileged"
            ) from None
        try:
            await asyncio.to_thread(self._write, network.network_list)
        except OSError as error:
            await self.unconfigure()
            raise MeshError(
                f"The network list {self._directory / FILE} cannot be written "
                f"({error.strerror}): mount that directory into the pod, or name the "
                "one that kubelet's runtime reads with --cni-dir"
            ) from None
        await asyncio.to_thread(self._leave_former, network.pod_networks)

    def _leave_former(self, pod_networks: Sequence[str]) -> None:
        """Take from the bridge what it has of pod networks that the node had before.

        The bridge plugin adds addresses of IPv6 and leaves the others, so pods of the
        node that has such a network now could not be reached from here.
        """
        kept = [ip_network(each) for each in pod_networks]
        with contextlib.suppress(OSError):
            snapshot = take_snapshot()
            own = [link.number for link in snapshot.links if link.name == self._bridge]
            for each in snapshot.addresses:
                address = each.interface
                is_former = not address.is_link_local and address.network not in kept
                if each.link in own and is_former:
                    remove_address(each.link, address)

    async def unconfigure(self) -> bool:
        """Have neither; return whether there was a list."""
        had_list = (self._directory / FILE).exists()
        with contextlib.suppress(OSError):
            (self._directory / FILE).unlink(missing_ok=True)
            for name in self._replaces:
                _move(self._aside(name), self._directory / name)
        with contextlib.suppress(ConfigError):
            await nft(removal())
        return had_list

    def _write(self, text: str) -> None:
        path = self._directory / FILE
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == text:
                return
        self._directory.mkdir(parents=True, exist_ok=True)
        # Runtimes look at names with these endings, and may do so at any moment.
        new = self._directory / f".{FILE}.new"
        new.write_text(text)
        for name in self._replaces:
            _move(self._directory / name, self._aside(name))
        new.replace(path)

    def _aside(self, name: str) -> Path:
        """Return where a list is kept that ours is in place of."""
        return self._directory / f".{name}.replaced"


def forward() -> None:
    """Have the system forward packets of pods, as every node of a cluster does.

    :raises NotPermitted: if it does not let itself be told.
    """
    try:
        for setting in _ROUTER_ADVERTISEMENTS.glob("*/accept_ra"):
            # A system that forwards would ignore them, and lose its IPv6 address.
            _change(setting, "1", "2")
        for setting in FORWARDING:
            _change(setting, "0", "1")
    except OSError as error:
        raise NotPermitted(
            f"Forwarding cannot be switched on ({error.strerror}): run the agent as a "
            "privileged pod, or set net.ipv4.ip_forward=1 on the machine"
        ) from None


def _move(old: Path, new: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        old.replace(new)


def _change(setting: Path, before: str, after: str) -> None:
    if setting.exists() and setting.read_text().strip() == before:
        setting.write_text(after)
