"""``meshwg-coordinator serve``."""

import asyncio
import gc
import logging
import resource
import sys
from pathlib import Path
from typing import Any

import click

from meshwg.runtime.hangup import held_hangup

CONFIG_HELP = "A TOML file. Default: /etc/meshwg/coordinator.toml, if it is there."
PATH = click.Path(path_type=Path)


@click.command()
@click.option("--config", type=PATH, metavar="FILE", help=CONFIG_HELP)
@click.option(
    "--data-dir", type=PATH, metavar="DIR", help="Default: /var/lib/meshwg-coordinator."
)
@click.option(
    "--database",
    metavar="URL",
    help="sqlite:///… or postgresql://…, @FILE or - (input) to keep it secret.",
)
@click.option("--listen", metavar="HOST:PORT", help="TCP. Default: 0.0.0.0:8443.")
@click.option(
    "--stun",
    multiple=True,
    metavar="HOST:PORT",
    help="UDP for STUN and TURN, once or for two addresses. Default port: 3478.",
)
@click.option(
    "--advertise", metavar="HOST", help="The host at which nodes reach this server."
)
@click.option(
    "--url",
    metavar="URL",
    help="What nodes use, where a proxy is in front: https://mesh.example.org.",
)
@click.option(
    "--direct-url",
    metavar="URL",
    help="What other coordinators on the database use. Default: by --listen.",
)
@click.option(
    "--trusted-proxy",
    "trusted_proxies",
    multiple=True,
    metavar="CIDR",
    help="Proxies that may say whose requests they pass on.",
)
@click.option(
    "--domain",
    metavar="DOMAIN",
    help="What names of nodes end with. Default: mesh.internal.",
)
@click.option("--network4", metavar="CIDR", help="Default: random in 100.64.0.0/10.")
@click.option("--network6", metavar="CIDR", help="Default: random in fd00::/8.")
@click.option("--tls-cert", type=PATH, metavar="FILE", help="Certificate chain, PEM.")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Private key, PEM.")
@click.option("--relay/--no-relay", default=None, help="Also serve as a relay (TURN).")
@click.option(
    "--relay-peers",
    type=click.Choice(["members", "any"]),
    help="Where the relay sends, beside relayed addresses. Default: members.",
)
@click.option(
    "--relay-bandwidth",
    metavar="RATE",
    help="Of one node through the relay, each way, in bits a second: 20M.",
)
@click.option(
    "--turn-secret-file",
    type=PATH,
    metavar="FILE",
    help="Secrets of other relays (coturn's use-auth-secret), lines of HOST SECRET; "
    "by default what 'relay secret HOST' prints.",
)
@click.option(
    "--relay-server",
    "relays",
    multiple=True,
    metavar="URL",
    help="One more relay, as turn:HOST:PORT?transport=udp.",
)
@click.option(
    "--relay-allow",
    multiple=True,
    metavar="CIDR",
    help="A private network into which the own relay may send.",
)
@click.option(
    "--approve-route",
    "approve_routes",
    multiple=True,
    metavar="CIDR",
    help="A network inside which nodes may announce routes.",
)
@click.option(
    "--kubernetes-issuer",
    metavar="URL",
    help="Let nodes of this Kubernetes cluster join, by its service-account tokens.",
)
@click.option(
    "--kubernetes-api",
    metavar="URL",
    help="Its API server, which says which PodCIDRs and labels a node has.",
)
@click.option(
    "--kubernetes-ca",
    type=PATH,
    metavar="FILE",
    help="Certificate authorities of both, PEM. Default: those of a pod, if there.",
)
@click.option(
    "--kubernetes-jwks",
    type=PATH,
    metavar="FILE",
    help="The issuer's keys, where it cannot be asked for them.",
)
@click.option(
    "--kubernetes-token-file",
    type=PATH,
    metavar="FILE",
    help="What to ask the API server with. Default: the token of a pod, if there.",
)
@click.option(
    "--kubernetes-account",
    metavar="NAMESPACE/NAME",
    help="Whose tokens let nodes in. Default: kube-system/meshwg-agent.",
)
@click.option(
    "--policy",
    type=PATH,
    metavar="FILE",
    help="Who may reach what; applied whenever it changes.",
)
@click.option(
    "--admin-socket",
    type=PATH,
    metavar="PATH",
    help="A Unix socket for the administration, of this user and root.",
)
@click.option(
    "--connections-per-address",
    type=int,
    metavar="N",
    help="Control connections of one address. Default: 1024.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Default: info.",
)
@held_hangup()
def serve(config: Path | None, **options: Any) -> None:
    """Run the coordinator until it is told to stop."""
    # Only here, while a SIGHUP waits: it takes a good part of the start.
    from coordinator.cli.settings import load_settings
    from coordinator.config import load

    settings = load_settings(config, options)
    _log_to_stderr(settings.log_level)
    _raise_open_files()
    # Only here, because it imports what takes half a second, and a tenth more if the
    # garbage collector looks through all that stays anyway.
    gc.disable()
    from coordinator.runtime.server import serve as run_server

    gc.freeze()
    gc.enable()
    again = options | {"database": settings.database}
    asyncio.run(run_server(settings, _announce, lambda: load(config, again)))


def _raise_open_files() -> None:
    """Take all the file descriptors that the system grants: one for each node."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    # At INFO these report every connection.
    for name in ("aiohttp", "aiosqlite", "asyncio", "alembic", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It warns of each request for a subprotocol, of which anybody may send many.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
