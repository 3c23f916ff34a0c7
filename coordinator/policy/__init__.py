"""Who may reach what: the file, what follows from it, and what is said of it."""
