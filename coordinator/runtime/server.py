"""``meshwg-coordinator serve``: all parts of one coordinator process, put together."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from coordinator.addresses import RELAY_PATH, PublicAddresses, join
from coordinator.administration.events import EventLog
from coordinator.config import WILDCARDS, CoordinatorConfig, differences
from coordinator.control.proofs import ProofWanted
from coordinator.control.server import ControlServer
from coordinator.control.settings import Settings
from coordinator.kubernetes.identity import ClusterProof
from coordinator.mesh.homes import Home
from coordinator.mesh.netmap import NetMapHistory
from coordinator.mesh.operations import Changes, Refused, SetUrl
from coordinator.mesh.registry import Registry
from coordinator.relaysecrets import RelaySecrets
from coordinator.runtime.admin import BODY_LIMIT, AdministrationApi, problems
from coordinator.runtime.adminsocket import listen_at
from coordinator.runtime.admission import Admission
from coordinator.runtime.certificate import Certificate
from coordinator.runtime.cluster import ClusterVerifier, cluster_access
from coordinator.runtime.control import ControlEndpoint
from coordinator.runtime.files import DataDirectory, read_relay_secrets
from coordinator.runtime.listener import (
    MalformedRequests,
    bind,
    count_clients,
    listen,
    one_request,
    refuse_expectations,
)
from coordinator.runtime.livemesh import LiveMesh
from coordinator.runtime.metrics import (
    CONTENT_TYPE,
    Metric,
    MetricsPage,
    counter,
    counters,
    gauge,
)
from coordinator.runtime.policyfile import PolicyFile
from coordinator.runtime.proxied import TrustedProxies
from coordinator.runtime.readiness import Readiness
from coordinator.runtime.services import make_services
from coordinator.runtime.siblings import Siblings
from coordinator.runtime.taken import taken_networks
from coordinator.runtime.turnwebsocket import RelayEndpoint
from coordinator.runtime.unexpected import Unexpected
from coordinator.runtime.worker import StoreWorker
from coordinator.store import durability
from coordinator.store.engine import StoreError
from coordinator.store.store import MeshConfig, Store
from coordinator.store.watch import Ears, watch
from meshwg.errors import MeshError
from meshwg.keys import PrivateKey, format_key
from meshwg.runtime.hangup import on_hangup
from meshwg.wire.dnsrecords import canonical_domain
from meshwg.wire.token import check_url

SHUTDOWN_TIMEOUT = 3.0
"""Seconds in which nodes are told that the coordinator stops."""
LINGERING = 1.0
"""Seconds in which what is left of a request is read, so that its answer arrives."""
READ_BUFFER = 16 * 1024
"""Bytes of a body, or of a control connection, that wait to be read."""
CONTROL_PATH = "/v1/control"
KEY_INTERVAL = 1.0
"""Seconds between two looks at the files of the coordinator's keys."""
DRAIN_MARGIN = 5.0
"""Seconds beyond their time in which nodes may connect to other coordinators."""
DRAIN_LOOK = 0.1
"""Seconds between two looks at how many are left."""
ENDURE_INTERVAL = 1.0
"""Seconds until something is begun again that ended as nobody expected."""
STOP_TIMEOUT = 20.0
"""Seconds for the last transaction, after which the database is waited for no more."""

SHARED_SECRET = (
    "The relays %s share a secret, so each can make credentials for the others: write "
    "a line HOST SECRET for each into --turn-secret-file, or use what "
    "'meshwg-coordinator relay secret HOST' prints"
)
FORMER_SERVED = "The key before is served, too, until 'meshwg-coordinator key retire'"

LIVE = ("log_level", "approve_routes", "trusted_proxies")
LIVE_WITH_TLS = ("tls_cert", "tls_key")
"""Settings that need no restart, the latter if there was a certificate before."""

logger = logging.getLogger(__name__)
http_logger = logging.getLogger("coordinator.runtime.http")


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a process has read before it opens any socket."""

    config: CoordinatorConfig
    directory: DataDirectory
    private_key: PrivateKey
    former_key: PrivateKey | None
    admin_token: str
    relay_secrets: RelaySecrets
    store: Store
    registry: Registry
    history: NetMapHistory


async def serve(
    config: CoordinatorConfig,
    announce: Callable[[str], None],
    reload: Callable[[], CoordinatorConfig],
) -> None:
    """Serve until SIGTERM or SIGINT.

    :param announce: called with one line when everything is ready.
    :param reload: returns the settings as they are now.
    :raises MeshError: if something cannot be opened, or the database is damaged.
    """
    directory = DataDirectory(config.data_dir, os.urandom)
    directory.create()
    with directory.lock():
        async with open_foundation(config, directory) as foundation:
            process = CoordinatorProcess(foundation)
            async with process.run():
                on_hangup(lambda: process.reload(reload), process.stop)
                announce(process.ready_line)
                await process.say_what_lacks()
                await process.wait()


@contextlib.asynccontextmanager
async def open_foundation(
    config: CoordinatorConfig, directory: DataDirectory
) -> AsyncIterator[Foundation]:
    """Read the files and open the database."""
    begins = directory.begin()
    private_key, former_key = directory.private_key(), directory.former_key()
    mesh = MeshConfig(
        format_key(private_key.public_bytes),
        config.network4,
        config.network6,
        config.approve_routes,
        taken=() if config.network4 is not None or not begins else taken_networks(),
        begins=begins,
        former_key=None if former_key is None else format_key(former_key.public_bytes),
        domain=None if config.domain is None else canonical_domain(config.domain),
    )
    chosen = read_relay_secrets(config.turn_secret_file)
    relay_secrets = RelaySecrets(directory.relay_secret(), chosen)
    admin_token = directory.admin_token()
    url = config.database or directory.default_database
    store = await Store.open(url, mesh, random=os.urandom)
    directory.begun()
    try:
        registry, history = await store.load()
        yield Foundation(
            config,
            directory,
            private_key,
            former_key,
            admin_token,
            relay_secrets,
            store,
            registry,
            history,
        )
    finally:
        await store.close()


class CoordinatorProcess:
    """One running coordinator.

    :raises MeshError: if the TCP port cannot be had.
    """

    def __init__(self, foundation: Foundation) -> None:
        self._foundation = foundation
        config = self._config = foundation.config
        self._stopping = asyncio.Event()
        self._certificate: Certificate | None = None
        self._listener = bind(*config.listen_address)
        self.public = PublicAddresses(
            config,
            advertised_host(config),
            self._listener.getsockname()[1],
            primary_address(config.listen_address[0]),
        )
        self._home = Home(
            os.urandom(8).hex(), self.public.url, config.direct_url or self._direct_url
        )
        self._hurry = asyncio.Event()
        self._private_key = foundation.private_key
        self._siblings = Siblings(lambda: self._private_key, CONTROL_PATH)
        self._readiness = Readiness(asyncio.get_running_loop().time())
        self._relay_secret = foundation.relay_secrets.own(self.public.host)
        self._services = make_services(
            config, self.public, self._relay_secret, foundation.registry
        )
        self._server = self._make_server()
        self._unexpected = Unexpected()
        self._worker = StoreWorker(
            foundation.store,
            self._server,
            foundation.registry,
            home=self._home,
            on_commit=self._on_commit,
            unexpected=self._unexpected,
            readiness=self._readiness,
            forward_directly=self._siblings.forward,
        )
        self._proxies = TrustedProxies(
            config.trusted_proxies, loopback=config.url is not None
        )
        self._events = EventLog(self._home.name)
        self._worker.on_changes = self._on_changes
        self._administration = self._make_administration()
        self._policy_file = PolicyFile(config.policy, self._worker)
        self._verifier = self._make_verifier()
        self._endpoint = ControlEndpoint(
            self._server,
            on_operations=self._worker.wake,
            on_forward=self._worker.forward,
            on_proof=self._look_at_proof,
            proxies=self._proxies,
        )
        self._admission = Admission(self._proxies)
        self._malformed = MalformedRequests(self._unexpected)
        self._page = MetricsPage()
        self._page.add(self._metrics)
        for service in self._services.services:
            self._page.add(service.metrics)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def _direct_url(self) -> str:
        """Where the other coordinators on the database find this process."""
        host, _ = self._config.listen_address
        scheme = "https" if self._config.tls_cert else "http"
        machine = self.public.machine if host in WILDCARDS else host
        return f"{scheme}://{join(machine, self.public.port)}"

    @property
    def ready_line(self) -> str:
        host, _ = self._config.listen_address
        return (
            f"meshwg-coordinator ready: {self.public.url}, listening on "
            f"{join(host, self.public.port)}, {len(self._foundation.registry)} nodes"
        )

    async def say_what_lacks(self) -> None:
        """Log what nodes cannot have of this process as it is set up."""
        for sentence in self.public.lacks:
            logger.warning(sentence)
        engine = self._foundation.store.engine
        try:
            found = await durability.look(engine)
        except StoreError as error:
            logger.warning("What may be lost is not known: %s", error)
            return
        for sentence in () if found is None else found.risks(str(engine.address)):
            logger.warning(sentence)

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Open everything; close it at the end, in the other order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        loop.set_exception_handler(self._unexpected.note_in_loop)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._listener.close)
            for service in self._services.services:
                await service.start()
                stack.push_async_callback(service.close)
            http_logger.addFilter(self._malformed)
            stack.callback(http_logger.removeFilter, self._malformed)
            runner = web.AppRunner(
                self._make_application(),
                access_log=None,
                logger=http_logger,
                shutdown_timeout=1.0,
                lingering_time=LINGERING,
                read_bufsize=READ_BUFFER,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            listener = await self._listen(runner)
            stack.callback(listener.close)
            await self._listen_for_administrators(runner, stack)
            await self._store_url()
            stack.callback(self._endpoint.stop)
            stack.push_async_callback(self._siblings.close)
            if self._verifier is not None:
                stack.push_async_callback(self._verifier.close)
            stack.push_async_callback(self._stop_tasks)
            self._start_tasks()
            stack.push_async_callback(self._tell_nodes)
            yield

    def stop(self) -> None:
        """End :meth:`wait`."""
        self._stopping.set()

    def _on_signal(self) -> None:
        """Stop; at once, if that is said twice."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def reload(self, read: Callable[[], CoordinatorConfig]) -> None:
        """Take over what can be changed while this runs, and say what cannot.

        :param read: returns the settings as they are now.
        """
        try:
            new = read()
            if self._certificate is not None and new.tls_cert and new.tls_key:
                self._certificate.renew(new.tls_cert, new.tls_key)
        except MeshError as error:
            logger.error("The settings stay as they are: %s", error)
            return
        logging.getLogger().setLevel(new.log_level.upper())
        self._foundation.store.approve_routes(new.approve_routes)
        self._proxies.use(new.trusted_proxies)
        self._worker.look()
        self._policy_file.look()
        logger.info("The settings and the certificate were read again")
        live = LIVE if self._certificate is None else LIVE + LIVE_WITH_TLS
        later = [each for each in differences(self._config, new) if each not in live]
        if later:
            names = ", ".join(later)
            logger.warning("After a restart only, these take effect: %s", names)

    async def wait(self) -> None:
        """Wait for a signal.

        :raises StoreError: if the database turns out to be damaged.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait(
                [stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED
            )
            for task in done - {stopping}:
                task.result()
        finally:
            stopping.cancel()

    def _make_server(self) -> ControlServer:
        config, foundation = self._config, self._foundation
        settings = Settings(
            home=self._home.name,
            stun=self.public.stun,
            relays=self.public.relays,
            relay_secret=self._relay_secret,
            relay_secrets={
                url: foundation.relay_secrets.of_url(url) for url in config.relays
            },
            connections_per_address=config.connections_per_address,
            knows_cluster=config.kubernetes_issuer is not None,
        )
        server = ControlServer(
            foundation.private_key,
            foundation.registry,
            foundation.history,
            settings,
            now=asyncio.get_running_loop().time(),
            unix_time=time.time(),
            random=os.urandom,
        )
        if shared := foundation.relay_secrets.sharing(config.relays):
            logger.warning(SHARED_SECRET, ", ".join(shared))
        if foundation.former_key is not None:
            logger.warning("%s", FORMER_SERVED)
        now = asyncio.get_running_loop().time()
        server.use_keys(foundation.private_key, foundation.former_key, now)
        return server

    def _make_verifier(self) -> ClusterVerifier | None:
        access = cluster_access(self._config)
        if access is None:
            return None
        return ClusterVerifier(
            access, self._foundation.registry, self._on_proved, self._unexpected
        )

    def _look_at_proof(self, wanted: ProofWanted) -> None:
        # Without a cluster, the server wants nothing to be looked at.
        assert self._verifier is not None
        self._verifier.look(wanted)

    def _on_proved(self, session: str, found: ClusterProof | Refused) -> None:
        self._server.proved(session, found)
        self._endpoint.drain()

    async def _listen(self, runner: web.AppRunner) -> asyncio.Server:
        config = self._config
        if config.tls_cert is not None and config.tls_key is not None:
            self._certificate = Certificate(config.tls_cert, config.tls_key)
        assert runner.server is not None
        refuse_expectations(runner.server)
        stream, certificate = self._services.stream, self._certificate
        return await listen(
            self._listener,
            runner.server,
            admission=self._admission,
            stream=stream,
            tls=None if certificate is None else certificate.context,
        )

    async def _listen_for_administrators(
        self, runner: web.AppRunner, stack: contextlib.AsyncExitStack
    ) -> None:
        """Serve at the Unix socket, too, if there is to be one."""
        path = self._config.admin_socket
        if path is None:
            return
        listener = listen_at(path)
        stack.callback(path.unlink, missing_ok=True)
        await web.SockSite(runner, listener).start()

    def _make_administration(self) -> AdministrationApi:
        foundation, config = self._foundation, self._config
        mesh = LiveMesh(
            foundation.store,
            self._worker,
            foundation.registry,
            address=self.public.url,
            coordinator_key=foundation.private_key.public_bytes,
            relays=[(url, url not in config.relays) for url in self.public.relays],
        )
        return AdministrationApi(
            mesh,
            self._events,
            token=foundation.admin_token,
            proxies=self._proxies,
            random=os.urandom,
        )

    def _make_application(self) -> web.Application:
        application = web.Application(
            client_max_size=BODY_LIMIT,
            middlewares=[
                one_request,
                count_clients(self._proxies),
                self._unexpected.middleware,
                problems,
            ],
        )
        application.on_shutdown.append(self._administration.stop)
        application.add_routes(
            [
                web.get(CONTROL_PATH, self._endpoint.handle),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._show_metrics),
                *self._administration.routes(),
            ]
        )
        if self._services.stream is not None:
            relay = RelayEndpoint(self._services.stream, self._proxies)
            application.router.add_get(RELAY_PATH, relay.handle)
            application.on_shutdown.append(relay.close)
        return application

    async def _healthz(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        problem = self._readiness.ill(now, is_failing=self._worker.failing)
        if problem is not None:
            return web.json_response({"status": problem}, status=503)
        policy = self._foundation.registry.policy
        status = "ok"
        if policy is not None and policy.problem:
            status = f"the policy allows nothing: {policy.problem}"
        return web.json_response({"status": status})

    async def _readyz(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        problem = self._readiness.unready(now, is_failing=self._worker.failing)
        status = 200 if problem is None else 503
        return web.json_response({"status": problem or "ready"}, status=status)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        page = self._page.render()
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE})

    def _metrics(self) -> Iterator[Metric]:
        server, worker, registry = self._server, self._worker, self._foundation.registry
        online = sum(node.online for node in registry.nodes.values())
        yield gauge("nodes", "Members of the mesh", len(registry))
        yield gauge("nodes_online", "Members that are connected", online)
        yield gauge("mesh_version", "Version of the mesh", registry.version)
        yield gauge("connections", "Control connections", server.connections)
        cut = {**self._admission.cut, "malformed": self._malformed.count}
        yield counters("tcp_cut", "TCP connections that were cut", "why", cut)
        yield counter("commits", "Transactions committed", worker.commits)
        yield counter("commits_failed", "Transactions that failed", worker.failures)
        built = self._foundation.history.built
        yield counter("netmaps_built", "Netmaps and deltas serialised", built)
        direct = self._siblings.forwarded
        yield counter("offers_direct", "Offers passed to other coordinators", direct)
        yield counters("control", "Control events", "event", server.counters)
        unexpected = self._unexpected.count
        yield counter("unexpected", "What nobody expected; see the log", unexpected)
        wrong = self._administration.attempts.count
        yield counter("wrong_tokens", "Wrong tokens of the administration", wrong)
        yield counters("refusals", "Messages refused", "code", server.refusals)

    async def _store_url(self) -> None:
        """Note where nodes find this process, for the join tokens to come."""
        operation = SetUrl(check_url(self.public.url))
        commit = await self._foundation.store.commit([operation], time.time())
        now = asyncio.get_running_loop().time()
        self._server.committed(commit.outcomes, commit.changes, now)

    # Tasks.

    def _start_tasks(self) -> None:
        worker, store = self._worker, self._foundation.store
        ears = Ears(worker.look, self._on_offer, self._readiness.listening)
        self._work = asyncio.create_task(worker.run())
        others = [
            worker.keep_alive,
            lambda: watch(store.engine, self._home.name, ears),
            self._watch_keys,
            self._policy_file.watch,
        ]
        if self._certificate is not None:
            others.append(self._certificate.watch)
        endured = [asyncio.create_task(self._endure(each)) for each in others]
        self._tasks = [self._work, *endured]

    async def _endure(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something for ever, whatever happens to it."""
        while True:
            try:
                await work()
            except Exception as error:
                now = asyncio.get_running_loop().time()
                self._unexpected.note("looking after the mesh", error, now)
            await asyncio.sleep(ENDURE_INTERVAL)

    async def _watch_keys(self) -> None:
        """Take over the keys whenever an administrator has changed them."""
        directory = self._foundation.directory
        used = complained = directory.stamp_of_keys()
        while True:
            await asyncio.sleep(KEY_INTERVAL)
            if (stamp := directory.stamp_of_keys()) == used:
                continue
            try:
                await self._take_over_keys(directory)
                used = stamp
            except MeshError as error:
                if stamp != complained:
                    logger.error("The coordinator's key stays as it is: %s", error)
                complained = stamp

    async def _take_over_keys(self, directory: DataDirectory) -> None:
        if not directory.exists:
            raise MeshError(f"There is none in {directory.path}")
        key, former = directory.private_key(), directory.former_key()
        await self._foundation.store.change_key(format_key(key.public_bytes))
        self._server.use_keys(key, former, asyncio.get_running_loop().time())
        self._private_key = key
        self._administration.mesh.coordinator_key = key.public_bytes
        self._endpoint.drain()
        logger.info(
            "The coordinator's key is %s%s",
            format_key(key.public_bytes),
            "" if former is None else f". {FORMER_SERVED}",
        )

    def _on_changes(self, changes: Sequence[Changes]) -> None:
        for each in changes:
            self._events.note(each, self._foundation.registry)
        if changes:
            self._administration.note()

    def _on_commit(self) -> None:
        self._services.on_members()
        self._endpoint.drain()

    def _on_offer(self, text: bytes) -> None:
        self._server.receive_forwarded(text, asyncio.get_running_loop().time())
        self._endpoint.drain()

    async def _drain(self) -> None:
        """Have nodes connect to other coordinators, if there are any, before this one
        stops."""
        self._readiness.leave()
        others = self._worker.roll.living(self._home)
        if not others or not self._server.members:
            return
        loop = asyncio.get_running_loop()
        within = self._server.send_elsewhere(others, loop.time())
        self._endpoint.drain()
        logger.info("%d nodes are sent to other coordinators", self._server.members)
        end = loop.time() + within + DRAIN_MARGIN
        while self._server.members and loop.time() < end:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_LOOK):
                    await self._hurry.wait()
                    return
        if left := self._server.members:
            logger.warning("%d nodes have not found another coordinator", left)

    async def _tell_nodes(self) -> None:
        """Tell the nodes that this process stops."""
        await self._drain()
        self._server.shut_down(asyncio.get_running_loop().time())
        self._endpoint.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await self._endpoint.flush()

    async def _stop_tasks(self) -> None:
        """Let the last transaction finish; end everything else."""
        self._worker.stop()
        for task in self._tasks:
            if task is not self._work:
                task.cancel()
        _, late = await asyncio.wait(self._tasks, timeout=STOP_TIMEOUT)
        if late:
            self._foundation.store.engine.abort()
            await asyncio.wait(late)


def advertised_host(config: CoordinatorConfig) -> str:
    """Return the host that nodes use: configured, listened on, or this machine's."""
    if config.advertise:
        return config.advertise
    if config.url is not None:
        return urlsplit(config.url).hostname or ""
    host, _ = config.listen_address
    return host if host not in WILDCARDS else primary_address(host)


def primary_address(like: str) -> str:
    """Return the address this machine uses towards the internet. Nothing is sent.

    :param like: any address of the wanted family.
    """
    family, remote, local = socket.AF_INET, "192.0.2.1", "127.0.0.1"
    if ":" in like:
        family, remote, local = socket.AF_INET6, "2001:db8::1", "::1"
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((remote, 9))
        except OSError:
            return local
        return str(probe.getsockname()[0])
