"""The WireGuard engine: pure, batch-wise, complete."""
