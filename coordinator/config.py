"""The coordinator's configuration: one model for command line, environment and file.

A value comes from the command line, else from ``MESHWG_COORDINATOR_…`` in the
environment, else from the TOML file, else from here. Keys of the file are the options'
names with underscores: ``data_dir = "/srv/mesh"``.
"""

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coordinator.credentials import parse_relay_url
from coordinator.dsn import parse_url
from meshwg.errors import ConfigError
from meshwg.wire.dnsrecords import canonical_domain
from meshwg.wire.token import check_url

DEFAULT_STUN_PORT = 3478
DEFAULT_FILE = Path("/etc/meshwg/coordinator.toml")
"""Read if it is there and no other file is named."""
DEFAULT_DATA_DIR = Path("/var/lib/meshwg-coordinator")

_SINGULARS = {
    "approve_route": "approve_routes",
    "relay_server": "relays",
    "trusted_proxy": "trusted_proxies",
}
"""Options that may be given several times, and their keys."""

MAX_NAME = 253
"""Letters of a host's name (RFC 1035 section 2.3.4)."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", re.ASCII | re.IGNORECASE)

WILDCARDS = ("0.0.0.0", "::")

HostPort = tuple[str, int]


_RATE = re.compile(r"(\d{1,9})([kmg]?)(bit)?(/s)?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
MIN_RATE = 64_000
"""Bits a second: less than that carries no packet of full length every second."""
MAX_RATE = 10**12


def parse_rate(text: str) -> int:
    """Return the bits a second of ``500k``, ``20M``, ``20Mbit`` or ``1G``.

    :raises ConfigError: if it is something else, or too little or too much.
    """
    found = _RATE.fullmatch(text)
    rate = int(found[1]) * _UNITS[found[2].lower()] if found else 0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise ConfigError(
            f"--relay-bandwidth {text} is not a rate; write bits a second, from 64k to "
            "1000G: 20M"
        )
    return rate


class CoordinatorConfig(BaseModel):
    """Everything that ``meshwg-coordinator serve`` can be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = DEFAULT_DATA_DIR
    """Key, secrets and the default database; readable by their owner only."""
    database: str | None = Field(default=None, repr=False)
    """Its URL; by default a SQLite file in :attr:`data_dir`."""
    listen: str = "0.0.0.0:8443"
    stun: tuple[str, ...] = ()
    """Addresses of the STUN and TURN sockets; by default that of :attr:`listen`."""
    advertise: str | None = None
    """The host that nodes use, if it is not the one listened on."""
    url: str | None = None
    """The URL that nodes use, where a proxy passes on what is for this server."""
    direct_url: str | None = None
    """The URL at which the other coordinators on the database reach this one; by
    default that of the address listened on."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks of proxies that may say whose requests they pass on, beside those on the
    loopback where there is a :attr:`url`."""
    domain: str | None = None
    """What the names of nodes end with; by default what the database has, which begins
    with ``mesh.internal``."""
    network4: str | None = None
    network6: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    relay: bool = True
    """Whether to serve as a relay, too."""
    turn_secret_file: Path | None = None
    """Secrets of :attr:`relays`, as lines of ``HOST SECRET``; by default each has one
    that follows from that in :attr:`data_dir`."""
    relays: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    """More relays, as ``turn:HOST:PORT?transport=udp``."""
    relay_allow: tuple[str, ...] = ()
    """Private networks into which the own relay may send."""
    relay_peers: Literal["members", "any"] = "members"
    """Where the own relay sends: to other relayed addresses and to those of members, or
    to any public address."""
    relay_bandwidth: str | None = None
    """What the own relay carries of one node in each direction, in bits a second:
    ``20M``."""
    approve_routes: tuple[str, ...] = ()
    """Networks inside which nodes may announce routes."""
    kubernetes_issuer: str | None = None
    """Of the service-account tokens by which nodes of a Kubernetes cluster join."""
    kubernetes_api: str | None = None
    """The API server of that cluster, which says what its nodes have."""
    kubernetes_ca: Path | None = None
    """The certificate authorities of both, PEM; by default those of a pod, if there."""
    kubernetes_jwks: Path | None = None
    """The issuer's keys, where it cannot be asked for them."""
    kubernetes_token_file: Path | None = None
    """What the API server is asked with; by default the token of a pod, if there."""
    kubernetes_account: str = "kube-system/meshwg-agent"
    """The service account whose tokens let nodes in, as ``NAMESPACE/NAME``."""
    policy: Path | None = None
    """A file with the policy, which is applied whenever it changes."""
    admin_socket: Path | None = None
    """A Unix socket at which the owner of the process, and root, administer the mesh
    without a token."""
    connections_per_address: Annotated[int, Field(ge=1)] = 1024
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def relay_bytes_per_second(self) -> int | None:
        if self.relay_bandwidth is None:
            return None
        return parse_rate(self.relay_bandwidth) // 8

    @property
    def listen_address(self) -> HostPort:
        return parse_host_port(self.listen, "listen")

    @property
    def stun_addresses(self) -> list[HostPort]:
        """Where STUN and TURN are served, at the port and at the next one."""
        if not self.stun:
            return [(self.listen_address[0], DEFAULT_STUN_PORT)]
        return [parse_host_port(each, "stun", DEFAULT_STUN_PORT) for each in self.stun]


def load(path: Path | None, options: dict[str, Any]) -> CoordinatorConfig:
    """Return the configuration of a file, overridden by what was given as options.

    :param path: ``None`` for the usual one, which need not be there.
    :param options: values by key; those that are ``None`` or empty were not given.
    :raises ConfigError: naming the file, the key and what is wrong with its value.
    """
    path = path or _usual_file()
    values = {} if path is None else _rename_keys(_read(path), path)
    values |= {key: value for key, value in options.items() if value not in (None, ())}
    try:
        config = CoordinatorConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None
    _check(config)
    return config


def parse_host_port(text: str, option: str, default: int | None = None) -> HostPort:
    """Return the parts of ``1.2.3.4:5`` or ``[::1]:5``.

    :raises ConfigError: if they are no numeric address and port.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = str(ipaddress.ip_address(parts.hostname or "")), parts.port
    except ValueError:
        host, port = "", None
    port = default if port is None else port
    if not host or port is None:
        raise ConfigError(
            f"--{option} {text} is not an address; write 203.0.113.1:8443 or [::]:8443"
        )
    return host, port


def differences(old: CoordinatorConfig, new: CoordinatorConfig) -> list[str]:
    """Return the names of the settings that differ."""
    names = CoordinatorConfig.model_fields
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read ({error.strerror}): name "
            "another one with --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The configuration file {path} is not valid TOML ({error}): correct it"
        ) from None


def _usual_file() -> Path | None:
    """Return the file that is read if no other is named, if it is there."""
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except OSError:
        # Ordinary users may not look there.
        return None


def _rename_keys(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return settings by their keys, where they are written as options."""
    renamed: dict[str, Any] = {}
    for written, value in values.items():
        key = _SINGULARS.get(name := written.replace("-", "_"), name)
        if key == "no_relay" and isinstance(value, bool):
            key, value = "relay", not value
        if key in renamed:
            raise ConfigError(f"The setting '{written}' in {path} is there twice")
        renamed[key] = value
    return renamed


def _check(config: CoordinatorConfig) -> None:
    """Refuse what can only fail later."""
    _ = config.listen_address, config.stun_addresses, config.relay_bytes_per_second
    if config.domain is not None:
        _check_domain(config, config.domain)
    if config.advertise is not None:
        _check_advertised(config.advertise)
    if config.url is not None:
        _check_url("--url", config.url)
    if config.direct_url is not None:
        _check_url("--direct-url", config.direct_url)
    if config.database is not None and not config.database.startswith(("@", "-")):
        parse_url(config.database)
    _check_kubernetes(config)
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ConfigError("--tls-cert and --tls-key belong together: give both")
    for url in config.relays:
        parse_relay_url(url)
    for option, networks in (
        ("approve_routes", config.approve_routes),
        ("relay_allow", config.relay_allow),
        ("trusted_proxies", config.trusted_proxies),
    ):
        for network in networks:
            _check_network(option, network)


def _check_domain(config: CoordinatorConfig, text: str) -> None:
    """Refuse what is no domain, or one in which nobody would find this server."""
    try:
        domain = canonical_domain(text)
    except ValueError as error:
        raise ConfigError(f"--domain {text!r} is no domain: {error}") from None
    host = config.advertise or ""
    if config.url is not None:
        host = urlsplit(config.url).hostname or ""
    if f".{host.lower()}".endswith(f".{domain}"):
        raise ConfigError(
            f"--domain {text} takes in this server's own name {host}, which nodes would"
            " look for in the mesh: choose another one, such as mesh.internal"
        )


def _check_kubernetes(config: CoordinatorConfig) -> None:
    """Refuse what says nothing about a cluster, or what nobody could believe."""
    if config.kubernetes_issuer is None:
        if config.kubernetes_api is not None or config.kubernetes_jwks is not None:
            raise ConfigError(
                "--kubernetes-api and --kubernetes-jwks are of use only with "
                "--kubernetes-issuer: give the API server's --service-account-issuer"
            )
        return
    needed = {"kubernetes-issuer": config.kubernetes_issuer}
    if config.kubernetes_api is not None:
        needed["kubernetes-api"] = config.kubernetes_api
    for option, url in needed.items():
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or parts.query:
            raise ConfigError(
                f"--{option} {url} is no https URL: what it says is believed, so it "
                "has to be certain who says it"
            )
    namespace, slash, name = config.kubernetes_account.partition("/")
    if not namespace or not slash or not name or "/" in name:
        raise ConfigError(
            f"--kubernetes-account {config.kubernetes_account!r} is no service account:"
            " write NAMESPACE/NAME"
        )


def _check_advertised(text: str) -> None:
    """Refuse what is no host alone: it becomes a part of URLs."""
    is_name = len(text) <= MAX_NAME and all(map(_LABEL.fullmatch, text.split(".")))
    if is_name and not text.rpartition(".")[2].isdecimal():
        return
    if _is_usable_address(text):
        return
    raise ConfigError(
        f"--advertise {text!r} is no host: give a name or an address alone, without "
        "scheme, port, path or brackets, such as mesh.example.org"
    )


def _check_url(option: str, text: str) -> None:
    """Refuse what nodes could not use, or what would not be the same for all."""
    parts = urlsplit(check_url(text))
    if parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(
            f"{option} {text} has more than a host and a path: give it without user, "
            "query and fragment, such as https://mesh.example.org/mesh"
        )


def _is_usable_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified and "%" not in text
    except ValueError:
        return False


def _check_network(option: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"The setting '{option}' is wrong: {error}") from None


def _explain(error: ValidationError, path: Path | None) -> str:
    """Return one sentence on the first thing that is wrong, without its value."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f" in {path}" if path is not None else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(CoordinatorConfig.model_fields)
        return f"There is no setting '{key}'{where}: use one of {known}"
    return f"The setting '{key}'{where} is wrong: {first['msg'].lower()}"
