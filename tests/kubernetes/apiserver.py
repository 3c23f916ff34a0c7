"""An API server for tests: Node objects behind TLS, as the real one serves them."""

import asyncio
import json
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "top-secret-of-the-account"


class FakeApiServer:
    """Serves on loopback while it is entered.

    :param directory: for its certificate.
    :param host: where it listens.
    """

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self._host = host
        self.certificate, self._key = _certificate(directory, host)
        self.token_file = directory / "api-token"
        self.token_file.write_text(TOKEN)
        self.jwks = b"{}"
        self.discovery: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.patches: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.asked: list[str] = []
        """Paths that were asked for, in order."""
        self.is_away = False
        """It answers nothing but errors."""
        self._version = 1
        self._watchers: dict[asyncio.Queue[dict[str, Any] | None], str] = {}
        """With the name of the node that each is for."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> "FakeApiServer":
        application = web.Application(middlewares=[self._judge])
        application.add_routes(
            [
                web.get("/openid/v1/jwks", self._show_jwks),
                web.get("/.well-known/openid-configuration", self._show_discovery),
                web.get("/api/v1/nodes/{name}", self._show_node),
                web.get("/api/v1/nodes", self._watch_node),
                web.patch("/api/v1/nodes/{name}/status", self._patch_status),
                web.post("/api/v1/namespaces/{namespace}/events", self._post_event),
            ]
        )
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificate, self._key)
        site = web.TCPSite(self._runner, self._host, 0, ssl_context=tls)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"https://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.drop_watches()
        assert self._runner is not None
        await self._runner.cleanup()

    @property
    def watches(self) -> int:
        """How many watches there are."""
        return len(self._watchers)

    def put(self, raw: dict[str, Any]) -> None:
        """Have a Node object, and tell those who watch."""
        name = raw["metadata"]["name"]
        kind = "MODIFIED" if name in self.nodes else "ADDED"
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        self.nodes[name] = raw
        self._tell(kind, raw)

    def remove(self, name: str) -> None:
        """Have a Node object no more."""
        self._tell("DELETED", self.nodes.pop(name))

    def drop_watches(self) -> None:
        """End all watches."""
        for watcher in self._watchers:
            watcher.put_nowait(None)

    def kubeconfig(self, directory: Path) -> Path:
        """Return a file by which clients reach this server."""
        path = directory / "kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(config))
        return path

    def _tell(self, kind: str, raw: dict[str, Any]) -> None:
        for watcher, name in self._watchers.items():
            if name == raw["metadata"]["name"]:
                watcher.put_nowait({"type": kind, "object": _whole(raw)})

    @web.middleware
    async def _judge(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.is_away:
            return _json(_status(503, "etcd is gone"), status=503)
        is_public = request.path.startswith("/.well-known")
        if not is_public and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _json(_status(401, "Unauthorized"), status=401)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _show_jwks(self, _: web.Request) -> web.Response:
        return web.Response(body=self.jwks, content_type="application/jwk-set+json")

    async def _show_discovery(self, _: web.Request) -> web.Response:
        return _json(self.discovery)

    async def _show_node(self, request: web.Request) -> web.Response:
        raw = self.nodes.get(request.match_info["name"])
        if raw is None:
            return _json(_status(404, "not found"), status=404)
        return _json(_whole(raw))

    async def _watch_node(self, request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        answer = web.StreamResponse()
        await answer.prepare(request)
        watcher: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        name = request.query["fieldSelector"].removeprefix("metadata.name=")
        self._watchers[watcher] = name
        try:
            while (news := await watcher.get()) is not None:
                await answer.write(json.dumps(news).encode() + b"\n")
        finally:
            del self._watchers[watcher]
        return answer

    async def _patch_status(self, request: web.Request) -> web.Response:
        self.patches.append(await request.json())
        raw = self.nodes.get(request.match_info["name"])
        if raw is None:
            return _json(_status(404, "not found"), status=404)
        (wanted,) = self.patches[-1]["status"]["conditions"]
        others = raw["status"].get("conditions", [])
        kept = [each for each in others if each["type"] != wanted["type"]]
        raw["status"]["conditions"] = [*kept, wanted]
        self.put(raw)
        return _json(_whole(raw))

    async def _post_event(self, request: web.Request) -> web.Response:
        raw = await request.json()
        self.events.append(raw)
        raw["metadata"]["name"] = f"e{len(self.events)}"
        return _json(raw, status=201)


async def until(condition: Callable[[], bool], limit: float) -> None:
    """Wait until something is so; fail after so many seconds."""
    async with asyncio.timeout(limit):
        async for _ in _moments():
            if condition():
                return


async def _moments() -> AsyncIterator[None]:
    while True:
        yield
        await asyncio.sleep(0.01)


def _json(raw: dict[str, Any], status: int = 200) -> web.Response:
    # Clients look at the type letter by letter.
    body = json.dumps(raw).encode()
    return web.Response(body=body, status=status, content_type="application/json")


def _whole(raw: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", **raw}


def _status(code: int, message: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "message": message,
    }


def _certificate(directory: Path, host: str) -> tuple[Path, Path]:
    certificate, key = directory / "api.pem", directory / "api.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"),
            *("-subj", "/CN=kubernetes", "-addext", f"subjectAltName=IP:{host}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return certificate, key
