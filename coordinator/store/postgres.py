"""Connections to PostgreSQL: for the pool and for the listener, both made here.

A host may vanish without a word, and a process may be stopped while its system still
acknowledges. So the system gives a connection up whose other end acknowledges nothing,
each host has a limited time to answer, and whoever waited for one in vain has all of
them ended: the others would be waited for one after the other.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from weakref import WeakSet

import asyncpg

from coordinator.dsn import DatabaseHost, PostgresServer
from coordinator.store.faults import explain

ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ValueError,
)
"""What the driver raises, the last of them where it cannot use what it was given."""

ACKNOWLEDGEMENT_TIMEOUT = 10.0
"""Seconds that the other system may leave something unacknowledged. Without a limit TCP
tries for a quarter of an hour."""
KEEPALIVE_INTERVAL = 5.0
"""Seconds of silence after which the system asks whether the other one is there."""

SESSION = """
    SET idle_in_transaction_session_timeout = '10s';
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';
"""
"""What every session begins with. A coordinator that stops in the middle of a
transaction would keep the row locked that all others wait for; they do not expect to be
refused for having waited; and what nodes were told must survive the server's crash."""


class Connector:
    """Makes connections to one database, and knows those that are open."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._last: DatabaseHost | None = None
        """Where the last connection was made."""
        self._open: WeakSet[Any] = WeakSet()

    async def connect(self) -> Any:
        """Return a new connection, to the first host that is what the URL asks for.

        :raises StoreError: if there is none.
        """
        failures: list[Exception] = []
        for host in self._hosts():
            try:
                connection = await self._connect_to(host)
            except ERRORS as error:
                failures.append(error)
            else:
                self._last = host
                self._open.add(connection)
                return connection
        worst = max(failures, key=_says)
        state = getattr(worst, "sqlstate", None)
        place = str(self._server)
        raise explain(worst, place, sqlstate=state, is_answer=False) from worst

    def abort(self) -> None:
        """End all connections at once; whoever uses one is told that it is lost."""
        for connection in list(self._open):
            connection.terminate()

    def _hosts(self) -> Iterator[DatabaseHost | None]:
        """Yield the hosts to try, first the one that was right the last time."""
        hosts = self._server.hosts
        if self._last is not None:
            yield self._last
        yield from (each for each in hosts if each != self._last)
        if not hosts:
            yield None

    async def _connect_to(self, host: DatabaseHost | None) -> Any:
        server = self._server
        connection = await asyncpg.connect(
            f"postgresql://?{urlencode(self._tls)}" if self._tls else None,
            host=None if host is None else host.name,
            port=None if host is None else host.port,
            user=server.user,
            password=server.password,
            passfile=server.passfile,
            database=server.database,
            ssl=self._context(),
            target_session_attrs=server.target,
            server_settings=dict(server.settings),
            timeout=server.connect_timeout,
        )
        try:
            _limit_silence(connection._transport.get_extra_info("socket"))
            await connection.execute(SESSION, timeout=server.connect_timeout)
        except BaseException:
            connection.terminate()
            raise
        return connection

    @property
    def _tls(self) -> dict[str, str]:
        """What the driver is told of TLS in a URL, which is all that it takes."""
        return {} if self._trusts_system else dict(self._server.tls)

    @property
    def _trusts_system(self) -> bool:
        return self._server.tls.get("sslrootcert") == "system"

    def _context(self) -> ssl.SSLContext | None:
        """Return TLS by the certificates that this system trusts, where that is said;
        the driver knows files only.
        """
        if not self._trusts_system:
            return None
        context = ssl.create_default_context()
        certificate = self._server.tls.get("sslcert")
        if certificate is not None:
            context.load_cert_chain(certificate, self._server.tls.get("sslkey"))
        return context


def _says(error: Exception) -> int:
    """Return how much an error says: a server's answer most, silence least."""
    if isinstance(error, asyncpg.PostgresError):
        return 3
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return 2
    return 0 if isinstance(error, TimeoutError) else 1


def _limit_silence(sock: socket.socket) -> None:
    """Have the system end a connection whose other end is gone."""
    if sock.family == socket.AF_UNIX:
        return
    milliseconds = int(ACKNOWLEDGEMENT_TIMEOUT * 1000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    seconds = int(KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds)
