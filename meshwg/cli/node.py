"""``meshwg node``: the daemon, in the foreground."""

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from meshwg.cli.startup import kept
from meshwg.errors import NotPermitted
from meshwg.runtime.hangup import held_hangup

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_JOURNAL_FORMAT = "%(levelname)s: %(message)s"


@click.command(context_settings={"auto_envvar_prefix": "MESHWG"})
@click.option(
    "--join",
    metavar="TOKEN",
    help="Join this mesh, the first time only; @FILE or - (input) keeps it secret.",
)
@click.option(
    "--config",
    "config_file",
    envvar="MESHWG_CONFIG",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML file with the same settings. Default: /etc/meshwg/node.toml, if there.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Default: /var/lib/meshwg.",
)
@click.option("--interface", metavar="NAME", help="Default: meshwg0.")
@click.option("--listen-port", type=int, metavar="N", help="UDP port; default: random.")
@click.option(
    "--control-socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Default: /run/meshwg/meshwg.sock.",
)
@click.option("--name", metavar="NAME", help="Default: the host's name.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Default: info.",
)
@click.option(
    "--birthday/--no-birthday",
    default=None,
    help="Whether to use the birthday method (many sockets).",
)
@click.option(
    "--tcp/--no-tcp",
    default=None,
    help="Whether to open direct paths over TCP, and to listen.",
)
@click.option(
    "--port-mapping/--no-port-mapping",
    default=None,
    help="Whether to ask the router for a port.",
)
@click.option(
    "--flow-reports/--no-flow-reports",
    default=None,
    help="Whether administrators see who speaks to which port here.",
)
@click.option("--mtu", type=int, metavar="N", help="Default: from the network.")
@click.option(
    "--role", type=click.Choice(["node", "hub"]), help="A hub forwards between others."
)
@click.option("--hub", is_flag=True, help="The same as --role hub.")
@click.option(
    "--route",
    "routes",
    multiple=True,
    envvar=["MESHWG_ROUTE", "MESHWG_ROUTES"],
    metavar="PREFIX[=MAPPED][,probe=ADDRESS][,priority=N][,snat=yes|no]",
    help="A network behind this node, and how others see it and reach it.",
)
@click.option(
    "--exit/--no-exit",
    "exit",
    default=None,
    help="Whether to offer others the internet through this node.",
)
@click.option(
    "--accept-routes/--no-accept-routes",
    default=None,
    help="Whether to reach networks behind other nodes through these.",
)
@click.option(
    "--guard",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What may pass at most. Default: /etc/meshwg/guard.toml, if there.",
)
@click.option(
    "--dns/--no-dns",
    default=None,
    help="Whether programs here find names of the mesh.",
)
@click.option(
    "--nameserver",
    "nameservers",
    multiple=True,
    envvar=["MESHWG_NAMESERVER", "MESHWG_NAMESERVERS"],
    metavar="ADDRESS",
    help="Whom to ask for all other names. Default: as the machine does.",
)
@held_hangup()
def node(
    config_file: Path | None,
    hub: bool,
    **options: Any,
) -> None:
    """Join the mesh and stay in it until SIGTERM or 'meshwg down'.

    Every option is also a variable of the environment, such as MESHWG_JOIN.
    """
    from meshwg.runtime.openssl import leave_out_openssl

    leave_out_openssl()
    with kept():
        import asyncio

        from meshwg.cli.secrets import read_secret
        from meshwg.config import load
        from meshwg.runtime.daemon import run
        from meshwg.runtime.packetloop import PacketLoop

    options["routes"] = options["routes"] or None
    options["nameservers"] = options["nameservers"] or None
    options["role"] = "hub" if hub else options["role"]
    for switch in (
        "birthday",
        "tcp",
        "port_mapping",
        "dns",
        "flow_reports",
        "accept_routes",
    ):
        if options[switch] is None and _is_set(f"MESHWG_NO_{switch.upper()}"):
            options[switch] = False
    config = load(config_file, options)
    if config.join is not None:
        config = replace(config, join=read_secret(config.join, "join token"))
    again = options | {"join": config.join}
    if os.geteuid() != 0 and not _may_administer_networks():
        raise NotPermitted(
            "A node creates a network interface: run as root, or with CAP_NET_ADMIN"
        )
    logging.basicConfig(
        level=config.log_level.upper(),
        format=_JOURNAL_FORMAT if "JOURNAL_STREAM" in os.environ else _FORMAT,
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=PacketLoop) as runner:
        runner.run(run(config, lambda: load(config_file, again)))


def _is_set(variable: str) -> bool:
    """Tell whether a variable of the environment says yes.

    :raises click.BadParameter: if it says neither yes nor no.
    """
    return bool(click.BOOL.convert(os.environ.get(variable) or "no", None, None))


def _may_administer_networks() -> bool:
    """Tell whether this process has CAP_NET_ADMIN."""
    cap_net_admin = 12
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> cap_net_admin & 1)
    return False
