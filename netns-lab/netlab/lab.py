"""The lab itself: it makes machines, keeps track of them, and removes all of them."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from netlab import netns, registry, signals, wireguard
from netlab.errors import CommandFailed, LabError
from netlab.evidence import Evidence
from netlab.internet import Internet
from netlab.lan import Switch
from netlab.machine import Guest, Host, Machine, Request, Uplink
from netlab.nat import Behaviour
from netlab.netns import Namespace
from netlab.presets import HOME_ROUTER, Preset
from netlab.process import STOP_GRACE
from netlab.router import Router

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
PREFIX = re.compile(r"[a-z][a-z0-9]{0,19}")

M = TypeVar("M", bound=Machine)

_numbers = itertools.count(1)


class Lab:
    """An internet in namespaces that exists while its ``with`` block runs.

    Labs on one machine are isolated from each other. What a lab made is removed at the
    end of the block, however it ends; :meth:`clean` removes what a killed lab left.

    :param prefix: of the names of all its namespaces; unique by default.
    :param title: what ``netns-lab list`` shows.
    :param engine: the command that runs its plain WireGuard interfaces.
    :param record: whether to capture what crosses its internet, as evidence.
    """

    def __init__(
        self,
        prefix: str | None = None,
        title: str = "",
        engine: Sequence[str] = wireguard.MESHWG,
        *,
        record: bool = False,
    ) -> None:
        self.prefix = prefix or f"nl{os.getpid()}x{next(_numbers)}"
        if not PREFIX.fullmatch(self.prefix):
            raise LabError(
                f"{self.prefix!r} cannot be a prefix: up to 20 of a-z and 0-9."
            )
        self.title = title
        self.engine = engine
        self.evidence: Evidence | None = None
        self.machines: dict[str, Machine] = {}
        self._record = record
        self._is_registered = False
        self.keep_files = False
        """Whether logs and captures are kept; after a failure they always are."""
        self._cleanup = contextlib.ExitStack()
        self._signals = contextlib.ExitStack()
        self._internet: Internet | None = None
        self._subnets = itertools.count(1)

    def __enter__(self) -> Self:
        self._signals.enter_context(signals.exit_in_good_order())
        try:
            if os.geteuid() != 0:
                raise LabError(
                    "Only root can make network namespaces: run this as root."
                )
            self.directory = Path(tempfile.mkdtemp(prefix="netlab-"))
            """Logs, captures and files, one directory for each machine."""
            self._cleanup.callback(self._remove_files)
            with signals.postponed():
                # Ctrl-C may come between the record and the note of it.
                registry.register(self.prefix, self.directory, self.title)
                self._is_registered = True
        except BaseException:
            with signals.postponed():
                if self._is_registered:
                    self._remove_machines()
                self._cleanup.close()
            self._signals.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with signals.postponed():
                if kind is not None and issubclass(kind, Exception):
                    self.keep_files = True
                self._remove_machines()
                self._cleanup.close()
        finally:
            # After that block, whose end puts the lab's own handlers back.
            self._signals.close()

    @classmethod
    def clean(cls) -> list[str]:
        """Remove what killed runs left behind; return their prefixes."""
        return registry.clean()

    @property
    def internet(self) -> Internet:
        """The routed core with public addresses, made when it is first used."""
        if self._internet is None:
            self._internet = self._add("internet", Internet)
            self._internet.set_up()
            if self._record:
                self.evidence = Evidence(self._internet)
        return self._internet

    def add_host(
        self,
        name: str,
        uplink: Uplink,
        *,
        address: str | Iterable[str] = (),
        count4: int = 1,
        ipv6: bool = True,
    ) -> Host:
        """Make a host with one interface, ``eth0``, and a default route.

        :param address: one or several addresses that it must have; by default the next
            free ones.
        :param count4: how many IPv4 addresses it gets on the internet.
        :param ipv6: whether it gets IPv6 if its uplink has IPv6.
        """
        host = self._add(name, Host)
        wanted = (address,) if isinstance(address, str) else tuple(address)
        host.attach(uplink, request=Request(wanted, count4, ipv6))
        return host

    def adopt(self, name: str, namespace: Path, addresses: Iterable[str] = ()) -> Guest:
        """Take a network that another program made and removes, such as a pod's.

        :param namespace: a file that stands for it, such as ``/proc/PID/ns/net``.
        """
        guest = self._add(name, Guest, namespace)
        guest.given = tuple(addresses)
        return guest

    def defer(self, action: Callable[[], object]) -> None:
        """Do something once all machines of the lab are gone, however it ends."""
        self._cleanup.callback(action)

    def add_switch(
        self, name: str, subnet4: str | None = None, subnet6: str | None = None
    ) -> Switch:
        """Make a layer-2 segment without a router, such as a container bridge."""
        switch = self._add(name, Switch)
        switch.plug_together([each for each in (subnet4, subnet6) if each])
        return switch

    def add_router(
        self,
        name: str,
        kind: Preset | Behaviour = HOME_ROUTER,
        *,
        uplink: Uplink | None = None,
        subnet4: str | None = None,
    ) -> Router:
        """Make a router with a local network that hosts can have as their uplink.

        A preset of two NATs makes two routers: ``NAME-carrier`` is the outer one.

        :param uplink: by default the internet.
        :param subnet4: its local network, by default an unused one.
        """
        uplink = uplink or self.internet
        if isinstance(kind, Preset):
            if kind.carrier is not None:
                carrier = self._next_subnet("100.64.{}.0/24")
                uplink = self.add_router(
                    f"{name}-carrier", kind.carrier, uplink=uplink, subnet4=carrier
                )
            if kind.behaviour is None:
                raise LabError(f"The kind {kind.name} has no router to add.")
            kind = kind.behaviour
        router = self._add(name, Router)
        router.install(kind, uplink, subnet4 or self._next_subnet("192.168.{}.0/24"))
        return router

    def add_access(self, name: str, preset: Preset) -> Uplink:
        """Return the uplink that a preset describes: a new router, or the internet."""
        if preset.behaviour is None:
            return self.internet
        return self.add_router(name, preset)

    def machine(self, name: str) -> Machine:
        """Return a machine by its name.

        :raises LabError: naming those that exist.
        """
        try:
            return self.machines[name]
        except KeyError:
            known = ", ".join(sorted(self.machines)) or "none"
            raise LabError(f"No machine is named {name}; there are: {known}.") from None

    def host(self, name: str) -> Host:
        """Return a host by its name."""
        return self._of_kind(name, Host)

    def router(self, name: str) -> Router:
        """Return a router by its name."""
        return self._of_kind(name, Router)

    def _of_kind(self, name: str, kind: type[M]) -> M:
        machine = self.machine(name)
        if not isinstance(machine, kind):
            raise LabError(f"{name} is not a {kind.__name__.lower()}.")
        return machine

    def _add(self, name: str, kind: type[M], made: Path | None = None) -> M:
        if not NAME.fullmatch(name):
            raise LabError(f"{name!r} cannot be a name: up to 40 of a-z, 0-9 and '-'.")
        if name in self.machines:
            raise LabError(f"There is already a machine named {name}.")
        directory = self.directory / name
        full_name = f"{self.prefix}-{name}"
        netns.check_free(full_name)
        registry.add_namespace(self.prefix, full_name)
        if made is None:
            namespace = Namespace.create(full_name, directory / "run")
        else:
            namespace = Namespace.adopt(full_name, directory / "run", made)
        machine = kind(name, namespace, directory)
        self.machines[name] = machine
        return machine

    def _next_subnet(self, pattern: str) -> str:
        return pattern.format(next(self._subnets))

    def _remove_machines(self) -> None:
        record = registry.read(self.prefix)
        if record is None:
            return
        _stop(self.machines.values())
        registry.remove(record)
        self.machines.clear()

    def _remove_files(self) -> None:
        if self.keep_files:
            print(f"Logs and captures are in {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def _stop(machines: Iterable[Machine]) -> None:
    """Stop all processes together, then the captures, so that these see them stop."""
    processes = [each for machine in machines for each in machine.processes()]
    for process in processes:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_GRACE
    for process in processes:
        with contextlib.suppress(CommandFailed):
            process.wait(max(0.0, deadline - time.monotonic()))
        process.kill()
    for machine in machines:
        with contextlib.suppress(LabError):
            machine.close()
