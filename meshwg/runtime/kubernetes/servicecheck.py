"""Asks a service on this machine whether it works."""

import asyncio
import contextlib
import os
from ssl import SSLContext

from meshwg.kubernetes.fitness import LIMIT, CheckTarget, status_problem
from meshwg.runtime.openssl import load_ssl, tls_failure

MAX_LINE = 1024
"""Bytes of the first line of an answer."""


class ServiceCheck:
    """Checks one service, again and again.

    Who answers is not asked, as it is this machine: a certificate is not looked at.
    """

    def __init__(self, target: CheckTarget) -> None:
        self._target = target
        self._tls: SSLContext | None = None
        if target.scheme == "https":
            ssl = load_ssl()
            context: SSLContext = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self._tls = context

    async def run(self) -> str | None:
        """Return what is wrong with the service, ``None`` for nothing."""
        try:
            async with asyncio.timeout(LIMIT):
                return await self._ask()
        except TimeoutError:
            return f"it does not answer in {LIMIT:g} s"
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = tls_failure(error) or (os.strerror(number) if number else "")
            return (reason or str(error) or type(error).__name__).lower()

    async def _ask(self) -> str | None:
        target = self._target
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=self._tls, limit=MAX_LINE
        )
        try:
            if target.scheme == "tcp":
                return None
            host = f"[{target.host}]" if ":" in target.host else target.host
            writer.write(
                f"GET {target.path} HTTP/1.1\r\nHost: {host}:{target.port}\r\n"
                "User-Agent: meshwg-k8s\r\nConnection: close\r\n\r\n".encode()
            )
            return status_problem(await reader.readline())
        finally:
            # Nobody waits for the other side to say goodbye.
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
