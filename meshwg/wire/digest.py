"""By what both sides know that they have the same netmap."""

import hashlib


def peer_digest(public_key: str, version: int) -> int:
    """Return the 64 bits that one peer adds to a netmap's digest.

    The digest of a netmap is the exclusive or over its peers, as 16 hexadecimal digits.
    Either side keeps it up to date at the cost of a change, and a node whose digest
    differs asks for the whole netmap. It guards against mistakes, not against anyone.
    """
    text = f"{public_key} {version}".encode()
    return int.from_bytes(hashlib.blake2s(text, digest_size=8).digest())


def format_digest(digest: int) -> str:
    """Return a netmap's digest as messages carry it."""
    return f"{digest:016x}"
