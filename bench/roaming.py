"""Networks that change under a tunnel: how long nothing arrives, and when it is direct.

Two pairs of nodes, one behind port-restricted routers, the other with a symmetric one
against a router that lets everybody in, ping each other through all of it: the first
node of each moves to another router and back, changes its address, changes the uplink
that it uses, loses one, and its router gets another public address.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from itertools import cycle

from bench.pinging import is_direct, recovery
from bench.targets import Target
from netlab import links, presets
from netlab.lab import Lab
from netlab.lan import Network
from netlab.machine import Host
from netlab.mesh import Mesh, MeshNode
from netlab.presets import Preset
from netlab.router import Router

KINDS = (
    (presets.PORT_RESTRICTED, presets.PORT_RESTRICTED),
    (presets.OFFICE, presets.FULL_CONE),
)
OBSERVED = 9.0
"""Seconds for which a pair is watched after a change."""
SILENCE_TARGET, DIRECT_TARGET = 1.5, 3.0
METRICS = 100, 200
"""Of the default routes over the first and the second uplink."""

Change = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """A laptop that roams, the routers that it can be at, and a node at home."""

    laptop: MeshNode
    peer: MeshNode
    routers: tuple[Router, Router]

    @property
    def host(self) -> Host:
        return self.laptop.host


def targets(lab: Lab, runs: int, say: Callable[[str], None]) -> list[Target]:
    """Measure all changes; return their targets."""
    say("laptops join that have two networks to be in")
    pairs = _join(lab)
    found: list[Target] = []
    for name, changes in _changes(pairs).items():
        say(f"{name}, {runs} times for each of {len(pairs)} pairs")
        groups = list(zip(*(_run(pairs, changes) for _ in range(runs)), strict=True))
        found += _targets(name, groups)
    return found


def _targets(
    name: str, groups: Sequence[Sequence[tuple[float, float]]]
) -> list[Target]:
    """Return two targets from what each pair measured."""
    silences = [[silence for silence, _ in group] for group in groups]
    directs = [[direct for _, direct in group] for group in groups]
    return [
        Target(f"{name}: {what}", limit, "s", [x for g in each for x in g], each)
        for what, limit, each in (
            ("traffic", SILENCE_TARGET, silences),
            ("direct", DIRECT_TARGET, directs),
        )
    ]


def _changes(pairs: Iterable[Pair]) -> dict[str, list[Iterator[Change]]]:
    """Return for each kind of change what to do next with each pair, without end."""
    kinds: dict[str, Callable[[Pair], Iterator[Change]]] = {
        "another network": _moves,
        "address change": _new_addresses,
        "public address change": _new_public_addresses,
        "uplink change": _uplinks,
        "uplink lost": _losses,
    }
    pairs = list(pairs)
    return {name: [kind(pair) for pair in pairs] for name, kind in kinds.items()}


def _run(
    pairs: Sequence[Pair], changes: Sequence[Iterator[Change]]
) -> list[tuple[float, float]]:
    """Let each pair have its next change, one after the other pair's."""

    def measure(pair: Pair, upcoming: Iterator[Change]) -> tuple[float, float]:
        change = next(upcoming)
        _wait_until_direct(pair)
        return recovery(pair.laptop, pair.peer, change, OBSERVED)

    with ThreadPoolExecutor(len(pairs)) as pool:
        return list(pool.map(measure, pairs, changes))


# What changes.


def _moves(pair: Pair) -> Iterator[Change]:
    for router in cycle((pair.routers[1], pair.routers[0])):
        yield partial(pair.host.move_to, router)


def _new_addresses(pair: Pair) -> Iterator[Change]:
    if pair.host.attachments["eth0"].uplink is not pair.routers[0]:
        pair.host.move_to(pair.routers[0])
    (subnet,) = [each for each in _lan_of(pair) if each.version == 4]
    addresses = [str(host) for host in subnet.hosts()][100:]
    before = next(a for a in pair.host.addresses(4) if ip_address(a) in subnet)
    for address in addresses:
        yield partial(_readdress, pair, before, address, subnet.prefixlen)
        before = address


def _readdress(pair: Pair, before: str, after: str, length: int) -> None:
    links.ip(
        pair.host.namespace,
        f"address del {before}/{length} dev eth0",
        f"address add {after}/{length} dev eth0",
        f"route replace default via {pair.routers[0].lan_address}",
    )


def _new_public_addresses(pair: Pair) -> Iterator[Change]:
    while True:
        yield pair.routers[0].renumber


def _uplinks(pair: Pair) -> Iterator[Change]:
    _attach_both(pair)
    for first, second in cycle((METRICS[::-1], METRICS)):
        yield partial(_set_metrics, pair, first, second)


def _losses(pair: Pair) -> Iterator[Change]:
    """Take down the uplink that the data goes by, and up again before the next time."""
    _attach_both(pair)
    while True:
        down: list[str] = []

        def take_down(down: list[str] = down) -> None:
            down.append(_interface_in_use(pair))
            links.set_up(pair.host.attachments[down[0]].port, False)

        yield take_down
        links.set_up(pair.host.attachments[down[0]].port, True)
        _set_metrics(pair, *METRICS)


def _interface_in_use(pair: Pair) -> str:
    """Return the laptop's interface whose router the peer sends to."""
    remote = pair.peer.peer(pair.laptop)["path"]["remote"].rpartition(":")[0]
    is_first = remote in pair.routers[0].addresses(4)
    return "eth0" if is_first else "eth1"


def _attach_both(pair: Pair) -> None:
    """Give the laptop a second uplink that it could use, but does not."""
    if "eth1" not in pair.host.attachments:
        pair.host.attach(pair.routers[1], "eth1")
    _set_metrics(pair, *METRICS)


def _set_metrics(pair: Pair, first: int, second: int) -> None:
    """Prefer the uplink with the lower metric, as a network manager does."""
    links.ip(pair.host.namespace, "route flush default")
    metrics = zip(("eth0", "eth1"), pair.routers, (first, second), strict=True)
    links.ip(
        pair.host.namespace,
        *(
            f"route add default via {router.lan_address} dev {device} metric {metric}"
            for device, router, metric in metrics
        ),
    )


def _lan_of(pair: Pair) -> list[Network]:
    return list(pair.routers[0].lan.subnets)


# Pairs.


def _join(lab: Lab) -> list[Pair]:
    mesh = Mesh(lab)
    pairs = []
    for number, (kind, far) in enumerate(KINDS):
        pairs.append(_pair(lab, mesh, number, kind, far))
    return pairs


def _pair(lab: Lab, mesh: Mesh, number: int, kind: Preset, far: Preset) -> Pair:
    routers = tuple(lab.add_router(f"net-{number}-{n}", kind) for n in "ab")
    laptop = mesh.join(lab.add_host(f"laptop-{number}", routers[0], ipv6=False))
    home = lab.add_router(f"home-{number}", far)
    peer = mesh.join(lab.add_host(f"desk-{number}", home, ipv6=False))
    laptop.ping(peer)
    pair = Pair(laptop, peer, (routers[0], routers[1]))
    _wait_until_direct(pair)
    return pair


def _wait_until_direct(pair: Pair) -> None:
    one, other = pair.laptop, pair.peer
    one.ping(other)
    one.host.wait_until(
        lambda: is_direct(one, other) and is_direct(other, one),
        f"its path to {other.name} is direct",
        within=120.0,
    )
