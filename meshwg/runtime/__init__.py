"""The thin shell: sockets, timers, files and netlink. Every decision is elsewhere."""
