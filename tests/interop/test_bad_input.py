"""Whatever strangers send to the port of ``meshwg-wg``, its peers notice nothing."""

import ast
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from meshwg.keys import parse_key
from meshwg.wireguard.cookie import CookieJar
from netlab.lab import Lab
from netlab.machine import Host
from netlab.wireguard import MESHWG, WIREGUARD_GO
from tests.interop.tunnels import PORT, Side, join, ping

pytestmark = pytest.mark.netns

INITIATION, RESPONSE, COOKIE, DATA = 1, 2, 3, 4
SIGNED_LENGTHS = {INITIATION: 148 - 32, RESPONSE: 92 - 32}
COOKIE_LENGTH = 64
NO_COOKIE = bytes(16)
LARGEST = 65507
"""Bytes that a UDP datagram over IPv4 may have."""
ROUNDS = 20
FLOOD = 4000
"""Handshakes a second: more than anybody needs, also if a busy machine sends fewer."""


def test_garbage_is_counted_by_reason_and_never_answered(lab: Lab) -> None:
    world = build(lab)
    wire = world.ours.host.capture(filter="udp")
    ping(world.friend, world.ours.ip, count=5)
    genuine = [each.payload for each in wire.datagrams()]
    endpoint = world.ours.peer_endpoint()

    chance = random.Random(7)
    sent = 0
    for _ in range(ROUNDS):
        for datagram in garbage(chance, genuine, world.signer):
            world.stranger.send(datagram)
            sent += 1
        ping(world.friend, world.ours.ip, count=5)

    with pytest.raises(BlockingIOError):
        world.stranger.recv(99)
    assert world.ours.peer_endpoint() == endpoint
    drops = stop_and_count(world.ours)
    assert sum(drops.values()) == sent
    assert set(drops) == {
        "INVALID_MESSAGE",
        "INVALID_MAC1",
        "HANDSHAKE_REFUSED",
        "HANDSHAKE_REPLAYED",
        "RESPONSE_REFUSED",
        "COOKIE_REFUSED",
        "UNKNOWN_SESSION",
        "NOT_AUTHENTIC",
        "REPLAY",
    }


def test_a_flood_of_handshakes_is_asked_for_cookies_and_shuts_no_peer_out(
    lab: Lab,
) -> None:
    world = build(lab)
    ping(world.friend, world.ours.ip)
    wire = world.friend.host.capture(filter="udp")
    with flooding(world):
        # An old session continues, and a new one needs only the cookie.
        ping(world.friend, world.ours.ip, count=50)
        world.friend.restart()
        world.friend.host.ping(world.ours.ip)
    handshakes = [d.payload for d in wire.datagrams() if d.payload[0] != DATA]
    assert [each[0] for each in handshakes[:4]] == [
        *(INITIATION, COOKIE),
        *(INITIATION, RESPONSE),
    ]
    assert handshakes[2][-len(NO_COOKIE) :] != NO_COOKIE
    answers = set(received(world.stranger))
    assert {(answer[0], len(answer)) for answer in answers} == {(COOKIE, COOKIE_LENGTH)}


@dataclass(frozen=True, slots=True)
class World:
    """A tunnel, and a stranger on the same network who knows our public key."""

    friend: Side
    ours: Side
    stranger: socket.socket
    signer: CookieJar
    """Puts valid first MACs under what only looks like handshakes."""


def build(lab: Lab) -> World:
    switch = lab.add_switch("switch", "192.0.2.0/24")
    names = "friend", "ours", "stranger"
    friend_host, ours_host, stranger = (lab.add_host(name, switch) for name in names)
    friend, ours = join(friend_host, ours_host, (WIREGUARD_GO, MESHWG))
    signer = CookieJar(parse_key(ours.config.keys.public))
    return World(friend, ours, voice(stranger, ours_host), signer)


def voice(stranger: Host, ours: Host) -> socket.socket:
    """Return a socket whose other end is our port."""
    sock = stranger.udp_socket(stranger.address())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.connect((ours.address(), PORT))
    sock.setblocking(False)
    return sock


def garbage(
    chance: random.Random, genuine: list[bytes], signer: CookieJar
) -> Iterator[bytes]:
    """Yield datagrams of which none is a message, or not any more."""
    yield b""
    yield chance.randbytes(LARGEST)
    for kind in range(6):
        length = chance.choice([4, 31, 32, 48, 64, 92, 148, 1452, 9000])
        yield bytes([kind, 0, 0, 0]) + chance.randbytes(length - 4)
        yield bytes([kind, 0, 0, 1]) + chance.randbytes(length - 4)
    yield bytes([COOKIE, 0, 0, 0]) + chance.randbytes(COOKIE_LENGTH - 4)
    for kind, length in SIGNED_LENGTHS.items():
        body = bytes([kind, 0, 0, 0]) + chance.randbytes(length - 4)
        yield signer.sign(body, 0.0)
    for message in genuine:
        yield message
        yield message + b"\0"
        yield message[: chance.randrange(len(message))]
        position = chance.randrange(len(message))
        changed = message[position] ^ 1 << chance.randrange(8)
        yield message[:position] + bytes([changed]) + message[position + 1 :]


@contextmanager
def flooding(world: World) -> Iterator[None]:
    """Let the stranger send well-made handshakes, faster than they can be served."""
    stop = threading.Event()

    def flood() -> None:
        begin, sent = time.monotonic(), 0
        body = bytes([INITIATION, 0, 0, 0]) + bytes(SIGNED_LENGTHS[INITIATION] - 4)
        message = world.signer.sign(body, 0.0)
        while not stop.wait(0.01):
            while sent < (time.monotonic() - begin) * FLOOD:
                world.stranger.send(message)
                sent += 1

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def received(sock: socket.socket) -> Iterator[bytes]:
    """Yield what waits in a socket."""
    while True:
        try:
            yield sock.recv(2048)
        except BlockingIOError:
            return


def stop_and_count(side: Side) -> dict[str, int]:
    """Return what our engine says at its end of the datagrams that it dropped."""
    side.stop()
    log = (side.host.directory / f"{side.interface}-engine.log").read_text()
    (shown,) = re.findall(r"Dropped: (\{.*\})", log)
    drops: dict[str, int] = ast.literal_eval(shown)
    # Packets of the kernel's own, to groups that no peer is in.
    drops.pop("NO_PEER", None)
    return drops
