"""``meshwg doctor``: what of this machine helps the node, or is in its way."""

import email.utils
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import click

from meshwg.cli.client import DaemonClient, control_socket_option, json_option
from meshwg.cli.finding import Finding
from meshwg.cli.hostchecks import device, machine_findings
from meshwg.cli.table import fields, terminal_width
from meshwg.cli.words import names_text, policy_text
from meshwg.errors import DaemonNotRunning, MeshError
from meshwg.proxies import Proxies, Proxy

PATIENCE = 3.0
"""Seconds for the coordinator to answer."""
CLOCK_ERROR = 30.0
"""Seconds that a clock may be wrong: WireGuard wants only that it never goes back, but
tokens and credentials expire."""
MIN_MTU = 1280
"""Bytes: IPv6 needs as many."""
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}


@click.command()
@json_option
@control_socket_option
def doctor(as_json: bool, control_socket: str) -> None:
    """Look at this machine, and say what is wrong and how to mend it.

    Ends with 1 if anything keeps the node from working.
    """
    found = list(examine(control_socket))
    if as_json:
        checks = [asdict(each) for each in found]
        click.echo(json.dumps({"schema": 1, "checks": checks}))
    else:
        for line in render(found, terminal_width()):
            click.echo(line)
    if any(each.severity == "failure" for each in found):
        raise click.exceptions.Exit(1)


def examine(control_socket: str) -> Iterator[Finding]:
    """Look at all that can be looked at, with a daemon or without."""
    yield device()
    report = None
    try:
        report = DaemonClient(control_socket).get("/v1/status")
    except DaemonNotRunning as error:
        mend = "Start it: 'systemctl start meshwg', or 'meshwg node'."
        yield Finding("daemon", "failure", str(error), mend)
    except MeshError as error:
        yield Finding("daemon", "failure", str(error))
    own = report["self"] if report is not None else None
    if own is not None:
        yield Finding("daemon", "ok", f"runs, version {own.get('version', 'unknown')}")
        url = own["coordinator"]["url"]
        yield from (_name(url), _clock(url))
        yield from node_findings(own)
    complaints = report["health"] if report is not None else ()
    yield from _complaints(complaints)
    yield from machine_findings(own, complaints)


def _complaints(health: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """Yield what the node complains of, but for what was looked at here."""
    for each in health:
        if each["code"] != "coordinator":
            mend = each["mend"] or None
            yield Finding(each["code"], each["severity"], each["text"], mend)


def node_findings(own: dict[str, Any]) -> Iterator[Finding]:
    """Yield what the node knows of its own state."""
    if own.get("state") == "down":
        yield Finding(
            "state", "warning", "the node is down", "'meshwg up' connects it."
        )
        return
    coordinator, relay = own["coordinator"], own["relay"]
    if coordinator["state"] == "connected":
        yield Finding("coordinator", "ok", f"connected to {coordinator['url']}")
    else:
        error = coordinator["error"] or "it has not answered yet"
        mend = "See that it runs, and that this machine reaches it."
        yield Finding("coordinator", "failure", f"not connected: {error}", mend)
    if relay["state"] == "allocated":
        yield Finding("relay", "ok", f"ready over {relay['transport']}: {relay['url']}")
    else:
        error = relay["error"] or "none has answered yet"
        mend = "Peers behind hard NATs need one: see that UDP or TCP gets there."
        yield Finding("relay", "warning", f"none in use: {error}", mend)
    nat = own["nat"]
    if nat is not None and nat["reachable"]:
        yield Finding(
            "network", "ok", f"UDP passes, seen from outside: {nat['public']}"
        )
    else:
        mend = "Let UDP out; until then everything goes over TCP, and slower."
        yield Finding("network", "warning", "no STUN server answers over UDP", mend)
    if own["mtu"] >= MIN_MTU:
        yield Finding("mtu", "ok", f"{own['mtu']} bytes on {own['interface']}")
    else:
        yield Finding("mtu", "failure", f"{own['mtu']} bytes", "Give it at least 1280.")
    names = own.get("dns") or {}
    if names.get("error") is None and names.get("mode") not in (None, "none"):
        yield Finding("names", "ok", names_text(names))
    if policy := own.get("policy"):
        yield Finding("policy", "ok", policy_text(policy))


def render(found: list[Finding], size: int) -> list[str]:
    """Return the lines that a person sees."""
    rows = []
    for each in found:
        word = click.style(f"{each.severity:8}", fg=_COLOURS[each.severity])
        rows.append((f"{word}  {each.code}", each.text))
        if each.mend:
            rows.append(("", each.mend))
    return fields(rows, size)


def _name(url: str) -> Finding:
    """See whether the coordinator's name is known."""
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
        return Finding("dns", "ok", f"{host} is an address, and needs no name server")
    except ValueError:
        pass
    if (proxy := _proxy_to(url)) is not None:
        return Finding("dns", "ok", f"{host} is looked up by the proxy {proxy}")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        mend = "See /etc/resolv.conf, and that the name server answers."
        return Finding("dns", "failure", f"{host} has no address: {error}", mend)
    addresses = sorted({str(each[4][0]) for each in found})
    return Finding("dns", "ok", f"{host} is {', '.join(addresses)}")


def _clock(url: str) -> Finding:
    """Compare this clock with the coordinator's."""
    try:
        date = _date_at(url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        mend = "See that the coordinator runs, and that TCP gets there."
        return Finding("clock", "warning", f"nothing to compare with: {error}", mend)
    wrong = time.time() - date
    if abs(wrong) <= CLOCK_ERROR:
        return Finding("clock", "ok", "agrees with the coordinator's")
    way = "ahead of" if wrong > 0 else "behind"
    text = f"{abs(wrong):.0f} s {way} the coordinator's"
    return Finding("clock", "warning", text, "Have it set by NTP, on either machine.")


def _date_at(url: str) -> float:
    """Return the Unix time that a coordinator's answer carries.

    :raises OSError: if nobody answers.
    :raises ValueError: if the answer has no date.
    """
    parts, proxy = urlsplit(url), _proxy_to(url)
    end = parts.hostname or "", parts.port
    host, port = end if proxy is None else (proxy.host, proxy.port)
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE)
    if parts.scheme == "https":
        # A node checks no certificate: the key in the token is what it trusts.
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            host, port, timeout=PATIENCE, context=trusting
        )
    if proxy is not None:
        connection.set_tunnel(*end, headers=proxy.headers)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/healthz")
        date = connection.getresponse().getheader("Date") or ""
    finally:
        connection.close()
    return email.utils.parsedate_to_datetime(date).timestamp()


def _proxy_to(url: str) -> Proxy | None:
    """Return the proxy through which a coordinator is reached from here."""
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    proxies = Proxies.read(os.environ)
    return proxies.find(parts.hostname or "", port, secure=is_secure)
