"""What meshwg says of a NAT is what coturn's and Debian's programs say of it.

Both sides are crossed: our client asks coturn, other people's clients ask our server,
behind every kind of router that the lab can build.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshwg.nattypes import Filtering, Mapping, NatType
from netlab import coturn, presets
from netlab.coturn import Discovery
from netlab.lab import Lab
from netlab.machine import Machine
from netlab.nat import Behaviour
from tests.interop.stun_server import READY

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parent.parent.parent
PORT = 3478
RATE = 1000
AT_ONCE = 6
"""Clients of ours that run side by side: each is a Python of its own."""

CLASSIC = {
    "Open": NatType.OPEN_INTERNET,
    "Independent Mapping, Independent Filter": NatType.FULL_CONE,
    "Independent Mapping, Address Dependent Filter": NatType.RESTRICTED_CONE,
    "Independent Mapping, Port Dependent Filter": NatType.PORT_RESTRICTED_CONE,
    "Dependent Mapping": NatType.SYMMETRIC,
    "Firewall": NatType.SYMMETRIC_UDP_FIREWALL,
    "Blocked or could not reach STUN server": NatType.UDP_BLOCKED,
}
MAPPINGS = {
    Mapping.NONE: "none",
    Mapping.ENDPOINT_INDEPENDENT: "EIM",
    Mapping.ADDRESS_DEPENDENT: "ADM",
    Mapping.ADDRESS_AND_PORT_DEPENDENT: "APDM",
    Mapping.UNKNOWN: "?",
}
FILTERINGS = {
    Filtering.ENDPOINT_INDEPENDENT: "EIF",
    Filtering.ADDRESS_DEPENDENT: "ADF",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "APDF",
    Filtering.UNKNOWN: "?",
}

Cell = tuple[Mapping, Filtering]


@dataclass(frozen=True, slots=True)
class Row:
    """What every program says of one kind of router."""

    ours_of_coturn: dict[str, Any]
    """Our client's report, from coturn's answers."""
    ours_of_ours: dict[str, Any]
    coturns_of_coturn: Cell
    """What coturn's client says, from coturn's answers."""
    coturns_of_ours: Cell
    stuns_of_ours: NatType
    """What the client of RFC 3489 says, from our answers."""

    @property
    def cells(self) -> list[Cell]:
        """All four judgements by RFC 5780."""
        mapping, filtering = self.coturns_of_ours
        if self.coturns_of_coturn[0] is Mapping.ADDRESS_DEPENDENT:
            # coturn's client goes on with the OTHER-ADDRESS of the latest answer. Our
            # second address names the first one there, as RFC 5780 section 7.4 wants,
            # so the client compares two addresses where it means two ports.
            assert mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT
            mapping = Mapping.ADDRESS_DEPENDENT
        return [
            _cell(self.ours_of_coturn),
            _cell(self.ours_of_ours),
            self.coturns_of_coturn,
            (mapping, filtering),
        ]


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, Row]]:
    """What is measured behind every kind of router, in one lab."""
    with Lab(title="nat-discovery") as lab:
        theirs = lab.add_host("theirs", lab.internet, count4=2)
        coturn.start(theirs)
        ours = lab.add_host("ours", lab.internet, count4=2)
        start_our_server(ours)
        hosts = [
            lab.add_host(f"{name}-host", lab.add_access(name, preset))
            for name, preset in presets.ALL.items()
        ]

        # Other people's programs mostly wait. Ours run after them, since a foreign
        # mapping in between would blur the sequence of ports.
        with ThreadPoolExecutor(3 * len(hosts)) as pool:
            of_coturn = pool.map(lambda host: coturn.discover(host, theirs), hosts)
            of_ours = pool.map(lambda host: coturn.discover(host, ours), hosts)
            classics = pool.map(lambda host: classic(host, ours), hosts)
            others = list(zip(of_coturn, of_ours, classics, strict=True))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            reports = pool.map(
                lambda host: (netcheck(host, theirs), netcheck(host, ours)), hosts
            )
            measured = zip(presets.ALL, reports, others, strict=True)
            yield {
                name: Row(*report, judged(first), judged(second), classic_type)
                for name, report, (first, second, classic_type) in measured
            }


@pytest.mark.parametrize("name", presets.ALL)
def test_all_programs_agree_with_either_server(name: str, rows: dict[str, Row]) -> None:
    row = rows[name]

    assert row.cells == [row.coturns_of_coturn] * 4
    for report in (row.ours_of_coturn, row.ours_of_ours):
        assert report["ipv4"]["type"] == row.stuns_of_ours.value


@pytest.mark.parametrize("name", presets.ALL)
def test_the_ports_are_given_out_as_the_router_was_told_to(
    name: str, rows: dict[str, Row]
) -> None:
    behaviour = presets.ALL[name].behaviour
    nat = rows[name].ours_of_coturn["ipv4"]

    if name == "sequential":
        assert (nat["port_allocation"], nat["port_delta"]) == ("sequential", 1)
    elif name in ("office", "two-addresses", "double-symmetric", "cloud"):
        assert nat["port_allocation"] == "random"
    elif nat["reachable"]:
        assert behaviour is None or nat["port_allocation"] in ("preserving", "random")


def test_the_table_of_all_programs_is_recorded(
    rows: dict[str, Row], record_property: Callable[[str, object], None]
) -> None:
    header = ["KIND", "OURS", "COTURN'S", "STUN'S", "AGREE"]
    lines = [header]
    for name, row in rows.items():
        ours, theirs = _text(row.cells[0]), _text(row.coturns_of_coturn)
        agree = len(set(row.cells)) == 1
        classic_name = row.stuns_of_ours.value
        agree = agree and row.ours_of_coturn["ipv4"]["type"] == classic_name
        lines.append([name, ours, theirs, classic_name, "yes" if agree else "NO"])
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]

    rows_of_text = (
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    table = "\n".join(text.rstrip() for text in rows_of_text)

    record_property("table", table)
    assert {line[-1] for line in lines[1:]} == {"yes"}


def test_blocked_udp_is_reported_as_blocked(lab: Lab) -> None:
    router = lab.add_router("blocked", presets.UDP_BLOCKED)
    host = lab.add_host("host", router)
    server = lab.add_host("server", lab.internet)
    start_our_server(server)

    report = netcheck(host, server)

    assert report["udp"] is False
    assert report["servers"][0]["error"] == "no answer"
    assert "relay over TCP" in report["verdict"]


def test_the_stun_client_of_coturn_gets_every_rfc_5780_answer(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet, count4=2)
    start_our_server(server)
    client = lab.add_host("client", lab.internet)
    first, second = server.addresses(4)

    output = client.run(["turnutils_stunclient", first]).stdout

    origins = re.findall(r"Response origin: : (\S+)", output)
    assert origins[0] == f"{first}:{PORT}"
    assert origins[-1] == f"{second}:{PORT + 1}"
    assert f"Other addr: : {second}:{PORT + 1}" in output
    assert f"UDP reflexive addr: {client.address(4)}" in output


def test_one_server_address_is_enough_for_what_depends_on_the_port(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet)
    start_our_server(server)
    office = lab.add_host("office-host", lab.add_access("office", presets.OFFICE))

    report = netcheck(office, server)

    assert report["ipv4"]["type"] == "symmetric"
    assert report["ipv4"]["filtering"] == "address-and-port-dependent"


def test_ipv6_is_measured_beside_ipv4(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet, count4=2)
    start_our_server(server, version=6)
    host = lab.add_host("host", lab.add_access("home", presets.IPV6))

    report = netcheck(host, server, version=6)

    assert report["ipv6"]["mapping"] == "none"
    assert report["ipv6"]["reachable"]
    assert report["verdict"].startswith("Over IPv6 only:") or report["ipv4"] is not None


def test_the_lifetime_of_a_mapping_is_found_by_waiting(lab: Lab) -> None:
    server = lab.add_host("server", lab.internet)
    start_our_server(server)
    router = lab.add_router("impatient", Behaviour(lifetime=16))
    host = lab.add_host("host", router)

    report = netcheck(host, server, options=["--lifetime"])

    assert report["ipv4"]["lifetime_s"] == 14


def start_our_server(server: Machine, version: int = 4) -> None:
    """Start our STUN server on all addresses of one family of a machine."""
    addresses = [_endpoint(address) for address in server.addresses(version)]
    arguments = [sys.executable, "-m", "tests.interop.stun_server", str(RATE)]
    server.popen([*arguments, *addresses], cwd=ROOT).wait_for_line(READY)


def netcheck(
    host: Machine, server: Machine, version: int = 4, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what our client says."""
    command = [sys.executable, "-m", "meshwg", "netcheck", "--json", *options]
    arguments = [*command, "--stun", _endpoint(server.address(version))]
    done = host.run(arguments, cwd=ROOT, timeout=120)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def judged(discovery: Discovery) -> Cell:
    """Return what coturn's client says, in our words."""
    mapping, filtering = discovery.mapping, discovery.filtering
    return (
        Mapping.UNKNOWN if mapping is None else mapping,
        Filtering.UNKNOWN if filtering is None else filtering,
    )


def classic(host: Machine, server: Machine) -> NatType:
    """Return what Debian's client of RFC 3489 says."""
    output = host.run(["stun", server.address(4)], check=False, timeout=60).stdout
    primary = re.search(r"Primary: (.*)", output)
    assert primary is not None, output
    found = [kind for text, kind in CLASSIC.items() if primary[1].startswith(text)]
    assert len(found) == 1, primary[1]
    return found[0]


def _cell(report: dict[str, Any]) -> Cell:
    nat = report["ipv4"]
    return Mapping(nat["mapping"]), Filtering(nat["filtering"])


def _text(cell: Cell) -> str:
    mapping, filtering = cell
    return f"{MAPPINGS[mapping]} / {FILTERINGS[filtering]}"


def _endpoint(address: str) -> str:
    return f"[{address}]:{PORT}" if ":" in address else f"{address}:{PORT}"
