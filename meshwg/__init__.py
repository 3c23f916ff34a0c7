"""Laptops and servers behind NATs become one private WireGuard network."""

__version__ = "0.1.0"
