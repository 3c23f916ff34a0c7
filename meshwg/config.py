"""The node's configuration: one model for the command line, environment and file.

A value comes from the command line, else from ``MESHWG_…`` in the environment, else
from the TOML file, else from here. Keys of the file are the options' names with
underscores: ``state_dir = "/var/lib/meshwg"``. Options that are no settings themselves,
as ``--hub`` and ``--no-birthday``, are keys, too, with ``true`` or ``false``.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from meshwg.errors import ConfigError
from meshwg.routeoptions import canonical_route, distinct_routes
from meshwg.schema import Converted, Malformed, Unknown, Within, read

DEFAULT_FILE = Path("/etc/meshwg/node.toml")
"""Read if it is there and no other file is named."""
DEFAULT_GUARD = Path("/etc/meshwg/guard.toml")
"""Need not be there if no other file is named."""
MIN_MTU, MAX_MTU = 1280, 65440
"""Bytes; a longer packet, with WireGuard and a relay around it, is no datagram."""
_SWITCHES: dict[str, Callable[[bool], tuple[str, Any]]] = {
    "hub": lambda on: ("role", "hub" if on else "node"),
    "no_birthday": lambda on: ("birthday", not on),
    "no_tcp": lambda on: ("tcp", not on),
    "no_port_mapping": lambda on: ("port_mapping", not on),
    "no_accept_routes": lambda on: ("accept_routes", not on),
    "no_dns": lambda on: ("dns", not on),
}
"""Options that say the same as a key in another way."""
_SINGULARS = {"route": "routes", "nameserver": "nameservers"}
"""Options that may be given several times, and their keys."""
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
"""What Linux, nftables and people who quote nothing all take for a name."""


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError(
            "a name has up to 15 letters, digits, and any of '_', '.', '-'"
        )
    return text


def _address(text: str) -> str:
    """Return an address in its usual form; raise ``ValueError`` if it is not one."""
    address = ip_address(text)
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{text} is no address of a name server")
    return str(address)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Everything that ``meshwg node`` can be told."""

    join: str | None = field(default=None, repr=False)
    """The join token, needed the first time only."""
    state_dir: Path = Path("/var/lib/meshwg")
    """The key and the cached netmap; readable by root only."""
    interface: Annotated[str, Converted(_interface)] = "meshwg0"
    listen_port: Annotated[int, Within(ge=0, le=65535)] = 0
    """0 takes a random one, so that nodes behind one NAT do not get in each other's
    way."""
    control_socket: Path = Path("/run/meshwg/meshwg.sock")
    name: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    birthday: bool = True
    """Whether direct paths may be looked for with many sockets at once."""
    tcp: bool = True
    """Whether direct paths may go over TCP where UDP does not get through."""
    mtu: Annotated[int, Within(ge=MIN_MTU, le=MAX_MTU)] | None = None
    role: Literal["node", "hub"] = "node"
    """A hub forwards between others."""
    routes: Annotated[
        tuple[Annotated[str, Converted(canonical_route)], ...],
        Converted(distinct_routes),
    ] = ()
    """Networks behind this node that others reach through it, each with how it is
    served: see :mod:`meshwg.routeoptions`."""
    exit: bool = False
    """Whether others may reach the internet through this node."""
    accept_routes: bool = True
    """Whether networks behind other nodes are reached through these."""
    port_mapping: bool = True
    """Whether to ask the router for a port by PCP, NAT-PMP or UPnP."""
    guard: Path = DEFAULT_GUARD
    """What this machine lets pass, whatever the coordinator allows."""
    dns: bool = True
    """Whether programs of this machine are to find the mesh's names."""
    nameservers: tuple[Annotated[str, Converted(_address)], ...] = ()
    """Who is asked for all other names, in place of the machine's own servers."""


def load(path: Path | None, options: dict[str, Any]) -> NodeConfig:
    """Return the configuration of a file, overridden by what was given as options.

    :param path: ``None`` for the usual one, which need not be there.
    :param options: values by key; those that are ``None`` were not given.
    :raises ConfigError: naming the file, the key and what is wrong with its value.
    """
    values: dict[str, Any] = {}
    path = path or _usual_file()
    if path is not None:
        try:
            values = tomllib.loads(path.read_text())
        except OSError as error:
            raise ConfigError(
                f"The configuration file {path} cannot be read ({error.strerror}): "
                "name another one with --config"
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The configuration file {path} is not valid TOML ({error}): correct it"
            ) from None
    values = rename_keys(values, path)
    values |= {key: value for key, value in options.items() if value is not None}
    try:
        return read(NodeConfig, values, strict=True)
    except Malformed as error:
        raise ConfigError(_explain(error, path)) from None


def _usual_file() -> Path | None:
    """Return the file that is read if no other is named, if it is there."""
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except OSError:
        # Ordinary users may not look there.
        return None


def rename_keys(values: dict[str, Any], path: Path | None) -> dict[str, Any]:
    """Return settings of a file by their keys, where they are written as options.

    :raises ConfigError: if one is there twice, or has no such form.
    """
    renamed: dict[str, Any] = {}
    for written, given in values.items():
        key, value = written.replace("-", "_"), given
        if key in _SINGULARS:
            key = _SINGULARS[key]
        elif key in _SWITCHES:
            if not isinstance(value, bool):
                where = f" in {path}" if path is not None else ""
                raise ConfigError(
                    f"The setting '{written}'{where} is wrong: it is true or false"
                )
            key, value = _SWITCHES[key](value)
        if key in renamed:
            where = f" in {path}" if path is not None else ""
            raise ConfigError(f"The setting '{written}'{where} is there twice")
        renamed[key] = value
    return renamed


def differences(old: NodeConfig, new: NodeConfig) -> list[str]:
    """Return the names of the settings that differ."""
    names = (each.name for each in fields(NodeConfig))
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def _explain(error: Malformed, path: Path | None) -> str:
    """Return one sentence on the first thing that is wrong, without its value."""
    key = ".".join(error.place)
    where = f" in {path}" if path is not None else ""
    if isinstance(error, Unknown):
        known = ", ".join(each.name for each in fields(NodeConfig))
        return f"There is no setting '{key}'{where}: use one of {known}"
    return f"The setting '{key}'{where} is wrong: {error}"
