"""The node's side of the coordinator protocol."""
