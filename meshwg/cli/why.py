"""``meshwg why``: what lets something be reached, or keeps it from being."""

import json
import socket
from typing import Any

import click

from meshwg.cli.client import (
    DaemonClient,
    control_socket_option,
    json_option,
    peer_names,
)
from meshwg.cli.table import fields, terminal_width
from meshwg.errors import ConfigError

PATIENCE = 3.0
"""Seconds for the far end to answer."""


@click.command()
@click.argument("target", metavar="TARGET[:PORT[/udp]]", shell_complete=peer_names)
@json_option
@control_socket_option
def why(target: str, as_json: bool, control_socket: str) -> None:
    """Say what lets TARGET be reached, or what is in the way, and its mend.

    TARGET is a peer, an address behind one or, while an exit is used, one of the
    internet, also by its name; without a port it is about ICMP. Ends with 1 if there is
    an obstacle.
    """
    name, port = split(target)
    report = ask(DaemonClient(control_socket), name, port)
    if report["verdict"] == "allowed" and port.startswith("tcp/"):
        step = far_end(report["address"], int(port.removeprefix("tcp/")))
        report["steps"].append(step)
        if not step["ok"]:
            report["verdict"] = "unreachable"
    report.pop("address", None)
    report["target"] = target
    if as_json:
        click.echo(json.dumps(report))
    else:
        for line in render(report, terminal_width()):
            click.echo(line)
    if report["verdict"] != "allowed":
        raise click.exceptions.Exit(1)


def ask(client: DaemonClient, name: str, port: str) -> dict[str, Any]:
    """Return what the daemon says of a name; what it does not know is looked up."""
    report = client.post("/v1/why", {"target": name, "port": port})
    address = None
    if report["address"] is None and "." in name:
        address = look_up(name)
    if address is None or address == name:
        return report
    found = client.post("/v1/why", {"target": address, "port": port})
    known = {"layer": "name", "ok": True, "text": f"{name} is {address}", "mend": None}
    steps = found["steps"]
    rest = steps[1:] if steps[0]["ok"] else steps
    return {**found, "steps": [known, *rest]}


def look_up(name: str) -> str | None:
    """Return an address that a name has on this machine, ``None`` if it has none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return None
    return str(found[0][4][0]) if found else None


def split(target: str) -> tuple[str, str]:
    """Return the name and the port of ``db``, ``db:22``, ``db:53/udp``, ``[::1]:22``.

    :raises ConfigError: if the port is none.
    """
    name, colon, port = target.rpartition(":")
    if target.startswith("[") and not target.endswith("]"):
        name, colon = name.removeprefix("[").removesuffix("]"), ":"
    elif not colon or ":" in name:
        return target.removeprefix("[").removesuffix("]"), "icmp"
    number, slash, protocol = port.partition("/")
    if not number.isdecimal() or not number.isascii() or protocol not in ("", "udp"):
        raise ConfigError(
            f"'{target}' has no port that can be read: write db:22 or db:53/udp"
        )
    return name, f"{'udp' if slash else 'tcp'}/{number}"


def far_end(address: str, port: int) -> dict[str, Any]:
    """Return what somebody says who connects to an address."""
    text, mend = f"listens at port {port}", None
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except ConnectionRefusedError:
        text = f"nothing listens at port {port}: it answered, and refused"
        mend = "Start the service there, and see to which addresses it is bound."
    except TimeoutError:
        text = f"says nothing at port {port}: its firewall drops, or the machine is off"
        mend = "Let that machine's own firewall accept it from the mesh."
    except OSError as error:
        text = f"cannot be connected to: {error.strerror or error}"
        mend = "The rule may be at this end alone: see 'meshwg why' at the other one."
    return {"layer": "far-end", "ok": mend is None, "text": text, "mend": mend}


def render(report: dict[str, Any], size: int) -> list[str]:
    """Return the lines that a person sees; the first obstacle is marked."""
    words = {"allowed": "green", "denied": "red", "unreachable": "red"}
    verdict = click.style(report["verdict"].upper(), fg=words[report["verdict"]])
    rows = []
    is_first = True
    for step in report["steps"]:
        mark = " "
        if not step["ok"] and is_first:
            mark, is_first = click.style("✗", fg="red"), False
        rows.append((f"{mark} {step['layer']}", step["text"]))
        if not step["ok"] and step["mend"]:
            rows.append(("", step["mend"]))
    return [f"{report['target']}: {verdict}", *fields(rows, size)]
