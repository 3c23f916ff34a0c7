"""A whole mesh in virtual time, of the project's own machines.

Nodes, coordinator, relays and STUN servers are what a user runs; NATs, wires and time
are those of :mod:`tests.sim`::

    world = World(seed=1, loss=0.05)
    alice, bob = world.add("alice", LINUX), world.add("bob", SYMMETRIC_RANDOM)
    world.settle()
    alice.talk_to(bob, 0.1)
    assert world.run(lambda: alice.contact(bob).is_direct, limit=5)

**The weather**: ``world.loss``, ``world.coordinator.stop()`` and ``.start()``,
``world.relays[0].restart()`` and ``.is_dead``, ``alice.restart()`` (with the netmap on
its disk), ``alice.die()`` and ``.start(cache)``, ``alice.leave()``,
``alice.router.reboot()``, ``alice.move_to(kind, number)``, ``alice.carrier.cut()`` and
``.silent``.

**Traffic**: ``talk_to`` sends numbered packets, and ``contact`` has what came of them
and by which ways; ``ping``, ``reaches`` and ``keep_pinging`` send echo requests;
``log`` is what a node has sent, by kind and by host.

:class:`~tests.world.control.ControlWorld` has coordinators on one database, and members
that are control clients and nothing else.
"""
