"""``meshwg-k8s agent``: the network of one node of a cluster, in the foreground."""

import asyncio
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshwg.errors import ConfigError, NotPermitted

if TYPE_CHECKING:
    from meshwg.runtime.kubernetes.flannelside import FlannelSettings
    from meshwg.runtime.kubernetes.settings import AgentSettings, Membership

PATH = click.Path(path_type=Path)
_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
_NODE_OPTIONS = (
    "state_dir",
    "interface",
    "listen_port",
    "control_socket",
    "log_level",
    "mtu",
)
"""Those that are also options of ``meshwg node``."""


@click.command(context_settings={"auto_envvar_prefix": "MESHWG"})
@click.option(
    "--node-name",
    envvar=["MESHWG_NODE_NAME", "NODE_NAME"],
    metavar="NAME",
    help="Of the Node object. Default: the host's name.",
)
@click.option("--coordinator", metavar="URL", help="Where the coordinator is.")
@click.option(
    "--coordinator-key",
    metavar="KEY",
    help="Its public key, as 'meshwg-coordinator key show' prints it.",
)
@click.option(
    "--token-file",
    type=PATH,
    metavar="FILE",
    help="The service-account token. Default: /var/run/secrets/meshwg/token.",
)
@click.option(
    "--join",
    metavar="TOKEN",
    help="A join token, outside of pods; @FILE or - (input) keeps it secret.",
)
@click.option(
    "--kubeconfig", type=PATH, metavar="FILE", help="Default: as pods are told."
)
@click.option(
    "--api-server",
    metavar="URL",
    help="Of the API server, where services have no network yet.",
)
@click.option(
    "--cni-dir",
    type=PATH,
    metavar="DIR",
    help="Of network lists. Default: /etc/cni/net.d.",
)
@click.option(
    "--encrypt-hosts/--no-encrypt-hosts",
    default=False,
    help="Whether the node's own addresses are reached through the mesh, too.",
)
@click.option(
    "--flannel/--no-flannel",
    default=False,
    help="Whether some nodes still run flannel, with its WireGuard backend.",
)
@click.option(
    "--flannel-address",
    "flannel_addresses",
    multiple=True,
    metavar="ADDRESS",
    help="Where these reach this node. Default: what its Node object says.",
)
@click.option(
    "--flannel-port",
    type=click.IntRange(1, 65534),
    metavar="N",
    help="Where all of them listen, and so does this node. Default: 51820.",
)
@click.option(
    "--config",
    "config_file",
    envvar="MESHWG_CONFIG",
    type=PATH,
    metavar="FILE",
    help="TOML file of 'meshwg node'. Default: /etc/meshwg/node.toml, if there.",
)
@click.option("--state-dir", type=PATH, metavar="DIR", help="Default: /var/lib/meshwg.")
@click.option("--interface", metavar="NAME", help="Default: meshwg0.")
@click.option("--listen-port", type=int, metavar="N", help="UDP port; default: random.")
@click.option(
    "--control-socket",
    type=PATH,
    metavar="PATH",
    help="Default: /run/meshwg/meshwg.sock.",
)
@click.option("--mtu", type=int, metavar="N", help="Default: from the network.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    help="Default: info.",
)
def agent(**options: Any) -> None:
    """Give the pods of this node their network, until SIGTERM.

    It joins the mesh by the token of its service account, announces the PodCIDRs of its
    Node object, and writes the network list that kubelet's runtime reads. Pods keep
    their network when it stops; 'meshwg-k8s cleanup' takes it away.
    """
    from meshwg.cli.startup import kept

    try:
        with kept():
            from meshwg.runtime.kubernetes.process import run
            from meshwg.runtime.packetloop import PacketLoop
    except ModuleNotFoundError as error:
        from meshwg.cli.kubernetes.group import missing

        raise missing(error) from None
    settings = make_settings(**options)
    if os.geteuid() != 0:
        raise NotPermitted(
            "The agent of a node creates interfaces and rules: run it as root, in a "
            "privileged pod with hostNetwork"
        )
    logging.basicConfig(
        level=settings.node.log_level.upper(), format=_FORMAT, stream=sys.stderr
    )
    for noisy in ("asyncio", "httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=PacketLoop) as runner:
        runner.run(run(settings))


def make_settings(
    *,
    node_name: str | None,
    coordinator: str | None,
    coordinator_key: str | None,
    token_file: Path | None,
    join: str | None,
    kubeconfig: Path | None,
    api_server: str | None,
    cni_dir: Path | None,
    encrypt_hosts: bool,
    flannel: bool,
    flannel_addresses: tuple[str, ...],
    flannel_port: int | None,
    config_file: Path | None,
    **options: Any,
) -> "AgentSettings":
    """Return the settings of an agent.

    :raises ConfigError: if something in them is wrong.
    """
    import socket

    from meshwg.cli.secrets import read_secret
    from meshwg.config import load
    from meshwg.kubernetes.flannel import BRIDGE, NETWORK_LIST, NETWORK_NAME
    from meshwg.kubernetes.verdict import PodSettings
    from meshwg.runtime.kubernetes.api import ApiAccess
    from meshwg.runtime.kubernetes.settings import (
        DEFAULT_NETWORK_LISTS,
        AgentSettings,
    )

    name = node_name or socket.gethostname().lower()
    chosen = {key: options[key] for key in _NODE_OPTIONS}
    # Names of the mesh are the machine's business, and pods have the cluster's.
    config = load(config_file, {"name": name, "dns": False, "join": join} | chosen)
    if config.join is not None:
        config = replace(config, join=read_secret(config.join, "join token"))
    pods = PodSettings(encrypts_hosts=encrypt_hosts)
    side = _flannel(flannel_addresses, flannel_port) if flannel else None
    if side is not None:
        # Pods that flannel has started stay where they are, with their addresses.
        pods = replace(
            pods, bridge=BRIDGE, network_name=NETWORK_NAME, replaces=(NETWORK_LIST,)
        )
        if config.listen_port == 0:
            config = replace(config, listen_port=side.ports.v4)
    return AgentSettings(
        name,
        config,
        ApiAccess(kubeconfig, api_server),
        _membership(coordinator, coordinator_key, token_file, join),
        pods,
        cni_dir or DEFAULT_NETWORK_LISTS,
        side,
    )


def _flannel(addresses: tuple[str, ...], port: int | None) -> "FlannelSettings":
    """Return what is said of the cluster's flannel.

    :raises ConfigError: if something in it is wrong.
    """
    from meshwg.kubernetes.flannel import FlannelPorts, parse_flannel_addresses
    from meshwg.runtime.kubernetes.flannelside import FlannelSettings

    ports = FlannelPorts() if port is None else FlannelPorts(port, port + 1)
    return FlannelSettings(ports, parse_flannel_addresses(addresses))


def _membership(
    url: str | None, key: str | None, token_file: Path | None, join: str | None
) -> "Membership | None":
    """Return how the node becomes a member, ``None`` if by a join token.

    :raises ConfigError: if that is not said, or said twice.
    """
    from meshwg.keys import parse_key
    from meshwg.runtime.kubernetes.settings import DEFAULT_TOKEN_FILE, Membership
    from meshwg.wire.token import check_url

    if join is not None:
        if url is not None or key is not None:
            raise ConfigError(
                "A join token names the coordinator: leave --coordinator and "
                "--coordinator-key out, or --join"
            )
        return None
    if url is None or key is None:
        raise ConfigError(
            "It is not said which mesh to join: give --coordinator URL and "
            "--coordinator-key KEY, or --join TOKEN"
        )
    try:
        parsed = parse_key(key)
    except ValueError:
        raise ConfigError(
            f"{key!r} is no public key: 'meshwg-coordinator key show' prints the "
            "coordinator's"
        ) from None
    return Membership(check_url(url), parsed, token_file or DEFAULT_TOKEN_FILE)
