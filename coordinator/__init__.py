"""The self-hosted coordinator: membership, netmaps, rendezvous, STUN and TURN."""
