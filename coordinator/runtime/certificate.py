"""The certificate of the TCP port, which is renewed while the port is served.

Programs that renew certificates replace the files and may tell nobody. So these are
looked at, and new connections see what is in them now. A certificate that does not fit
its key changes nothing: the other file of the two may come a moment later.
"""

import asyncio
import logging
import ssl
from pathlib import Path

from meshwg.errors import MeshError

INTERVAL = 5.0
"""Seconds between two looks at the files."""

logger = logging.getLogger(__name__)


class Certificate:
    """Certificate and key, and the TLS context that uses them.

    :raises MeshError: if they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self._stamp = self._look()
        self.context = load_tls(str(certificate), str(key))

    def renew(self, certificate: Path, key: Path) -> None:
        """Let new connections see what is in these files now.

        :raises MeshError: if it cannot be used; the old one then stays.
        """
        # A context that fails half-way would be left with a key of another certificate.
        load_tls(str(certificate), str(key))
        self.context.load_cert_chain(certificate, key)
        self._files = certificate, key
        self._stamp = self._look()

    async def watch(self) -> None:
        """Renew it whenever a file has changed, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.look()

    def look(self) -> None:
        """Renew it if a file has changed; complain once of one that is of no use."""
        if (stamp := self._look()) == self._stamp:
            return
        self._stamp = stamp
        try:
            self.renew(*self._files)
        except MeshError as error:
            logger.error("The certificate stays as it is: %s", error)
        else:
            logger.info("The certificate %s has changed, and is used", self._files[0])

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(each) for each in self._files)


def load_tls(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS context of the TCP port.

    :raises MeshError: if certificate or key cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        # An SSLError is an OSError whose text is in other places.
        reason = getattr(error, "reason", None) or error.strerror
        raise MeshError(
            f"The TLS certificate {certificate} with key {key} cannot be used: {reason}"
        ) from None
    return context


def _stamp(path: Path) -> object:
    """Return what changes with a file, also with one that a link leads to."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_size, status.st_ino
