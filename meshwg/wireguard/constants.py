"""Every number of the protocol (WireGuard paper, section 6.1; Linux ``messages.h``)."""

REKEY_AFTER_MESSAGES = 2**60
"""A keypair older than this many messages is renewed."""
REJECT_AFTER_MESSAGES = 2**64 - 2**13 - 1
"""A keypair is not used beyond this many messages."""
REKEY_AFTER_TIME = 120.0
"""The initiator renews a keypair of this age, in seconds, when it sends."""
REJECT_AFTER_TIME = 180.0
"""A keypair of this age, in seconds, is not used."""
REKEY_TIMEOUT = 5.0
"""Seconds between initiations to one peer, and before one is repeated."""
REKEY_TIMEOUT_JITTER = 1 / 3
"""The largest random delay, in seconds, added to a repeated initiation."""
MAX_HANDSHAKE_ATTEMPTS = 18
"""Repetitions of an initiation: 90 s (REKEY_ATTEMPT_TIME) of them."""
KEEPALIVE_TIMEOUT = 10.0
"""Seconds after which received data is acknowledged by a keepalive."""
ZERO_KEY_TIME = 3 * REJECT_AFTER_TIME
"""Seconds after a handshake in which a silent peer keeps its keys."""
LAST_MINUTE = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT - REKEY_AFTER_TIME
"""Seconds after a busy sender in which a busy receiver renews a session: there is just
time for that before the session is refused."""

INITIATION_INTERVAL = 0.02
"""A peer's initiations closer together than this, in seconds, are a flood."""
COOKIE_SECRET_TIME = 120.0
"""Seconds that the secret behind the cookies given out is kept."""
COOKIE_LIFETIME = 115.0
"""Seconds that a received cookie is used: less than its maker's secret lives."""
UNDER_LOAD_TIME = 1.0
"""Seconds that a device stays under load after the last sign of it."""

REPLAY_WINDOW = 8128
"""How far behind the newest counter a late message may be."""
MAX_STAGED_PACKETS = 128
"""Packets that wait for a peer's handshake; the oldest goes first."""
MAX_PEERS = 2**16
PADDING_MULTIPLE = 16
DEFAULT_MTU = 1420

MESSAGE_INITIATION = 1
MESSAGE_RESPONSE = 2
MESSAGE_COOKIE = 3
MESSAGE_DATA = 4

INITIATION_LENGTH = 148
RESPONSE_LENGTH = 92
COOKIE_LENGTH = 64
DATA_HEADER_LENGTH = 16
DATA_OVERHEAD = 32
"""Bytes that a data message is longer than its (padded) packet."""

PROLOGUE = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
LABEL_COOKIE = b"cookie--"
