"""Which HTTP proxy leads to a host, by the variables that other programs read, too.

These are ``https_proxy``, ``http_proxy``, ``all_proxy`` and ``no_proxy``, as curl and
others read them. No standard says what they mean where programs differ: here, the names
may be written in capitals, but for ``HTTP_PROXY``, which web servers make of a header
that strangers send; and what is on this machine is reached without a proxy.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

DEFAULT_PORT = 80
MAX_EXCEPTIONS = 1024
"""Entries of ``no_proxy`` that are read."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.ASCII | re.IGNORECASE)
_END_OF_PORT = re.compile(r"(.*):(\d{1,5})", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that opens connections to others (CONNECT, RFC 9110 section 9.3.6)."""

    host: str
    port: int
    variable: str
    """Which names it, for the user."""
    user: str | None = field(default=None, repr=False)
    """``NAME:PASSWORD``, if it wants one."""

    @property
    def headers(self) -> dict[str, str]:
        """What a request to it has beside what is asked for (RFC 7617)."""
        if self.user is None:
            return {}
        user = b64encode(self.user.encode()).decode()
        return {"Proxy-Authorization": f"Basic {user}"}

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class _Exception(NamedTuple):
    """An entry of ``no_proxy``."""

    host: str
    """A name, which stands for all names that end with it, or a network."""
    port: int | None


class Proxies:
    """The proxies of one environment; without arguments there are none.

    :param secure: for TLS, and for relays.
    :param plain: for a coordinator without TLS.
    :param exceptions: the value of ``no_proxy``.
    """

    def __init__(
        self,
        secure: Proxy | None = None,
        plain: Proxy | None = None,
        exceptions: str = "",
    ) -> None:
        self._secure, self._plain = secure, plain
        self._exceptions = [_read_exception(each) for each in _entries(exceptions)]
        self.unusable: tuple[str, ...] = ()
        """What is wrong with the variables, as sentences."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Proxies":
        """Return the proxies that an environment names.

        One that cannot be used counts for nothing, and :attr:`unusable` says so.
        """
        problems: list[str] = []

        def choose(*names: str) -> Proxy | None:
            name = next((each for each in names if environment.get(each)), None)
            if name is None:
                return None
            try:
                return _read_proxy(name, environment[name])
            except ValueError as error:
                problems.append(str(error))
                return None

        others = ("all_proxy", "ALL_PROXY")
        secure = choose("https_proxy", "HTTPS_PROXY", *others)
        plain = choose("http_proxy", *others)
        exceptions = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        found = cls(secure, plain, exceptions)
        found.unusable = tuple(dict.fromkeys(problems))
        return found

    def find(self, host: str, port: int, *, secure: bool) -> Proxy | None:
        """Return the proxy for connections to a host, ``None`` to connect directly."""
        proxy = self._secure if secure else self._plain
        if proxy is None or _is_here(host):
            return None
        name = host.lower().rstrip(".")
        for exception in self._exceptions:
            if exception.port in (None, port) and _is_meant(exception.host, name):
                return None
        return proxy


def _read_proxy(variable: str, text: str) -> Proxy:
    """Return the proxy that a variable names, a part of a URL being enough.

    :raises ValueError: saying what to write instead; without the value, which may have
        a password in it.
    """
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"http://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme.lower() != "http" or not host:
        raise ValueError(
            f"The variable {variable} names no proxy that can be used, and counts for "
            "nothing: write http://HOST:PORT or http://NAME:PASSWORD@HOST:PORT"
        )
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, DEFAULT_PORT if port is None else port, variable, user)


def _entries(text: str) -> Iterable[str]:
    found = re.split(r"[\s,]+", text.strip().lower())
    return [each for each in found if each][:MAX_EXCEPTIONS]


def _read_exception(entry: str) -> _Exception:
    """Return an entry's host and port; IPv6 addresses have ports behind brackets."""
    found = _END_OF_PORT.fullmatch(entry)
    host, port = entry, None
    if found is not None and (entry.count(":") == 1 or found[1].endswith("]")):
        host, port = found[1], int(found[2])
    return _Exception(host.strip("[]").removeprefix("*.").strip("."), port)


def _is_meant(pattern: str, host: str) -> bool:
    if pattern == "*":
        return True
    address = _address(host)
    if address is None:
        return f".{host}".endswith(f".{pattern}")
    try:
        return address in ip_network(pattern, strict=False)
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".") == "localhost"
    return address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None
