"""Which secret is shared with which relay: none opens another one.

Whoever has a relay's secret can make credentials for that relay. So each relay has one
of its own, which follows from the coordinator's and does not show it, or which an
administrator has chosen. The coordinator's own secret serves the relay in its process,
and never leaves its data directory.

An administrator's secrets are lines of ``HOST SECRET``, where a host has a dot or a
colon. A secret alone is for all hosts that have no line.
"""

import hmac
from collections.abc import Iterable, Mapping

from coordinator.credentials import relay_host
from meshwg.errors import ConfigError

MAX_LINES = 1024


class RelaySecrets:
    """The secrets of all relays of a mesh.

    :param own: the coordinator's.
    :param chosen: what the administrator has chosen, see :func:`parse_secrets`.
    """

    def __init__(self, own: bytes, chosen: Mapping[str, bytes] | None = None) -> None:
        self._own = own
        self._chosen = dict(chosen or {})

    def own(self, host: str) -> bytes:
        """Return the secret of the relay in this process, which nodes reach at a host.

        Another coordinator that names this relay has to know it, too, and only then is
        it one that the administrator has chosen.
        """
        return self._chosen.get(_folded(host), self._own)

    def of_host(self, host: str) -> bytes:
        """Return the secret that is shared with the relay at a host."""
        chosen = self._chosen.get(_folded(host), self._chosen.get(""))
        return chosen or derive(self._own, host)

    def of_url(self, url: str) -> bytes:
        """Return the secret that is shared with the relay of a URL."""
        return self.of_host(relay_host(url))

    def sharing(self, urls: Iterable[str]) -> list[str]:
        """Return the hosts of relays that have one secret, if there are several."""
        hosts = dict.fromkeys(_folded(relay_host(url)) for url in urls)
        shared = [
            host for host in hosts if "" in self._chosen and self._is_common(host)
        ]
        return shared if len(shared) > 1 else []

    def _is_common(self, host: str) -> bool:
        return self.of_host(host) == self._chosen[""]


def derive(own: bytes, host: str) -> bytes:
    """Return the secret of the relay at a host, which does not show the one it follows
    from."""
    text = f"meshwg relay secret {_folded(host)}"
    return hmac.digest(own, text.encode(), "sha256").hex().encode()


def parse_secrets(content: bytes) -> dict[str, bytes]:
    """Return secrets by host; that for all other hosts has none.

    :raises ConfigError: if it is something else.
    """
    lines = [line.strip() for line in content.splitlines()[:MAX_LINES]]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    found: dict[str, bytes] = {}
    for line in lines:
        host, secret = _split(line)
        if not host and len(lines) > 1 and b" " in line:
            raise ConfigError(
                "A line of relay secrets is HOST SECRET: correct the others"
            )
        if host in found:
            raise ConfigError(
                f"The relay {host or 'without a host'} has two secrets: leave one line"
            )
        found[host] = secret
    return found


def _split(line: bytes) -> tuple[str, bytes]:
    """Return host and secret of a line; a secret alone may have spaces in it."""
    host, secret = (*line.split(None, 1), b"")[:2]
    if secret and (b"." in host or b":" in host):
        return _folded(host.decode(errors="replace")), secret
    return "", line


def _folded(host: str) -> str:
    return host.strip().strip("[]").lower()
