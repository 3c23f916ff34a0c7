"""What NAT this node is behind, and how to get ports mapped through it."""
