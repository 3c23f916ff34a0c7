"""``meshwg-k8s manifest``: what to apply to a cluster."""

import re
from typing import Any
from urllib.parse import urlsplit

import click

from meshwg import __version__
from meshwg.cli.kubernetes.vip import parse_lease
from meshwg.errors import ConfigError
from meshwg.keys import parse_key
from meshwg.kubernetes.fitness import parse_target
from meshwg.kubernetes.floatingaddress import IPAddress, parse_addresses
from meshwg.kubernetes.manifest import (
    CHECK,
    ISSUER,
    LEASE,
    ManifestSettings,
    manifest,
)
from meshwg.wire.token import check_url

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
"""Of an object (RFC 1123), as far as it matters here."""
_LATER = """\
# The coordinator only: its key is not known before it has run. Apply this, then print
# the rest with the key that this command shows:
#   kubectl -n {namespace} exec deployment/meshwg-coordinator -- \\
#       meshwg-coordinator key show
"""


@click.command("manifest")
@click.option(
    "--coordinator",
    "url",
    required=True,
    metavar="URL",
    help="Where nodes reach the coordinator, such as http://203.0.113.7:8443.",
)
@click.option(
    "--coordinator-key",
    default="",
    metavar="KEY",
    help="Its public key. Without it only the coordinator is printed.",
)
@click.option(
    "--with-coordinator/--without-coordinator",
    "has_coordinator",
    default=True,
    help="Whether it is to run in this cluster. Default: it is.",
)
@click.option(
    "--coordinator-node",
    default="",
    metavar="NAME",
    help="On which node. Default: one of the control plane's.",
)
@click.option(
    "--image",
    default=f"meshwg:{__version__}",
    show_default=True,
    metavar="IMAGE",
    help="With these programs in it.",
)
@click.option(
    "--namespace", default="kube-system", show_default=True, metavar="NAMESPACE"
)
@click.option(
    "--issuer",
    default=ISSUER,
    show_default=True,
    metavar="URL",
    help="The API server's --service-account-issuer.",
)
@click.option(
    "--api-server",
    default="",
    metavar="URL",
    help="Of the API server, where services have no network yet.",
)
@click.option(
    "--flannel/--no-flannel",
    default=False,
    help="Whether some nodes still run flannel.",
)
@click.option(
    "--vip",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="A floating address of the control plane.",
)
@click.option(
    "--vip-check",
    default=CHECK,
    show_default=True,
    metavar="URL",
    help="What has to work where it is.",
)
@click.option(
    "--vip-lease",
    default="/".join(LEASE),
    show_default=True,
    metavar="NAMESPACE/NAME",
)
def manifest_(
    url: str,
    coordinator_key: str,
    has_coordinator: bool,
    coordinator_node: str,
    image: str,
    namespace: str,
    issuer: str,
    api_server: str,
    flannel: bool,
    addresses: tuple[str, ...],
    vip_check: str,
    vip_lease: str,
) -> None:
    """Print what makes a mesh the network of a cluster, for 'kubectl apply -f -'.

    Accounts with as few rights as they need, the coordinator, the agent of each node,
    and with --vip a floating address. Nodes need the CNI plugins bridge, host-local and
    portmap. Nothing of the cluster is asked or changed.
    """
    if not coordinator_key and not has_coordinator:
        raise ConfigError(
            "It is not known whom agents are to believe: give --coordinator-key, as "
            "'meshwg-coordinator key show' prints it"
        )
    settings = ManifestSettings(
        image=image,
        url=check_url(url),
        coordinator_key=_key(coordinator_key),
        namespace=_named("namespace", namespace),
        has_coordinator=has_coordinator,
        coordinator_node=_named("coordinator-node", coordinator_node),
        issuer=_https("issuer", issuer),
        api_server=_https("api-server", api_server),
        flannel=flannel,
        addresses=_floating(addresses),
        check=str(parse_target(vip_check)),
        lease=parse_lease(vip_lease),
    )
    if not coordinator_key:
        click.echo(_LATER.format(namespace=settings.namespace), nl=False)
    click.echo(_yaml(settings), nl=False)


def _yaml(settings: ManifestSettings) -> str:
    """Return the objects as documents of one text.

    :raises ConfigError: if a package is missing for that.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        from meshwg.cli.kubernetes.group import missing

        raise missing(error) from None

    def written(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    # A class of one's own: what is said to it says nothing to others.
    dumper: Any = type("LiteralDumper", (yaml.SafeDumper,), {})
    dumper.add_representer(str, written)
    objects = manifest(settings)
    text: str = yaml.dump_all(
        objects, Dumper=dumper, sort_keys=False, explicit_start=True
    )
    return text


def _floating(texts: tuple[str, ...]) -> tuple[IPAddress, ...]:
    return parse_addresses(texts) if texts else ()


def _key(text: str) -> str:
    """Return a public key, empty if there is none.

    :raises ConfigError: if it is something else.
    """
    if text:
        try:
            parse_key(text)
        except ValueError:
            raise ConfigError(
                f"--coordinator-key {text} is no key: 'meshwg-coordinator key show' "
                "prints the coordinator's"
            ) from None
    return text


def _named(option: str, text: str) -> str:
    """Return the name of an object, empty if there is none.

    :raises ConfigError: if no object can have it.
    """
    if text and not _NAME.fullmatch(text):
        raise ConfigError(
            f"--{option} {text} is no name of Kubernetes: use a-z, 0-9, '-' and '.'"
        )
    return text


def _https(option: str, text: str) -> str:
    """Return a URL, empty if there is none.

    :raises ConfigError: if what it says could not be believed.
    """
    parts = urlsplit(text)
    if text and (parts.scheme != "https" or not parts.hostname):
        raise ConfigError(
            f"--{option} {text} is no https URL: what it says is believed, so it has "
            "to be certain who says it"
        )
    return text
