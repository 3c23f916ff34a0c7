"""The URL of the database, read once for everything that connects to it.

PostgreSQL's has the form that its own programs take (PostgreSQL's manual, "libpq",
section "Connection URIs")::

    postgresql://[USER[:PASSWORD]@][HOST[:PORT],...][/NAME][?PARAMETER=VALUE&...]

Of several hosts the first one that takes writes is used, so a URL goes on being right
after a failover. A host that begins with ``/`` is the directory of a Unix socket. What
is not given is found as those programs find it: in ``PGUSER``, ``~/.pgpass`` and so on.

Errors name no value of the URL: any of them may be a part of a password that was not
written as a URL wants it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from meshwg.errors import ConfigError

DEFAULT_PORT = 5432
CONNECT_TIMEOUT = 5.0
"""Seconds in which a host has to answer, unless the URL has ``connect_timeout``."""
MIN_CONNECT_TIMEOUT, MAX_CONNECT_TIMEOUT = 2.0, 60.0
"""libpq waits for ever if it is told 0, and never for less than 2 s."""
MAX_HOSTS = 16
APPLICATION_NAME = "meshwg-coordinator"
"""What PostgreSQL shows in ``pg_stat_activity`` unless the URL says something else."""

HELP = (
    "A database URL looks like sqlite:////path/to/file or "
    "postgresql://USER:PASSWORD@HOST/NAME"
)
ESCAPES = (
    "letters of a user name or password such as @ : / ? # % are written as %40 %3A %2F "
    "%3F %23 %25"
)

_TLS = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
"""Parameters about TLS, which the driver understands by libpq's names."""
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_JDBC_SSL = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
"""What ``ssl`` means, a parameter of other drivers that some services put into URLs."""
_TARGETS = ("any", "read-write", "primary")
_OURS = (
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "load_balance_hosts",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
)
"""Parameters that say what this program decides itself, or has no use for."""
_WEAKER = {"gssencmode": ("require",), "load_balance_hosts": ("random",)}
"""Values of these that would not be followed, and so are refused."""
_SERVER = ("application_name", "options")
"""Parameters that go to the server as they are."""
_KNOWN = {
    "host",
    "hostaddr",
    "port",
    "dbname",
    "database",
    "user",
    "password",
    "passfile",
    "target_session_attrs",
    "connect_timeout",
    "channel_binding",
    "ssl",
    *_TLS,
    *_OURS,
    *_SERVER,
}
_PARAMETER = re.compile(r"[a-z_]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A database that is a file, used by one coordinator."""

    path: str

    def __str__(self) -> str:
        return self.path


class DatabaseHost(NamedTuple):
    """Where a PostgreSQL listens; the name may be a Unix socket's directory."""

    name: str
    port: int

    def __str__(self) -> str:
        name = self.name
        if ":" in name and not name.startswith("/"):
            name = f"[{name}]"
        return name if self.port == DEFAULT_PORT else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A database on a PostgreSQL, which several coordinators may share."""

    hosts: tuple[DatabaseHost, ...] = ()
    """Where it may be; nothing for where the driver looks by itself."""
    database: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    passfile: str | None = None
    tls: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters about TLS by libpq's names."""
    target: str = "read-write"
    """What a host has to be: ``any``, ``read-write`` or ``primary``."""
    connect_timeout: float = CONNECT_TIMEOUT
    """Seconds in which each host has to answer."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What the server is told of the session when it begins."""

    def __str__(self) -> str:
        """Return the URL as it may be shown: without a password."""
        user = "" if self.user is None else f"{self.user}@"
        hosts = ",".join(str(each) for each in self.hosts)
        return f"postgresql://{user}{hosts}/{self.database or ''}"


DatabaseAddress = SqliteFile | PostgresServer


def parse_url(url: str) -> DatabaseAddress:
    """Return where a database is.

    :raises ConfigError: if the URL names none that this program can use.
    """
    scheme, separator, rest = url.strip().partition("://")
    # Some write the driver of another program behind it.
    kind = scheme.partition("+")[0].lower()
    if not separator or not rest.isprintable():
        raise ConfigError(HELP)
    if kind == "sqlite":
        return _parse_sqlite(rest)
    if kind in ("postgresql", "postgres"):
        return _parse_postgres(rest)
    raise ConfigError(HELP)


def _parse_sqlite(rest: str) -> SqliteFile:
    path = rest.removeprefix("/")
    if path == rest or not path or "?" in path:
        raise ConfigError(HELP)
    return SqliteFile(path)


def _parse_postgres(rest: str) -> PostgresServer:
    # As libpq does, what is before the first @ is user and password, whatever they are
    # made of, unless a slash comes before it.
    head, at, tail = rest.partition("@")
    if not at or "/" in head:
        head, tail = "", rest
    user, _, password = head.partition(":")
    location, _, query = tail.partition("?")
    authority, _, database = location.partition("/")
    if "@" in location:
        raise ConfigError(f"The database URL has more than one @: {ESCAPES}")
    given = _parse_query(query)
    hosts = _parse_hosts(authority)
    if "host" in given or "hostaddr" in given:
        hosts = _hosts_of_parameters(given)
    elif "port" in given and not hosts:
        hosts = (DatabaseHost("localhost", _parse_port(given["port"])),)
    _check_demands(given)
    return PostgresServer(
        hosts=hosts,
        database=given.get("dbname") or _text(database),
        user=given.get("user") or _text(user),
        password=given.get("password") or _text(password),
        passfile=given.get("passfile"),
        tls=_parse_tls(given),
        target=given.get("target_session_attrs", "read-write"),
        connect_timeout=_parse_timeout(given.get("connect_timeout")),
        settings={"application_name": APPLICATION_NAME}
        | {name: given[name] for name in _SERVER if name in given},
    )


def _parse_query(query: str) -> dict[str, str]:
    """Return the parameters by name; a plus is no space here, nor is it to libpq."""
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, separator, value = part.partition("=")
        if not separator:
            raise ConfigError(
                f"The database URL has a parameter without a value: {ESCAPES}"
            )
        value = _decoded(value)
        if name == "host" and name in found:
            # Some name each host in a parameter of its own.
            value = f"{found[name]},{value}"
        found[name] = value
    for name in found:
        if name not in _KNOWN:
            which = f" '{name}'" if _PARAMETER.fullmatch(name) else ""
            raise ConfigError(
                f"The database URL has a parameter{which} that this program does not "
                f"know: leave it out, or if it is a part of the password, {ESCAPES}"
            )
    if "database" in found:
        found.setdefault("dbname", found["database"])
    return found


def _parse_hosts(authority: str) -> tuple[DatabaseHost, ...]:
    """Return the hosts before the name of the database."""
    if not authority:
        return ()
    hosts = []
    for part in authority.split(","):
        bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.%\w]+)\](?::(.*))?", part)
        if bracketed is not None:
            name, port = bracketed[1], bracketed[2]
        else:
            name, _, port = part.partition(":")
        hosts.append(DatabaseHost(_decoded(name) or "localhost", _parse_port(port)))
    return _checked(hosts)


def _hosts_of_parameters(given: Mapping[str, str]) -> tuple[DatabaseHost, ...]:
    """Return the hosts of the parameters ``host`` and ``port``, lists of one length."""
    names = (given.get("hostaddr") or given.get("host") or "").split(",")
    ports = given.get("port", "").split(",")
    if len(ports) not in (1, len(names)):
        raise ConfigError(
            f"The database URL has {len(names)} hosts and {len(ports)} ports: give one "
            "port for all hosts, or one for each"
        )
    if len(ports) == 1:
        ports *= len(names)
    hosts = []
    for name, port in zip(names, ports, strict=True):
        # The directory of a socket may have a colon, as an address of IPv6 has.
        plain, colon, own = name.partition(":")
        if colon and own.isdecimal() and not name.startswith("/"):
            name, port = plain, own
        hosts.append(DatabaseHost(name.strip("[]") or "localhost", _parse_port(port)))
    return _checked(hosts)


def _checked(hosts: list[DatabaseHost]) -> tuple[DatabaseHost, ...]:
    if len(hosts) > MAX_HOSTS:
        raise ConfigError(f"The database URL has more than {MAX_HOSTS} hosts")
    return tuple(dict.fromkeys(hosts))


def _parse_port(text: str | None) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:6]) < 65536:
        raise ConfigError(
            f"The database URL has a port that is none: write HOST:5432; {ESCAPES}"
        )
    return int(text)


def _parse_timeout(text: str | None) -> float:
    if text is None:
        return CONNECT_TIMEOUT
    if not re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII):
        raise ConfigError("connect_timeout in the database URL is a number of seconds")
    seconds = float(text)
    if seconds <= 0:
        return CONNECT_TIMEOUT
    return min(max(seconds, MIN_CONNECT_TIMEOUT), MAX_CONNECT_TIMEOUT)


def _parse_tls(given: Mapping[str, str]) -> dict[str, str]:
    found = {name: given[name] for name in _TLS if given.get(name)}
    if "ssl" in given:
        mode = _JDBC_SSL.get(given["ssl"].lower(), given["ssl"])
        found.setdefault("sslmode", mode)
    if found.get("sslrootcert") == "system":
        # libpq has the same default, and refuses anything weaker.
        found.setdefault("sslmode", "verify-full")
    mode = found.get("sslmode", "prefer")
    if mode not in _SSL_MODES:
        words = ", ".join(_SSL_MODES)
        raise ConfigError(f"sslmode in the database URL is one of {words}")
    if found.get("sslrootcert") == "system" and mode != "verify-full":
        raise ConfigError(
            "sslrootcert=system in the database URL needs sslmode=verify-full"
        )
    return found


def _check_demands(given: Mapping[str, str]) -> None:
    """Refuse what the URL asks for and nobody here would do."""
    if given.get("target_session_attrs", "any") not in _TARGETS:
        raise ConfigError(
            "target_session_attrs in the database URL is read-write, primary or any: "
            "the coordinator has to write"
        )
    for name, values in _WEAKER.items():
        if given.get(name) in values:
            raise ConfigError(
                f"{name}={given[name]} in the database URL cannot be followed: leave "
                "it out"
            )
    is_proved = given.get("sslmode") == "verify-full"
    if given.get("channel_binding") == "require" and not is_proved:
        raise ConfigError(
            "channel_binding=require in the database URL cannot be followed: give "
            "sslmode=verify-full&sslrootcert=system instead, which proves who the "
            "server is, too"
        )


def _text(encoded: str) -> str | None:
    return _decoded(encoded) or None


def _decoded(encoded: str) -> str:
    text = unquote(encoded, errors="surrogateescape")
    if not text.isprintable():
        raise ConfigError(f"The database URL has something that is no text: {ESCAPES}")
    return text
