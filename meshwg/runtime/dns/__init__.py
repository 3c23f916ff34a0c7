"""The mesh's names in this machine: sockets, and what the system is told.

Nothing here is imported by a node that leaves names alone.
"""
