"""A daemon that answers as a test wants, behind the real control socket."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshwg.errors import MeshError
from meshwg.runtime.admin import AdminServer

Json = dict[str, Any]


class FakeDaemon:
    """What the commands can ask, answered with what was put here."""

    def __init__(self) -> None:
        self.report: Json = {}
        self.answers: list[Json | MeshError] = []
        self.requests: list[Json] = []
        self.refusal: MeshError | None = None
        self.is_connected = True
        self.stopped = threading.Event()

    def status(self, *, brief: bool = False) -> Iterator[bytes]:
        if self.refusal is not None:
            raise self.refusal
        yield json.dumps(self.report).encode()

    async def netcheck(self, request: Json) -> Json:
        self.requests.append(request)
        return self.report

    async def ping(self, request: Json) -> AsyncGenerator[Json]:
        self.requests.append(request)
        for answer in self.answers:
            if isinstance(answer, MeshError):
                raise answer
            yield answer

    async def join(self, request: Json) -> Json:
        self.requests.append(request)
        return self.report

    def why(self, request: Json) -> Json:
        return self.report

    def trust(self) -> Json:
        return self.report

    def accept(self, request: Json) -> Json:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        return self.report

    def exits(self) -> Json:
        return self.report

    async def use_exit(self, request: Json) -> Json:
        return self.add_route(request)

    async def exit_off(self) -> Json:
        if self.refusal is not None:
            raise self.refusal
        return self.report

    def routes(self) -> Json:
        return self.report

    def add_route(self, request: Json) -> Json:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        return self.report

    def remove_route(self, request: Json) -> Json:
        return self.add_route(request)

    def hold_route(self, request: Json) -> Json:
        return self.add_route(request)

    async def use_lease(self, request: Json) -> Json:
        self.requests.append(request)
        return self.report

    def dns(self) -> Json:
        return self.report

    async def dns_query(self, request: Json) -> Json:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        return self.report

    def shut_down(self) -> None:
        self.stopped.set()

    def go_up(self) -> None:
        self.report["self"]["state"] = "up"

    def leave(self) -> Json:
        self.stopped.set()
        return {"told": self.is_connected}


@contextmanager
def serving(daemon: FakeDaemon, path: Path) -> Iterator[None]:
    """Serve a daemon at a socket, in a thread, until the end of the block.

    It goes away earlier when it is told to shut down.
    """
    ready = threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(daemon, path, ready)), daemon=True
    )
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        daemon.stopped.set()
        thread.join(10)


async def _serve(daemon: FakeDaemon, path: Path, ready: threading.Event) -> None:
    server = AdminServer(daemon, path)
    await server.start()
    ready.set()
    await asyncio.to_thread(daemon.stopped.wait)
    await server.close()


def a_peer(**changes: Any) -> Json:
    """Return a peer as ``status`` shows it."""
    path = {
        "kind": "direct",
        "method": "reflexive",
        "remote": "203.0.113.9:41641",
        "rtt_ms": 12.34,
        "loss": 0.0,
        "since": 1000.0,
        "via": None,
    }
    return {
        "name": "bob",
        "public_key": "B" * 43 + "=",
        "addresses": ["100.64.0.2", "fd00::2"],
        "online": True,
        "role": "node",
        "held": False,
        "nat": None,
        "path": path | changes.pop("path", {}),
        "reason": "Both sides' NATs keep one port for everyone.",
        "attempts": [],
        "next_attempt_in": None,
        "last_handshake_age": 5.0,
        "rx_bytes": 1234,
        "tx_bytes": 5678901,
        **changes,
    }


def a_report(*peers: Json, **own: Any) -> Json:
    """Return what ``status`` shows of a node with these peers."""
    return {
        "schema": 1,
        "self": {
            "name": "alice",
            "public_key": "A" * 43 + "=",
            "addresses": ["100.64.0.1", "fd00::1"],
            "interface": "meshwg0",
            "listen_port": 41641,
            "mtu": 1400,
            "datapath": "core",
            "nat": {
                "type": "port-restricted-cone",
                "public": "203.0.113.1:41641",
                "reachable": True,
            },
            "notice": "",
            "coordinator": {
                "url": "https://mesh.example",
                "state": "connected",
                "since": 1000.0,
                "error": None,
            },
            "relay": {
                "url": "turn:mesh.example:3478",
                "state": "allocated",
                "transport": "udp",
                "address": "198.51.100.9:50000",
                "rtt_ms": 8.0,
                "error": None,
            },
            "dns": {"mode": "file", "domain": "mesh.internal", "error": None},
            **own,
        },
        "peers": list(peers),
        "health": [],
        "counters": {"drops": {}},
    }
