"""The coordinator's process: sockets, timers, files and signals."""
