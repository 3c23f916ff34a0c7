"""The TURN client (RFC 8656)."""
