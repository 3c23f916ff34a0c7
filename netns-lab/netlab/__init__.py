"""An internet of NATs in network namespaces, for scenarios and for tests.

::

    with Lab() as lab:
        home = lab.add_router("home", presets.HOME_ROUTER)
        alice = lab.add_host("alice", home)
        server = lab.add_host("server", lab.internet)
        alice.run(["ping", "-c", "1", server.address(4)])

Nothing is made in the machine's own network: each host, router and switch is a
namespace of its own, and veth pairs are made between them directly. One mechanism,
one module: ``netns`` enters namespaces, ``links`` runs ``ip``, ``nat`` writes
nftables text, ``shape`` runs ``tc``, ``conntrack`` speaks to the kernel's table,
``registry`` records what has to be removed. ``presets`` names the kinds of routers, and
``truth`` says which pairs of them can open a path.

Helpers return when what they start is ready to be used.
"""
