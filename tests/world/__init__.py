"""A whole mesh in virtual time, of the project's own machines.

:class:`~tests.world.control.ControlWorld` has coordinators on one database, and members
that are control clients and nothing else. Time is that of :mod:`tests.sim`.
"""
