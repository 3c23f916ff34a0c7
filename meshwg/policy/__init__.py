"""Who may reach what, as a node enforces it."""
