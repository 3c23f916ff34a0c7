"""The protocols that cross a process boundary: control, STUN, TURN, join tokens."""
