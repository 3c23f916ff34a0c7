"""coturn: a STUN server with two addresses, and its tool for NAT discovery.

These are other people's programs, so that neither the lab nor meshwg judges itself.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from meshwg.nattypes import Filtering, Mapping
from netlab.machine import Machine
from netlab.process import Process

V = TypeVar("V")

PORT = 3478
DISCOVERY_TIMEOUT = 120.0
"""Seconds; the tool gives up after three per unanswered request."""

_MAPPINGS = {
    "NAT with Endpoint Independent Mapping!": Mapping.ENDPOINT_INDEPENDENT,
    "NAT with Address Dependent Mapping!": Mapping.ADDRESS_DEPENDENT,
    "NAT with Address and Port Dependent Mapping!": (
        Mapping.ADDRESS_AND_PORT_DEPENDENT
    ),
}
_FILTERINGS = {
    "NAT with Endpoint Independent Filtering!": Filtering.ENDPOINT_INDEPENDENT,
    "NAT with Address Dependent Filtering!": Filtering.ADDRESS_DEPENDENT,
    "NAT with Address and Port Dependent Filtering!": (
        Filtering.ADDRESS_AND_PORT_DEPENDENT
    ),
}
_NO_NAT = "No NAT!"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The result of a discovery (RFC 5780), ``None`` where no answer came."""

    mapping: Mapping | None
    filtering: Filtering | None
    hairpinning: bool


def start(server: Machine, options: Iterable[str] = ()) -> Process:
    """Start coturn on all IPv4 addresses of a machine; return once it listens.

    :param options: further options of ``turnserver``, for example to make it a relay.
    """
    addresses = server.addresses(4)
    # Only with --verbose does it report when it listens.
    fixed = "-n --verbose --log-file=stdout --simple-log --no-cli --no-tls --no-dtls"
    listeners = [f"--listening-ip={address}" for address in addresses]
    arguments = ["turnserver", *fixed.split(), "--pidfile=/run/turnserver.pid"]
    process = server.popen([*arguments, *listeners, *options], log="turnserver.log")
    for address in addresses:
        for port in (PORT, PORT + 1) if len(addresses) > 1 else (PORT,):
            process.wait_for_line(f"UDP listener opened on: {address}:{port}")
    return process


def discover(client: Machine, server: Machine) -> Discovery:
    """Discover the NAT between two machines with ``turnutils_natdiscovery``.

    Its tests wait for answers that never come, so they run at the same time, each from
    its own port.
    """

    def ask(test: str) -> str:
        arguments = ["turnutils_natdiscovery", test, "-L", client.address(4)]
        arguments.append(server.address(4))
        done = client.run(arguments, check=False, timeout=DISCOVERY_TIMEOUT)
        return done.stdout + done.stderr

    with ThreadPoolExecutor(3) as pool:
        mapping, filtering, hairpinning = pool.map(ask, ("-m", "-f", "-H"))
    return Discovery(
        Mapping.NONE if _NO_NAT in mapping else _last_of(_MAPPINGS, mapping),
        _last_of(_FILTERINGS, filtering),
        "Received a request" in hairpinning,
    )


def _last_of(verdicts: dict[str, V], report: str) -> V | None:
    """Return the meaning of the last line of a report that is a verdict."""
    for line in reversed(report.splitlines()):
        if line in verdicts:
            return verdicts[line]
    return None
