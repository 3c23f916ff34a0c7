"""What a member of a real mesh cannot take from others, or have others do for it."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from coordinator.turn.credentials import long_term_key
from meshwg.keys import PrivateKey
from meshwg.runtime.websocket import WebSocket
from meshwg.transmit import Endpoint
from meshwg.wire import channel, control
from meshwg.wire.stun import Attribute, Class, Message, Method, encode, parse
from meshwg.wire.token import JoinToken
from netlab.lab import Lab
from netlab.machine import Host
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns

OFFICE, CELLAR = "10.77.1.0/24", "10.88.1.0/24"
PRINTER = "10.77.1.9"
STUN_PORT = 3478
FORBIDDEN = 403


def test_a_thief_gets_a_network_only_after_its_owner_is_removed(lab: Lab) -> None:
    coordinator = with_routes(lab)
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    owner, thief = (Member(lab.add_host(n, lab.internet)) for n in ("owner", "thief"))
    printer, trap = (behind(each.host, lab) for each in (owner, thief))
    owner.join(token, "--route", OFFICE)
    thief.join(token, "--route", OFFICE)
    alice.wait_until_sees("owner", "thief")

    alice.host.ping(PRINTER)
    assert routes(coordinator) == {"alice": [], "owner": [OFFICE], "thief": []}
    assert asked(alice.host, printer, trap) == (3, 0)
    assert "route-waiting" in complaints(thief)
    shown = listed(coordinator)
    assert shown["thief", OFFICE]["reason"] == "owner has it already"

    coordinator.command("node", "remove", "owner")
    assert owner.wait_for_end() == 6
    coordinator.host.wait_until(
        lambda: routes(coordinator) == {"alice": [], "thief": [OFFICE]},
        "the network is the other's",
    )
    alice.host.ping(PRINTER)
    assert asked(alice.host, printer, trap) == (0, 3)


def test_a_route_that_is_none_is_refused_and_stops_no_other(lab: Lab) -> None:
    coordinator = with_routes(lab)
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    gateway = Member(lab.add_host("gateway", lab.internet))
    behind(gateway.host, lab)
    zone = "2001:db8:77::%1/64"

    refused = gateway.try_to_start("--join", token, "--route", zone)
    assert refused.returncode == 2
    assert zone in refused.stderr
    assert "Traceback" not in refused.stderr

    # A member whose software does not look.
    stranger = lab.add_host("stranger", lab.internet)
    stranger.call(lambda: asyncio.run(register(token, "a-stranger", (zone, "::/0"))))
    gateway.join(token, "--route", OFFICE)
    alice.wait_until_sees("gateway")
    alice.host.ping(PRINTER)
    assert routes(coordinator)["a-stranger"] == []
    assert coordinator.process is not None
    assert "Traceback" not in coordinator.process.output() + alice.log()


def test_what_a_member_makes_up_has_no_effect_and_is_told_to_the_administrator(
    lab: Lab,
) -> None:
    settings = lab.directory / "coordinator.toml"
    settings.write_text('approve_routes = ["0.0.0.0/0", "::/0"]\n')
    coordinator = Coordinator.on_the_internet(lab, "--config", str(settings))
    token = coordinator.token(reusable=True)
    alice, bob = (
        Member(lab.add_host(name, lab.internet)).join(token)
        for name in ("alice", "bob")
    )
    alice.wait_until_sees("bob")
    before = ways(alice.host)
    address, address6 = bob.addresses
    wide = ("0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "::/0", "fd00::/8")
    theirs = (f"{address}/32", f"{address6}/128", "100.64.0.0/10")
    # A member whose software does not look.
    stranger = lab.add_host("stranger", lab.internet)
    offers = (*wide, *theirs)
    stranger.call(
        lambda: asyncio.run(register(token, "thief", offers, role="hub", exit_=True))
    )
    alice.wait_until(
        lambda status: "thief" in {each["name"] for each in status["peers"]},
        "alice has heard of the thief",
    )

    assert ways(alice.host) == before
    alice.host.ping(address)
    alice.host.ping(address6)
    thief = alice.peers()["thief"]
    assert (thief["role"], thief["routes"], thief["exit"]) == ("node", [], False)
    # The coordinator told nobody of it, so there was nothing to refuse.
    assert "peer-route-refused" not in complaints(alice) + complaints(bob)
    # Each is told to the administrator.
    shown = listed(coordinator)
    assert {item: shown["thief", item]["state"] for item in (*offers, "exit")} == {
        **dict.fromkeys(offers, "refused"),
        "exit": "advertised",
    }
    (node,) = (n for name, n in coordinator.nodes().items() if name == "thief")
    assert "hub" in [each["item"] for each in node["waiting"]]
    assert coordinator.process is not None
    log = coordinator.process.output()
    for item in offers:
        assert log.count(f"thief offers the network {item}, and others are not") == 1
    assert log.count("thief offers to be a hub") == 1


def test_a_hub_is_one_only_after_it_was_approved(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    hub = Member(lab.add_host("hub", lab.internet)).join(token, "--hub")
    alice.wait_until_sees("hub")

    assert alice.peers()["hub"]["role"] == "node"
    assert complaints(hub) == ["hub-waiting"]
    assert hub.status()["self"]["hub"]["state"] == "advertised"
    said = hub.meshwg("status").stdout
    assert "node approve hub --hub" in " ".join(said.split())

    coordinator.command("node", "approve", "hub", "--hub")
    alice.wait_until(
        lambda status: status["peers"][0]["role"] == "hub", "alice hears of the hub"
    )
    hub.wait_until(lambda status: not status["health"], "the hub hears of it")
    coordinator.command("node", "refuse", "hub", "--hub")
    alice.wait_until(
        lambda status: status["peers"][0]["role"] == "node", "it is no hub any more"
    )
    hub.wait_until(lambda status: bool(status["health"]), "the hub hears of that")
    assert complaints(hub) == ["hub-refused"]


def test_a_network_is_offered_and_approved_while_all_run(lab: Lab) -> None:
    coordinator = Coordinator.on_the_internet(lab)
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    gateway = Member(lab.add_host("gateway", lab.internet))
    behind(gateway.host, lab)
    gateway.join(token, "--route", CELLAR)
    coordinator.command("route", "approve", "gateway", CELLAR)
    gateway.wait_until(lambda status: not status["health"], "one network is approved")

    said = gateway.meshwg("route", "add", OFFICE).stdout
    assert said.startswith(f"This node offers {OFFICE}: ")
    gateway.wait_until(lambda status: bool(status["health"]), "it waits")
    assert complaints(gateway) == ["route-waiting"]
    refused = gateway.meshwg("route", "add", "10.77.1.1/24", check=False)
    assert (refused.returncode, "host bits" in refused.stderr) == (2, True)

    coordinator.command("route", "approve", "gateway", OFFICE)
    alice.wait_until(
        lambda status: status["peers"][0]["routes"] == [OFFICE, CELLAR],
        "alice has the route",
    )
    alice.host.ping(PRINTER)
    assert gateway.status()["self"]["routes"] == [
        {"prefix": each, "state": "approved", "reason": ""} for each in (OFFICE, CELLAR)
    ]
    assert alice.meshwg("route", "list").stdout.count(OFFICE) == 1

    # It is remembered over a restart, as its approval is.
    gateway.meshwg("down")
    gateway.wait_for_end()
    gateway.start("--join", token, "--route", CELLAR).wait_until_connected()
    alice.host.ping(PRINTER)
    gateway.meshwg("route", "remove", OFFICE)
    alice.wait_until(
        lambda status: status["peers"][0]["routes"] == [CELLAR], "the route is gone"
    )
    assert listed(coordinator)["gateway", OFFICE]["state"] == "withdrawn"


def test_the_relay_leads_a_member_nowhere_but_to_members(lab: Lab) -> None:
    coordinator = Coordinator(lab.add_host("coordinator", lab.internet, count4=2))
    coordinator.start()
    token = coordinator.token(reusable=True)
    alice = Member(lab.add_host("alice", lab.internet)).join(token)
    stranger, host = (lab.add_host(name, lab.internet) for name in ("web", "mallory"))
    first, second = coordinator.host.addresses(4)
    mallory = host.call(lambda: asyncio.run(register(token, "mallory")))
    turn = Turn(host, Endpoint(first, STUN_PORT), mallory.relays[0])

    turn.allocate()

    for address in (second, "127.0.0.1", "0.0.0.0", stranger.address(4)):
        assert turn.permit(Endpoint(address, 9)) == FORBIDDEN
    # Others have their relayed addresses there, and nobody anything else.
    assert turn.permit(Endpoint(first, 9)) == 0
    discard = coordinator.host.udp_socket(port=9)
    for address in (first, second, "127.0.0.1"):
        turn.send(Endpoint(address, 9), b"let me in")
    assert list(datagrams(discard)) == []
    coordinator.host.wait_until(
        lambda: turn.permit(Endpoint(alice.host.address(4), 51820)) == 0,
        "the relay knows where alice is",
    )

    coordinator.command("node", "remove", "mallory")

    coordinator.host.wait_until(
        lambda: turn.refresh() != 0, "the allocation of who was removed has ended"
    )
    assert turn.request(Method.ALLOCATE, {Attribute.REQUESTED_TRANSPORT: 17}) != 0


def with_routes(lab: Lab) -> Coordinator:
    """Return a coordinator that approves of a network."""
    settings = lab.directory / "coordinator.toml"
    settings.write_text(f'approve_routes = ["{OFFICE}"]\n')
    return Coordinator.on_the_internet(lab, "--config", str(settings))


def behind(gateway: Host, lab: Lab) -> Host:
    """Return a host on another cable of a machine, at the printer's address."""
    cable = lab.add_switch(f"{gateway.name}s-cable", OFFICE)
    via = gateway.attach(cable, "eth1").addresses[0]
    host = lab.add_host(f"{gateway.name}s-printer", cable, address=PRINTER)
    host.run(["ip", "route", "replace", "default", "via", via])
    return host


def asked(host: Host, *printers: Host) -> tuple[int, ...]:
    """Send three packets to the printer; return how many came to each of several."""
    listening = [each.udp_socket(port=9) for each in printers]
    with host.udp_socket() as sender:
        for _ in range(3):
            sender.sendto(b"print", (PRINTER, 9))
    host.wait_until(lambda: sum(map(has_data, listening)) > 0, "somebody is asked")
    counts = tuple(len(list(datagrams(each))) for each in listening)
    for each in listening:
        each.close()
    return counts


def has_data(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return False


def datagrams(sock: socket.socket) -> Iterator[bytes]:
    """Yield what arrives until nothing has come for a while."""
    sock.settimeout(0.5)
    try:
        while True:
            yield sock.recv(100)
    except TimeoutError:
        return


def listed(coordinator: Coordinator) -> dict[tuple[str, str], Json]:
    """Return what nodes offer, by node and item."""
    records = coordinator.command("route", "list")["routes"]
    return {(each["node"], each["prefix"]): each for each in records}


def ways(host: Host) -> list[str]:
    """Return by which interface a host sends to addresses all over."""
    targets = ("8.8.8.8", "203.0.113.1", "192.168.77.1", "2001:db8::1", "fd77::1")
    found = []
    for target in targets:
        way = host.run(["ip", "route", "get", target], check=False)
        found.append("dev meshwg0" if "dev meshwg0" in way.stdout else "elsewhere")
    return found


def routes(coordinator: Coordinator) -> dict[str, list[str]]:
    return {name: node["routes"] for name, node in coordinator.nodes().items()}


def complaints(member: Member) -> list[str]:
    return [each["code"] for each in member.status()["health"]]


async def register(
    text: str,
    name: str,
    routes: tuple[str, ...] = (),
    *,
    role: str = "node",
    exit_: bool = False,
) -> control.Registered:
    """Become a member by hand, and vanish."""
    token = JoinToken.parse(text)
    handshake = channel.ClientHandshake(
        PrivateKey.generate(os.urandom), token.coordinator_key, random=os.urandom
    )
    websocket = await WebSocket.open(token.url + "/v1/control", max_size=1 << 20)
    await websocket.send(handshake.initiation)
    response = await websocket.receive()
    assert response is not None
    secure = handshake.read_response(response)
    key = str(token.auth_key)
    message = control.Register(
        name=name, auth_key=key, routes=routes, role=role, exit=exit_
    )
    await websocket.send(secure.seal(control.encode(message)))
    answer = await websocket.receive()
    assert answer is not None
    registered = control.decode_from_coordinator(secure.open(answer))
    assert isinstance(registered, control.Registered), registered
    await websocket.close()
    return registered


class Turn:
    """A client of a relay by hand, on a host."""

    def __init__(self, host: Host, server: Endpoint, relay: control.Relay) -> None:
        self._socket = host.udp_socket()
        self._socket.settimeout(5)
        self._socket.connect((server.host, server.port))
        self._relay = relay
        challenge = self._ask(Message(Method.ALLOCATE, Class.REQUEST, os.urandom(12)))
        self._realm = challenge.attributes[Attribute.REALM]
        self._nonce = challenge.attributes[Attribute.NONCE]

    def allocate(self) -> None:
        assert self.request(Method.ALLOCATE, {Attribute.REQUESTED_TRANSPORT: 17}) == 0

    def permit(self, peer: Endpoint) -> int:
        """Ask for a permission; return 0, or the code of the refusal."""
        return self.request(
            Method.CREATE_PERMISSION, {Attribute.XOR_PEER_ADDRESS: peer}
        )

    def send(self, peer: Endpoint, data: bytes) -> None:
        """Have the relay send something, without a channel."""
        attributes = {Attribute.XOR_PEER_ADDRESS: peer, Attribute.DATA: data}
        indication = Message(Method.SEND, Class.INDICATION, os.urandom(12), attributes)
        self._socket.send(encode(indication))

    def refresh(self) -> int:
        return self.request(Method.REFRESH, {})

    def request(self, method: Method, attributes: dict[Attribute, object]) -> int:
        """Send a request; return 0, or the code of the refusal."""
        relay = self._relay
        signed = {
            **attributes,
            Attribute.USERNAME: relay.username,
            Attribute.REALM: self._realm,
            Attribute.NONCE: self._nonce,
        }
        key = long_term_key(relay.username, self._realm, relay.password)
        message = Message(method, Class.REQUEST, os.urandom(12), signed)
        answer = self._ask(message, key)
        return 0 if answer.error is None else answer.error.code

    def _ask(self, message: Message, key: bytes | None = None) -> Message:
        self._socket.send(encode(message, key))
        return parse(self._socket.recv(2000))
