"""Noise over X25519, ChaCha20-Poly1305 and BLAKE2s: the IK and IKpsk2 handshakes.

WireGuard and the control channel run the same handshake; they differ in the protocol
name, the prologue, and in whether a preshared key is mixed in (``psk2``). The two
classes :class:`Initiator` and :class:`Responder` hold one handshake each::

    initiator                                    responder
    write_initiation(payload, e)  ─── e, es, s, ss ──▶  read_static(), read_payload()
    read_response()               ◀── e, ee, se[, psk] ──  write_response(payload, e)
    split()                                      split()

Nothing a remote side sends changes the state of an initiator unless it authenticates:
:meth:`Initiator.read_response` works on a copy. A responder exists for one message
only, so there is nothing to protect.

The names are those of the Noise Protocol Framework, revision 34, section 5.
"""

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshwg.errors import AuthenticationFailed, InvalidMessage, LocalProtocolError
from meshwg.keys import KEY_LENGTH, PrivateKey

HASH_LENGTH = 32
TAG_LENGTH = 16
MAX_MESSAGE_LENGTH = 65535

IK = b"Noise_IK_25519_ChaChaPoly_BLAKE2s"
IKPSK2 = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"

_STATIC_END = KEY_LENGTH + KEY_LENGTH + TAG_LENGTH
_NONCE = struct.Struct("<4xQ")


def blake2s(*parts: bytes) -> bytes:
    """Return the BLAKE2s-256 digest of the parts put together."""
    digest = hashlib.blake2s()
    for part in parts:
        digest.update(part)
    return digest.digest()


def hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Return one to three keys of 32 bytes (Noise section 4.3, HMAC-BLAKE2s)."""
    secret = hmac.digest(chaining_key, material, "blake2s")
    keys: list[bytes] = []
    previous = b""
    for number in range(1, outputs + 1):
        previous = hmac.digest(secret, previous + bytes([number]), "blake2s")
        keys.append(previous)
    return keys


class SymmetricState:
    """The chaining key, hash and cipher key of a handshake (Noise section 5.2)."""

    __slots__ = ("_key", "_nonce", "chaining_key", "hash")

    def __init__(self, protocol_name: bytes) -> None:
        if len(protocol_name) <= HASH_LENGTH:
            self.hash = protocol_name.ljust(HASH_LENGTH, b"\0")
        else:
            self.hash = blake2s(protocol_name)
        self.chaining_key = self.hash
        self._key = b""
        self._nonce = 0

    def copy(self) -> "SymmetricState":
        """Return an independent state with the same contents."""
        state = SymmetricState.__new__(SymmetricState)
        state.hash, state.chaining_key = self.hash, self.chaining_key
        state._key, state._nonce = self._key, self._nonce
        return state

    def mix_hash(self, data: bytes) -> None:
        self.hash = blake2s(self.hash, data)

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, self._key = hkdf(self.chaining_key, material, 2)
        self._nonce = 0

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, temporary, self._key = hkdf(self.chaining_key, material, 3)
        self._nonce = 0
        self.mix_hash(temporary)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        nonce = _NONCE.pack(self._nonce)
        ciphertext = ChaCha20Poly1305(self._key).encrypt(nonce, plaintext, self.hash)
        self._nonce += 1
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        """Return the plaintext.

        :raises AuthenticationFailed: if the ciphertext does not belong here.
        """
        nonce = _NONCE.pack(self._nonce)
        try:
            aead = ChaCha20Poly1305(self._key)
            plaintext = aead.decrypt(nonce, ciphertext, self.hash)
        except InvalidTag:
            raise AuthenticationFailed("A handshake message is not authentic") from None
        self._nonce += 1
        self.mix_hash(ciphertext)
        return plaintext

    def mix_exchange(self, private_key: PrivateKey, public_key: bytes) -> None:
        """Mix in a Diffie-Hellman result.

        :raises AuthenticationFailed: if it is zero: the public key has a low order.
        """
        self.mix_shared(private_key.exchange(public_key))

    def mix_shared(self, shared: bytes | None) -> None:
        """Mix in a Diffie-Hellman result computed earlier, ``None`` if it was zero."""
        if shared is None:
            raise AuthenticationFailed("A public key has a low order")
        self.mix_key(shared)

    def split(self) -> tuple[bytes, bytes]:
        """Return the initiator's and the responder's sending key."""
        first, second = hkdf(self.chaining_key, b"", 2)
        return first, second


class Initiator:
    """The side that knows the other's static key and speaks first.

    :param static_shared: the exchange of the two static keys where the caller has it
        already; it is computed otherwise.
    :param preshared_key: 32 bytes for IKpsk2, ``None`` for IK.
    """

    def __init__(
        self,
        static: PrivateKey,
        remote_static: bytes,
        *,
        prologue: bytes,
        preshared_key: bytes | None = None,
        static_shared: bytes | None = None,
    ) -> None:
        self._static = static
        self._static_shared = static_shared or static.exchange(remote_static)
        self._remote_static = remote_static
        self._preshared_key = preshared_key
        self._ephemeral: PrivateKey | None = None
        self._state = _begin(prologue, remote_static, preshared_key is not None)

    def write_initiation(self, payload: bytes, ephemeral: PrivateKey) -> bytes:
        """Return the first message: ephemeral, encrypted static, encrypted payload.

        :raises AuthenticationFailed: if the remote static key has a low order.
        """
        state = self._state
        self._ephemeral = ephemeral
        _mix_ephemeral(state, ephemeral.public_bytes, self._preshared_key is not None)
        state.mix_exchange(ephemeral, self._remote_static)
        encrypted_static = state.encrypt_and_hash(self._static.public_bytes)
        state.mix_shared(self._static_shared)
        encrypted_payload = state.encrypt_and_hash(payload)
        return ephemeral.public_bytes + encrypted_static + encrypted_payload

    def read_response(self, message: bytes) -> bytes:
        """Return the payload of the second message; the handshake is then complete.

        :raises InvalidMessage: if the message is too short.
        :raises AuthenticationFailed: if it does not answer this initiation; the
            handshake is then unchanged and waits for the right one.
        """
        if self._ephemeral is None:
            raise LocalProtocolError("No initiation has been written yet")
        if len(message) < KEY_LENGTH + TAG_LENGTH:
            raise InvalidMessage("A handshake response is too short")
        state = self._state.copy()
        remote_ephemeral = message[:KEY_LENGTH]
        _mix_ephemeral(state, remote_ephemeral, self._preshared_key is not None)
        state.mix_exchange(self._ephemeral, remote_ephemeral)
        state.mix_exchange(self._static, remote_ephemeral)
        if self._preshared_key is not None:
            state.mix_key_and_hash(self._preshared_key)
        payload = state.decrypt_and_hash(message[KEY_LENGTH:])
        self._state = state
        self._ephemeral = None
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Return the key this side sends with and the one it receives with."""
        return self._state.split()

    @property
    def handshake_hash(self) -> bytes:
        """What both sides agree on at the end (Noise section 11.2)."""
        return self._state.hash


class Responder:
    """The side that answers one initiation."""

    def __init__(
        self, static: PrivateKey, *, prologue: bytes, with_preshared_key: bool = False
    ) -> None:
        self._static = static
        self._psk = with_preshared_key
        self._state = _begin(prologue, static.public_bytes, with_preshared_key)
        self._remote_ephemeral = b""
        self._encrypted_payload = b""
        self.remote_static = b""

    def read_static(self, message: bytes) -> bytes:
        """Read the first message up to the initiator's static key, and return that.

        :raises InvalidMessage: if the message is too short.
        :raises AuthenticationFailed: if it was not made for this static key.
        """
        if len(message) < _STATIC_END + TAG_LENGTH:
            raise InvalidMessage("A handshake initiation is too short")
        state = self._state
        self._remote_ephemeral = message[:KEY_LENGTH]
        _mix_ephemeral(state, self._remote_ephemeral, self._psk)
        state.mix_exchange(self._static, self._remote_ephemeral)
        self.remote_static = state.decrypt_and_hash(message[KEY_LENGTH:_STATIC_END])
        self._encrypted_payload = message[_STATIC_END:]
        return self.remote_static

    def read_payload(self, static_shared: bytes | None = None) -> bytes:
        """Return the payload of the first message, which proves who sent it.

        :param static_shared: the exchange of the two static keys if known.
        :raises AuthenticationFailed: if the sender does not own its static key.
        """
        if static_shared is None:
            static_shared = self._static.exchange(self.remote_static)
        self._state.mix_shared(static_shared)
        return self._state.decrypt_and_hash(self._encrypted_payload)

    def write_response(
        self, payload: bytes, ephemeral: PrivateKey, preshared_key: bytes | None = None
    ) -> bytes:
        """Return the second message; the handshake is then complete.

        :raises AuthenticationFailed: if a key of the initiator has a low order.
        """
        state = self._state
        _mix_ephemeral(state, ephemeral.public_bytes, self._psk)
        state.mix_exchange(ephemeral, self._remote_ephemeral)
        state.mix_exchange(ephemeral, self.remote_static)
        if self._psk:
            state.mix_key_and_hash(preshared_key or bytes(KEY_LENGTH))
        return ephemeral.public_bytes + state.encrypt_and_hash(payload)

    def split(self) -> tuple[bytes, bytes]:
        """Return the key this side sends with and the one it receives with."""
        theirs, ours = self._state.split()
        return ours, theirs

    @property
    def handshake_hash(self) -> bytes:
        """What both sides agree on at the end (Noise section 11.2)."""
        return self._state.hash


class CipherState:
    """One direction of an established channel with implicit, counted nonces.

    For reliable transports, where every message arrives once and in order. A
    coordinator has two of these for each node, which say something every few seconds:
    OpenSSL's state of a cipher, 2.4 kB, is made for each message, in 1.6 microseconds.
    """

    __slots__ = ("_key", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the next message, 16 bytes longer than its plaintext.

        :raises LocalProtocolError: if it would exceed what Noise allows.
        """
        if len(plaintext) > MAX_MESSAGE_LENGTH - TAG_LENGTH:
            raise LocalProtocolError("A Noise message holds at most 65519 bytes")
        aead = ChaCha20Poly1305(self._key)
        ciphertext = aead.encrypt(_NONCE.pack(self._nonce), plaintext, None)
        self._nonce += 1
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plaintext of the next message.

        :raises AuthenticationFailed: if it is not the next one of this channel.
        """
        aead = ChaCha20Poly1305(self._key)
        try:
            plaintext = aead.decrypt(_NONCE.pack(self._nonce), ciphertext, None)
        except InvalidTag:
            raise AuthenticationFailed("A message is not authentic") from None
        self._nonce += 1
        return plaintext


def _begin(prologue: bytes, responder_static: bytes, psk: bool) -> SymmetricState:
    state = SymmetricState(IKPSK2 if psk else IK)
    state.mix_hash(prologue)
    state.mix_hash(responder_static)
    return state


def _mix_ephemeral(state: SymmetricState, public_key: bytes, psk: bool) -> None:
    state.mix_hash(public_key)
    if psk:
        # With a preshared key the ephemeral also enters the key (Noise section 9.2).
        state.mix_key(public_key)
