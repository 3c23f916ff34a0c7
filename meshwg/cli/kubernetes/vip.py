"""``meshwg-k8s vip``: an address that is always where the service works."""

import asyncio
import logging
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshwg.cli.client import DaemonClient, control_socket_option
from meshwg.errors import ConfigError
from meshwg.kubernetes.election import LeaseRecord, LeaseTaken, Timing
from meshwg.kubernetes.fitness import parse_target
from meshwg.kubernetes.floatingaddress import IPAddress, parse_addresses, routes_of

if TYPE_CHECKING:
    from meshwg.runtime.kubernetes.vip import LeaseStore

LOOPBACK = "lo"
PATIENCE = 2.0
"""Seconds to wait for the node on this machine."""
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


@click.command(context_settings={"auto_envvar_prefix": "MESHWG_VIP"})
@click.option(
    "--address",
    "addresses",
    multiple=True,
    required=True,
    metavar="ADDRESS",
    help="The floating address, IPv4 or IPv6; several come and go together.",
)
@click.option(
    "--lease",
    default="kube-system/meshwg-vip",
    show_default=True,
    metavar="NAMESPACE/NAME",
    help="The Lease whose holder has the address.",
)
@click.option(
    "--arbiter",
    type=click.Choice(["kubernetes", "coordinator"]),
    default="kubernetes",
    show_default=True,
    help="Who keeps the lease: the API server, or the mesh's coordinator.",
)
@click.option(
    "--check",
    metavar="URL",
    help="What has to work here: tcp://HOST:PORT, or https://127.0.0.1:6443/livez.",
)
@click.option("--interface", metavar="NAME", help="Has the address. Default: lo.")
@click.option(
    "--lan",
    metavar="NAME",
    help="Announce it on this link, too (ARP, NDP), and put it there.",
)
@click.option(
    "--mesh/--no-mesh",
    default=True,
    help="Whether the node here announces it to the mesh. Default: it does.",
)
@click.option("--kubeconfig", metavar="FILE", help="Default: as kubectl finds it.")
@click.option("--api-server", metavar="URL", help="Of the API server, if another.")
@click.option("--name", metavar="NAME", help="Of this machine. Default: the host's.")
@click.option(
    "--lease-duration",
    type=float,
    default=4.0,
    show_default=True,
    metavar="SECONDS",
    help="Without a renewal, after which others take the address.",
)
@click.option(
    "--renew-deadline",
    type=float,
    default=2.5,
    show_default=True,
    metavar="SECONDS",
    help="Without a renewal, after which it is given up here.",
)
@click.option(
    "--retry",
    type=float,
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Between two renewals.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@control_socket_option
def vip(addresses: tuple[str, ...], log_level: str, **options: Any) -> None:
    """Have a floating address on this machine while it holds a lease.

    Run it on several machines: one of them has the address, and announces it as a route
    to the mesh. Where --check fails it goes to another one. An administrator approves
    the address once for each machine: 'meshwg-coordinator route approve NODE PREFIX',
    or a line in the policy.
    """
    floating = parse_addresses(addresses)
    timing = Timing(
        options["lease_duration"], options["renew_deadline"], options["retry"]
    )
    timing.check()
    logging.basicConfig(
        level=log_level.upper(),
        format="%(levelname)s: %(message)s" if sys.stderr.isatty() else _FORMAT,
        stream=sys.stderr,
    )
    for noisy in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    asyncio.run(_run(floating, timing, options))


def parse_lease(text: str) -> tuple[str, str]:
    """Return the namespace and the name of a Lease.

    :raises ConfigError: if the text has another form.
    """
    namespace, _, name = text.partition("/")
    for part in (namespace, name):
        plain = part.replace("-", "").replace(".", "")
        if not (plain.isascii() and plain.isalnum() and part == part.lower()):
            raise ConfigError(
                f"--lease {text} names no Lease: write NAMESPACE/NAME, such as "
                "kube-system/meshwg-vip"
            )
    return namespace, name


class DaemonAnnouncer:
    """Has the node on this machine announce the addresses."""

    def __init__(self, client: DaemonClient, addresses: Sequence[IPAddress]) -> None:
        self._client = client
        self._routes = routes_of(addresses)

    async def hold(self, seconds: int) -> str | None:
        """Have them told for so long from now on; return why they are not."""
        return await asyncio.to_thread(self._hold, seconds)

    async def release(self) -> None:
        """Have them told no more."""
        await asyncio.to_thread(self._release)

    def _hold(self, seconds: int) -> str | None:
        why = None
        for each in self._routes:
            body = {"route": each, "seconds": seconds}
            shown = self._client.post("/v1/routes/hold", body)
            if shown["state"] == "refused" or _waits(shown):
                why = (
                    f"The mesh is not told of {shown['prefix']}: {shown['reason']}; "
                    "approve it with 'meshwg-coordinator route approve'"
                )
        return why

    def _release(self) -> None:
        for each in self._routes:
            prefix = each.partition(",")[0]
            self._client.post("/v1/routes/remove", {"route": prefix})


class CoordinatorLeases:
    """The lease of an address, which the mesh's coordinator keeps.

    :param client: of the node on this machine, through which it is asked.
    """

    def __init__(self, client: DaemonClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def read(self) -> LeaseRecord | None:
        """Return the record, ``None`` if there is none."""
        found = await self._ask({})
        return None if found["version"] == 0 else _record(found)

    async def write(self, record: LeaseRecord) -> LeaseRecord:
        """Store a record in place of the version that it names."""
        term = {
            "holder": record.holder,
            "duration": record.duration,
            "transitions": record.transitions,
        }
        found = await self._ask({"base": int(record.version or 0), "term": term})
        if not found["written"]:
            raise LeaseTaken
        return _record(found)

    async def close(self) -> None:
        """Nothing stays open."""

    async def _ask(self, more: dict[str, Any]) -> dict[str, Any]:
        body = {"prefix": self._prefix, **more}
        return await asyncio.to_thread(self._client.post, "/v1/lease", body)


def _record(found: dict[str, Any]) -> LeaseRecord:
    return LeaseRecord(
        found["holder"], found["duration"], found["transitions"], str(found["version"])
    )


def _waits(shown: dict[str, Any]) -> bool:
    """Tell whether somebody has to approve, and not just the coordinator to answer."""
    from meshwg.node.approvals import NOT_SAID

    return bool(shown["state"] == "advertised" and shown["reason"] != NOT_SAID)


async def _run(
    floating: tuple[IPAddress, ...], timing: Timing, options: dict[str, Any]
) -> None:
    from meshwg.runtime.kubernetes.kerneladdresses import KernelAddresses
    from meshwg.runtime.kubernetes.lanannouncer import LanAnnouncer
    from meshwg.runtime.kubernetes.servicecheck import ServiceCheck
    from meshwg.runtime.kubernetes.vip import VipProgram

    lease = parse_lease(options["lease"])
    client = DaemonClient(options["control_socket"], PATIENCE)
    interface = options["interface"] or options["lan"] or LOOPBACK
    name = options["name"] or socket.gethostname()
    check = None if options["check"] is None else parse_target(options["check"])
    lan = None if options["lan"] is None else LanAnnouncer(options["lan"], floating)
    try:
        store = _store(lease, floating, client, options)
        program = VipProgram(
            f"{name}_{secrets.token_hex(4)}",
            timing,
            store,
            KernelAddresses(interface, floating),
            route=DaemonAnnouncer(client, floating) if options["mesh"] else None,
            lan=lan,
            check=None if check is None else ServiceCheck(check),
        )
        await program.run(_until_stopped())
    finally:
        if lan is not None:
            lan.close()


def _store(
    lease: tuple[str, str],
    floating: Sequence[IPAddress],
    client: DaemonClient,
    options: dict[str, Any],
) -> "LeaseStore":
    """Return where the lease is kept.

    :raises ConfigError: if a package is missing for that.
    """
    if options["arbiter"] == "coordinator":
        return CoordinatorLeases(client, routes_of(floating)[0].partition(",")[0])
    try:
        from meshwg.runtime.kubernetes.api import ApiAccess
        from meshwg.runtime.kubernetes.leasestore import KubernetesLeases
    except ModuleNotFoundError as error:
        from meshwg.cli.kubernetes.group import missing

        raise missing(error) from None
    kubeconfig = options["kubeconfig"]
    path = None if kubeconfig is None else Path(kubeconfig)
    access = ApiAccess(path, options["api_server"])
    return KubernetesLeases(access, *lease)


def _until_stopped() -> asyncio.Event:
    """Return what is set when the program is asked to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
