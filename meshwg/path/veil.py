"""What bystanders see of a check's ends: words that mean something to one node only.

A check has to say whose it is before its signature can be verified, and an answer
which check it answers. Whatever names a peer for longer lets a bystander follow it from
network to network. So a node hides both by a key of its own, which it derives from its
private key, and can read them without remembering what it gave to whom, also after a
restart:

* With each offer it gives the peer other *tags*, for the USERNAME of the checks to
  come: the next one is used when either end changes its network. Each is
  ``nonce || (mask(peer's public key) xor mask(nonce))``.
* The first bytes of a transaction id are the asker's *route* to the peer, ``xor`` the
  mask of the other bytes, which are random.

``mask(x)`` is the start of BLAKE2s of ``x`` under the node's key, so nobody can look
for a public key that stands for the same as another member's. Nothing here is
authentic: checks are signed, and a wrong word leads to nobody, or to a signature that
does not match.
"""

import hashlib

from meshwg.keys import PrivateKey
from meshwg.noise import hkdf
from meshwg.transmit import Random

TAG_LENGTH = 12
ROUTE_LENGTH = 4
TAGS = 4
"""Tags in one offer: so often may networks change before the next one arrives."""
PEER_LENGTH = 6
"""Bytes that stand for a peer."""

_LABEL = b"meshwg path veil 1"
_NONCE_LENGTH = TAG_LENGTH - PEER_LENGTH


class Veil:
    """Hides and reads the words of one node."""

    def __init__(self, private_key: PrivateKey) -> None:
        own = private_key.exchange(private_key.public_bytes) or b""
        (self._key,) = hkdf(_LABEL, own, 1)

    def word_for(self, public_key: bytes) -> bytes:
        """Return what stands for a peer in tags."""
        return self._mask(public_key, PEER_LENGTH)

    def tag_for(self, public_key: bytes, random: Random) -> str:
        """Return a new tag for a peer, in hexadecimal digits."""
        nonce = random(_NONCE_LENGTH)
        return (nonce + self._hidden(self.word_for(public_key), nonce)).hex()

    def word_in(self, tag: str) -> bytes | None:
        """Return for whom a tag is, if it is one of this node's; else anything."""
        if not is_tag(tag):
            return None
        data = bytes.fromhex(tag)
        return self._hidden(data[_NONCE_LENGTH:], data[:_NONCE_LENGTH])

    def transaction_id(self, route: bytes, nonce: bytes) -> bytes:
        """Return an id that leads to a route."""
        return self._hidden(route, nonce) + nonce

    def route_in(self, transaction_id: bytes) -> bytes:
        """Return the route in an id of this node's; in others there is anything."""
        nonce = transaction_id[ROUTE_LENGTH:]
        return self._hidden(transaction_id[:ROUTE_LENGTH], nonce)

    def _hidden(self, word: bytes, nonce: bytes) -> bytes:
        """Hide a word, or read it again."""
        size = len(word)
        mask = self._mask(nonce, size)
        return (int.from_bytes(word) ^ int.from_bytes(mask)).to_bytes(size)

    def _mask(self, data: bytes, size: int) -> bytes:
        return hashlib.blake2s(data, key=self._key, digest_size=size).digest()


def is_tag(text: object) -> bool:
    """Tell whether a text can be a tag."""
    if not isinstance(text, str) or len(text) != 2 * TAG_LENGTH:
        return False
    return all(letter in "0123456789abcdef" for letter in text)
