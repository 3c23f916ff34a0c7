"""Machines: what has its own network in a lab, and what can be done on it."""

import itertools
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from subprocess import CompletedProcess
from typing import Protocol, TypeVar

from netlab import links
from netlab.capture import Capture
from netlab.errors import LabError, NotReady
from netlab.links import Port
from netlab.netns import Namespace
from netlab.process import POLL, RUN_TIMEOUT, Arguments, Process, run

T = TypeVar("T")

REACHABLE_WITHIN = 30.0
"""Seconds that an address has to answer a ping."""
READY_WITHIN = 30.0

QUIET = {
    # Addresses can be used at once, and there are none but those the lab assigns.
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.all.accept_ra": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    # A link that goes down keeps its addresses, as in IPv4.
    "net.ipv6.conf.all.keep_addr_on_down": 1,
    "net.ipv6.conf.default.keep_addr_on_down": 1,
    # The rules of routers do not apply to bridged packets.
    "net.bridge.bridge-nf-call-iptables": 0,
    "net.bridge.bridge-nf-call-ip6tables": 0,
}
FORWARDING = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}


class Machine:
    """A namespace with its links, processes and files."""

    def __init__(self, name: str, namespace: Namespace, directory: Path) -> None:
        self.name = name
        self.namespace = namespace
        self.directory = directory
        """For files, logs and captures of this machine."""
        self.attachments: dict[str, Attachment] = {}
        """Its links to other machines, by the name of its interface."""
        self._processes: list[Process] = []
        self._captures: list[Capture] = []
        self._sockets: list[socket.socket] = []
        self._numbers = itertools.count(1)
        namespace.set_sysctl(QUIET)
        links.ip(namespace, "link set lo up")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @property
    def netns(self) -> str:
        """The name of its namespace, for ``ip netns exec``."""
        return self.namespace.name

    @property
    def first_interface(self) -> str:
        """The interface that is used if none is named."""
        return next(iter(self.attachments), "lo")

    def run(
        self,
        arguments: Arguments,
        *,
        check: bool = True,
        timeout: float = RUN_TIMEOUT,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> CompletedProcess[str]:
        """Run a command here to completion and return what it printed.

        :raises CommandFailed: if it fails (while ``check``) or takes too long.
        """
        return run(
            self.namespace,
            arguments,
            check=check,
            timeout=timeout,
            stdin=stdin,
            env=env,
            cwd=cwd,
        )

    def popen(
        self,
        arguments: Arguments,
        *,
        log: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a program here that keeps running until the lab ends.

        :param log: the name of its log file in :attr:`directory`.
        """
        if log is None:
            log = f"{Path(arguments[0]).name}-{next(self._numbers)}.log"
        process = Process(self.namespace, arguments, self.directory / log, env, cwd)
        self._processes.append(process)
        return process

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in a thread inside the namespace, and return its result."""
        return self.namespace.call(function)

    def ping(self, address: str, within: float = REACHABLE_WITHIN) -> None:
        """Send echo requests until one is answered.

        :raises NotReady: if there is no answer within that many seconds.
        """
        request = ["ping", "-n", "-c", "1", "-W", "1", address]
        self.wait_until(
            lambda: self.run(request, check=False).returncode == 0,
            f"{address} answers pings",
            within,
        )

    def wait_until(
        self, condition: Callable[[], bool], what: str, within: float = READY_WITHIN
    ) -> None:
        """Poll until a condition holds.

        :param what: the condition in words, for the error.
        :raises NotReady: if it does not hold within that many seconds.
        """
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                raise NotReady(
                    f"{self.name}: it is not true within {within:g} s that {what}."
                )
            time.sleep(POLL)

    def capture(
        self,
        interface: str | None = None,
        filter: str = "",
        *,
        length: int = 0,
        limit: int | None = None,
    ) -> Capture:
        """Capture an interface, by default the first; return once the capture runs.

        :param filter: in the language of ``pcap-filter(7)``.
        :param length: how many bytes are kept of each frame, 0 for all.
        :param limit: the number of frames after which it stops by itself.
        """
        interface = interface or self.first_interface
        path = self.directory / f"{interface}-{next(self._numbers)}.pcap"
        capture = Capture(
            self.namespace, interface, path, filter, length=length, limit=limit
        )
        self._captures.append(capture)
        return capture

    def udp_socket(self, address: str = "0.0.0.0", port: int = 0) -> socket.socket:
        """Return a bound UDP socket in the namespace; the lab closes it at its end."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self.call(lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._sockets.append(made)
        made.bind((address, port))
        return made

    def take_own_etc(self) -> Path:
        """Give what is started here from now on a copy of ``/etc``; return it."""
        etc = self.namespace.etc_directory
        shutil.copytree("/etc", etc, symlinks=True)
        return etc

    def write_file(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file into :attr:`directory` and return its path."""
        path = self.directory / name
        path.touch(mode)
        path.write_text(text)
        return path

    def addresses(self, version: int) -> list[str]:
        """Return its addresses of IP version 4 or 6, in the order of assignment."""
        return [
            address
            for attachment in self.attachments.values()
            for address in attachment.addresses
            if ip_address(address).version == version
        ]

    def address(self, version: int = 4) -> str:
        """Return its first address of IP version 4 or 6."""
        found = self.addresses(version)
        if not found:
            raise LabError(f"{self.name} has no IPv{version} address.")
        return found[0]

    def set_link(self, up: bool, interface: str | None = None) -> None:
        """Set a link (the first by default) down at this end, or up again.

        Addresses are kept. The kernel drops the routes through a link that is down, so
        they are added again.
        """
        attachment = self._attachment(interface)
        links.set_up(attachment.port, up)
        if up:
            links.ip(self.namespace, *attachment.routes)

    def detach(self, interface: str | None = None) -> None:
        """Remove a link with its addresses."""
        attachment = self._attachment(interface)
        attachment.uplink.release(attachment)
        links.unplug(attachment.port)
        del self.attachments[attachment.port.interface]

    def processes(self) -> Iterator[Process]:
        """Yield the processes that were started here and still run."""
        return (each for each in self._processes if each.returncode is None)

    def close(self) -> None:
        """Close its sockets and captures, without losing a captured packet."""
        for each in self._sockets:
            each.close()
        for capture in self._captures:
            capture.stop()

    def _attachment(self, interface: str | None) -> "Attachment":
        interface = interface or self.first_interface
        try:
            return self.attachments[interface]
        except KeyError:
            raise LabError(f"{self.name} has no interface {interface}.") from None


@dataclass(slots=True)
class Attachment:
    """A machine's link to its uplink: one veth pair."""

    uplink: "Uplink"
    port: Port
    """The machine's end."""
    far: Port
    """The uplink's end."""
    addresses: list[str]
    """The machine's addresses here, without prefix lengths."""
    routes: list[str]
    """The ``ip`` commands that give the machine its routes through this link."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a machine asks of its uplink."""

    addresses: tuple[str, ...] = ()
    """These addresses; if empty, the next free ones."""
    count4: int = 1
    """How many IPv4 addresses, if none are named."""
    ipv6: bool = True
    """Whether it wants IPv6, if the uplink has it."""
    routable: bool = False
    """Whether it needs IPv4 addresses that are not reserved for documentation."""


class Uplink(Protocol):
    """What a machine can be attached to: the internet, a router or a switch."""

    def attach(
        self, machine: Machine, interface: str, request: Request
    ) -> Attachment: ...

    def release(self, attachment: Attachment) -> None: ...


class Host(Machine):
    """An end system with an uplink and a default route, which runs programs."""

    def attach(
        self, uplink: Uplink, interface: str = "eth0", request: Request | None = None
    ) -> Attachment:
        """Attach the host by its first interface, or by another one."""
        attachment = uplink.attach(self, interface, request or Request())
        self.attachments[interface] = attachment
        return attachment

    def move_to(self, uplink: Uplink, request: Request | None = None) -> Attachment:
        """Roam: replace the first uplink by another one; processes keep running."""
        interface = self.first_interface
        self.detach(interface)
        return self.attach(uplink, interface, request)


class Guest(Host):
    """A host whose network another program has made and removes, such as a pod."""

    interface = "eth0"
    given: tuple[str, ...] = ()
    """Its addresses, as that program says."""

    @property
    def first_interface(self) -> str:
        return self.interface

    def addresses(self, version: int) -> list[str]:
        return [each for each in self.given if ip_address(each).version == version]
