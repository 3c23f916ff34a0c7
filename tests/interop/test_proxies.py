"""Whole meshes through other people's proxies: nginx, Caddy and HAProxy in front of the
coordinator, tinyproxy in front of a node. The nodes have no UDP, nor direct paths."""

import time
from collections.abc import Callable

import pytest

from netlab.lab import Lab
from netlab.machine import Host
from netlab.presets import UDP_BLOCKED
from tests.interop.frontends import PORT, Frontend, tinyproxy
from tests.interop.meshes import Coordinator, Json, Member

pytestmark = pytest.mark.netns

IDLE = 20
"""Seconds that a proxy waits here; usual are 30 and more."""
ONLY_HTTPS = """
table inet only-https {{
    chain out {{
        type filter hook output priority 0; policy drop;
        oifname {{ "lo", "meshwg0" }} accept
        {allowed} accept
    }}
}}
"""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("kind", ["nginx", "caddyfile", "haproxy"])
def test_nodes_without_udp_join_and_talk_through_a_proxy_as_documented(
    lab: Lab, kind: str, tls: bool
) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, kind, tls=tls)
    coordinator = behind(front, *certificate_of(front, tls))
    front.start()

    one, other = two_members(lab, coordinator)

    for member in (one, other):
        member.wait_until(has_relay(front), f"{member.name} has the relay")
    one.reaches(other)
    assert one.peers()["second"]["path"]["kind"] == "relay"


def test_haproxy_passes_tls_on_and_says_whose_connections_they_are(lab: Lab) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, "haproxy-tcp")
    coordinator = behind(front, *certificate_of(front, True))
    front.start()

    one, other = two_members(lab, coordinator)

    for member in (one, other):
        member.wait_until(has_relay(front), f"{member.name} has the relay")
    one.reaches(other)


def test_a_proxy_on_another_machine_is_believed_if_it_is_named(lab: Lab) -> None:
    server = lab.add_host("coordinator", lab.internet)
    proxy = lab.add_host("proxy", lab.internet)
    front = Frontend(proxy, "nginx", behind=server.address(4), tls=True)
    coordinator = Coordinator(
        server,
        *("--url", front.url, "--connections-per-address", "1"),
        *("--trusted-proxy", f"{proxy.address(4)}/32"),
        *certificate_of(front, True),
    )
    coordinator.start()
    front.start()

    one, other = two_members(lab, coordinator)

    one.reaches(other)


def test_a_path_through_a_proxy_comes_back_after_a_restart_of_the_proxy(
    lab: Lab,
) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, "nginx")
    coordinator = behind(front)
    process = front.start()
    one, other = two_members(lab, coordinator)
    one.reaches(other)

    process.kill()
    one.wait_until_offline()
    front.start()

    for member in (one, other):
        member.wait_until_connected()
        member.wait_until(has_relay(front), f"{member.name} has the relay again")
    one.reaches(other)
    for member in (one, other):
        assert "Traceback" not in member.log()


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_idle_connections_outlast_a_proxy_that_ends_silent_ones(
    lab: Lab, kind: str
) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, kind, idle=IDLE)
    coordinator = behind(front)
    front.start()
    member = Member(lab.add_host("first", lab.add_router("hotel", UDP_BLOCKED)))
    member.join(token_of(coordinator), "--no-tcp")
    member.wait_until(has_relay(front), "it has the relay")
    before = held(member)

    time.sleep(2 * IDLE)

    assert held(member) == before


def test_nodes_behind_an_http_proxy_join_and_talk_through_it(lab: Lab) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, "nginx")
    # All of them come from the address of their proxy.
    coordinator = behind(front, "--connections-per-address", "64")
    front.start()
    gate = lab.add_host("gate", lab.internet)
    tinyproxy(gate, "me:secret")
    where = f"{gate.address(4)}:3128"

    members = []
    for name in ("first", "second"):
        member = Member(lab.add_host(name, lab.internet))
        allow_only(member.host, f"ip daddr {gate.address(4)} tcp dport 3128")
        env = {"https_proxy": f"http://me:secret@{where}"}
        member.start("--join", token_of(coordinator), "--no-tcp", env=env)
        members.append(member)
    one, other = members

    for member in members:
        member.wait_until_connected()
        member.wait_until(has_relay(front), f"{member.name} has the relay")
        assert "secret" not in member.log()
    one.reaches(other)


def test_a_proxy_that_wants_a_password_is_named_until_it_gets_one(lab: Lab) -> None:
    server = lab.add_host("coordinator", lab.internet)
    front = Frontend(server, "nginx")
    coordinator = behind(front)
    front.start()
    gate = lab.add_host("gate", lab.internet)
    tinyproxy(gate, "me:secret")
    member = Member(lab.add_host("first", lab.internet))
    env = {"https_proxy": f"http://me:wrong@{gate.address(4)}:3128"}

    member.start("--join", token_of(coordinator), env=env)

    member.wait_until(
        lambda status: "wants a name and a password" in str(error_of(status)),
        "the proxy is named",
    )
    assert "https_proxy" in str(error_of(member.status()))
    assert "wrong" not in member.log()


def behind(front: Frontend, *options: str) -> Coordinator:
    """Start a coordinator behind a proxy on its host, which nobody else reaches.

    Each client may have one connection, so two join only if they are told apart.
    """
    coordinator = Coordinator(
        front.host,
        *("--listen", "127.0.0.1:8443", "--stun", "0.0.0.0", "--url", front.url),
        *("--connections-per-address", "1"),
        *options,
    )
    coordinator.start()
    return coordinator


def certificate_of(front: Frontend, tls: bool) -> tuple[str, ...]:
    files = ("--tls-cert", str(front.certificate), "--tls-key", str(front.key))
    return files if tls else ()


def two_members(lab: Lab, coordinator: Coordinator) -> tuple[Member, Member]:
    """Return two nodes without UDP, behind routers of their own."""
    members = []
    for name in ("first", "second"):
        router = lab.add_router(f"{name}-router", UDP_BLOCKED)
        member = Member(lab.add_host(name, router))
        member.join(token_of(coordinator), "--no-tcp")
        members.append(member)
    one, other = members
    return one, other


def token_of(coordinator: Coordinator) -> str:
    """Return a join token, as the command makes it."""
    token: str = coordinator.command("token", "create")["token"]
    return token


def has_relay(front: Frontend) -> Callable[[Json], bool]:
    """Return a test of a status: whether the relay is reached through a proxy."""

    def holds(status: Json) -> bool:
        relay = status["self"]["relay"]
        url = f"wss://{front.host.address(4)}:{PORT}"
        is_there = relay["state"] == "allocated" and relay["transport"] == "wss"
        return is_there and str(relay["url"]).startswith(url)

    return holds


def held(member: Member) -> tuple[object, object]:
    """Return what is another one after a connection was opened anew."""
    itself = member.status()["self"]
    return itself["coordinator"]["since"], itself["relay"]["address"]


def error_of(status: Json) -> object:
    return status["self"]["coordinator"]["error"]


def allow_only(host: Host, allowed: str) -> None:
    """Let nothing out of a host but to its own addresses and to what is allowed."""
    host.run(["nft", "-f", "-"], stdin=ONLY_HTTPS.format(allowed=allowed))
