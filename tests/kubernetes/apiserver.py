"""An API server for tests: Node objects behind TLS, as the real one serves them."""

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "top-secret-of-the-account"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


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
        self.leases: dict[str, dict[str, Any]] = {}
        """By namespace and name."""
        self.forbids = False
        """It lets nobody use leases."""
        self._version = 1
        self._watchers: dict[asyncio.Queue[dict[str, Any] | None], str] = {}
        """With the name of the node that each is about, empty for all."""
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> "FakeApiServer":
        application = web.Application(middlewares=[self._judge])
        application.add_routes(
            [
                web.get("/openid/v1/jwks", self._show_jwks),
                web.get("/.well-known/openid-configuration", self._show_discovery),
                web.get("/api/v1/nodes/{name}", self._show_node),
                web.get("/api/v1/nodes", self._list_or_watch),
                web.patch("/api/v1/nodes/{name}/status", self._patch_status),
                web.post("/api/v1/namespaces/{namespace}/events", self._post_event),
                web.get(f"{LEASES}/{{name}}", self._show_lease),
                web.post(LEASES, self._make_lease),
                web.put(f"{LEASES}/{{name}}", self._replace_lease),
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
            if name in ("", raw["metadata"]["name"]):
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

    async def _list_or_watch(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch_nodes(request)
        items = [_whole(each) for each in self.nodes.values()]
        version = {"resourceVersion": str(self._version)}
        return _json(
            {
                "apiVersion": "v1",
                "kind": "NodeList",
                "metadata": version,
                "items": items,
            }
        )

    async def _watch_nodes(self, request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        answer = web.StreamResponse()
        await answer.prepare(request)
        watcher: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        fields = request.query.get("fieldSelector", "")
        self._watchers[watcher] = fields.removeprefix("metadata.name=")
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
        annotations = self.patches[-1].get("metadata", {}).get("annotations", {})
        if annotations:
            raw["metadata"].setdefault("annotations", {}).update(annotations)
            self.put(raw)
            return _json(_whole(raw))
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

    async def _show_lease(self, request: web.Request) -> web.Response:
        found = self.leases.get(_lease_name(request))
        if self.forbids:
            return _json(_status(403, "forbidden"), status=403)
        if found is None:
            return _json(_status(404, "not found"), status=404)
        return _json(found)

    async def _make_lease(self, request: web.Request) -> web.Response:
        raw = await request.json()
        name = f"{request.match_info['namespace']}/{raw['metadata']['name']}"
        if name in self.leases or "resourceVersion" in raw["metadata"]:
            return _json(_status(409, "it is there already"), status=409)
        return self._store_lease(name, raw)

    async def _replace_lease(self, request: web.Request) -> web.Response:
        raw, name = await request.json(), _lease_name(request)
        found = self.leases.get(name)
        if found is None:
            return _json(_status(404, "not found"), status=404)
        version = found["metadata"]["resourceVersion"]
        if raw["metadata"].get("resourceVersion") != version:
            return _json(_status(409, "the object has been modified"), status=409)
        return self._store_lease(name, raw)

    def _store_lease(self, name: str, raw: dict[str, Any]) -> web.Response:
        # The API server reads these times letter by letter.
        for key in ("acquireTime", "renewTime"):
            time.strptime(raw["spec"][key], "%Y-%m-%dT%H:%M:%S.%fZ")
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        self.leases[name] = raw
        return _json(raw)


def _lease_name(request: web.Request) -> str:
    return f"{request.match_info['namespace']}/{request.match_info['name']}"


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
