"""An internet in virtual time, with NATs, firewalls, loss and reboots.

It runs the same pure machines as a laptop does, thousands of times faster, and always
in the same way for the same seed::

    network = Network(seed=1)
    server = network.add_host("server", "198.51.100.1", "198.51.100.2")
    home = network.add_router("home", "203.0.113.1", nat=Nat(lifetime=30))
    laptop = network.add_host("laptop", "192.168.1.2", behind=home)
    laptop.run(machine, port=41641)
    assert network.run(until=lambda: machine.report is not None, limit=5)

**Machines** are whatever has :class:`Machine`'s four verbs: ``receive(data, source,
now)``, ``datagrams_to_send()``, ``get_timer()``, ``handle_timer(now)``. The host calls
the last three after every call in. A test that calls a machine itself calls
``host.drain()`` afterwards; ``host.on_activity`` is called after every drain, to take
the machine's events. ``source`` is pinned to the local address the datagram came to, as
in the runtime: compare ``source.unpinned()``.

**Sockets** are ``link`` numbers. ``host.open(port, link, address)`` opens one, sending
on an unknown link opens one at a random port, ``host.close(link)`` closes it. Sockets
of a host without a machine collect what arrives in ``socket.received``, or call
``socket.on_datagram``. ``Transmit.ttl`` counts: every router takes one, and the core of
the internet takes ``core_hops``; TTL 2 opens one's own NAT and dies in the core.

**Routers** translate IPv4 with ``nat=Nat(...)`` and filter what they route (IPv6, or
all without a NAT) with ``firewall=Firewall(...)``. ``behind=`` nests them: double NAT.
``router.reboot()``, ``router.change_addresses(...)``, ``host.move(..., behind=...)``,
``router.translation.map_port(...)`` and ``.use_up_ports(n)`` are the weather.
``block_udp`` and ``tcp_ports`` make a hotel of it. A NAT has one public address or
several, keeps ports, counts them up or draws them, hairpins or not, drops unasked
input or takes it (``WanInput.SLOPPY``, Linux's "poisoning").

**Streams** stand for TCP: ``host.connect(endpoint)`` at the client, ``host.listen(port,
on_connect)`` at the server; a client's machine sends on ``endpoint.link`` and receives
with the same link in ``source``.

**Time** moves by ``network.run(until=time or condition, limit=seconds)`` and
``network.advance(seconds)``. ``network.lose``, ``network.drops`` and each node's
:class:`Wire` (delay, jitter, loss) are the quality of the network.

:mod:`tests.sim.kinds` has the kinds of NAT that users have, by name.
"""

from tests.sim.host import Host, Machine, Socket
from tests.sim.kinds import KINDS, Kind
from tests.sim.nat import Firewall, Nat, Pooling, WanInput
from tests.sim.network import Network
from tests.sim.realm import Packet, Wire
from tests.sim.router import Router
from tests.sim.stream import Stream

__all__ = [
    "KINDS",
    "Firewall",
    "Host",
    "Kind",
    "Machine",
    "Nat",
    "Network",
    "Packet",
    "Pooling",
    "Router",
    "Socket",
    "Stream",
    "WanInput",
    "Wire",
]
