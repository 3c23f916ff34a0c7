"""Machines that compete for a floating address, and somebody who uses it."""

import sys
from dataclasses import dataclass

from netlab.lab import Lab
from netlab.process import Process
from tests.interop.meshes import Coordinator, Member

VIP, VIP6 = "10.60.0.10", "fd60::10"
PORT = 8000
K8S = (sys.executable, "-c", "from meshwg.cli.kubernetes import main; main()")
_SERVER = f"""
import http.server, socket, sys

class Names(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

print("serves", flush=True)
Server(("::", {PORT}), Names).serve_forever()
"""
_LOOP = (
    f"while :; do echo $(date +%s.%N) $(curl -s -m 0.3 http://{VIP}:{PORT}/); "
    "sleep 0.03; done"
)


class Contender:
    """A machine with a node, the service, and the program for the address."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.host = member.host
        self.vip: Process | None = None
        self.service: Process | None = None
        self.serve()

    def serve(self) -> None:
        """Start the service, which answers with the machine's name."""
        command = [sys.executable, "-c", _SERVER, self.host.name]
        self.service = self.host.popen(command, log=f"service-{self.host.name}.log")
        self.service.wait_for_line("serves")

    def compete(self, *options: str) -> "Contender":
        """Start the program."""
        words = ["vip", "--address", VIP, "--address", VIP6, "--name", self.host.name]
        words += ["--check", f"http://127.0.0.1:{PORT}/"]
        words += ["--control-socket", self.member.options[-1], *options]
        log = f"vip-{self.host.name}.log"
        self.vip = self.host.popen([*K8S, *words], log=log)
        return self

    def has_it(self) -> bool:
        """Tell whether the address is on this machine."""
        shown = self.host.run(["ip", "-brief", "address", "show", "dev", "lo"]).stdout
        return f"{VIP}/32" in shown


@dataclass
class Site:
    """Two contenders, and alice who uses the address."""

    coordinator: Coordinator
    contenders: list[Contender]
    alice: Member

    @classmethod
    def build(cls, lab: Lab) -> "Site":
        coordinator = Coordinator.on_the_internet(lab)
        token = coordinator.token(reusable=True)
        contenders = []
        for name in ("one", "two"):
            member = Member(lab.add_host(name, lab.internet)).join(token)
            for prefix in (f"{VIP}/32", f"{VIP6}/128"):
                coordinator.command("route", "approve", name, prefix)
            contenders.append(Contender(member))
        alice = Member(lab.add_host("alice", lab.internet)).join(token)
        alice.wait_until_sees("one", "two")
        return cls(coordinator, contenders, alice)

    def ask(self, address: str = VIP) -> str:
        """Return the name that answers alice at the address, empty if nobody does."""
        host = f"[{address}]" if ":" in address else address
        command = ["curl", "-s", "-m", "2", f"http://{host}:{PORT}/"]
        return self.alice.host.run(command, check=False).stdout

    def wait_for(self, name: str) -> None:
        """Wait until a machine answers at both addresses."""
        self.alice.host.wait_until(
            lambda: self.ask() == self.ask(VIP6) == name, f"{name} has the address", 60
        )

    def keep_asking(self) -> Process:
        """Have alice ask again and again, with a line for each answer."""
        return self.alice.host.popen(["sh", "-c", _LOOP], log="curl.log")

    def holders(self) -> list[str]:
        """Return the machines that have the address."""
        return [each.host.name for each in self.contenders if each.has_it()]


def names_of(asking: Process) -> list[str]:
    """Return who has answered, in order, without repetitions."""
    found: list[str] = []
    for line in asking.output().splitlines():
        name = line.partition(" ")[2]
        if name and found[-1:] != [name]:
            found.append(name)
    return found
