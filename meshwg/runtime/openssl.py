"""Python's own OpenSSL, which a node has no use for until it needs TLS.

What encrypts packets is another one, in the wheels of cryptography. Python's costs 4.6
MB resident, and whatever imports asyncio or hashlib loads it. A process that leaves it
out takes the hash functions that are part of Python itself, and loads OpenSSL with its
first TLS connection.
"""

import sys
from collections.abc import Sequence
from importlib import reload
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_USERS = ("ssl", "_hashlib")
"""Modules over OpenSSL, which asyncio, hashlib and hmac can do without."""
_HASHES = ("_blake2", "_md5", "_sha1")
"""Modules of Python's own that stand in. A distribution may leave them out."""


class _Refusal:
    """Finds no module over OpenSSL, and has nobody else look for it."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name in _USERS:
            raise ModuleNotFoundError(f"{name} is left out until TLS is needed")
        return None


_refusal = _Refusal()


def leave_out_openssl() -> None:
    """Do without from now on, if nothing has loaded it, and hashes are there without.

    It is for a process that has not imported asyncio yet.
    """
    if _refusal in sys.meta_path or any(each in sys.modules for each in _USERS):
        return
    if all(find_spec(each) for each in _HASHES):
        sys.meta_path.insert(0, _refusal)


def load_ssl() -> ModuleType:
    """Return the module ssl, which asyncio knows from then on, too."""
    if _refusal in sys.meta_path:
        sys.meta_path.remove(_refusal)
        from asyncio import sslproto

        # What it imported is nothing: asyncio's other modules only ask it.
        reload(sslproto)
    import ssl

    return ssl


def tls_failure(error: BaseException) -> str | None:
    """Return what went wrong with TLS, ``None`` for an error that is none of TLS's."""
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(error, ssl.SSLError):
        return None
    return str(getattr(error, "reason", None) or error)
