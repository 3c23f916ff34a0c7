"""Proxies that people have in front of web servers, with the settings that we document.

They are Debian's, unpacked and not installed, each on a host of a lab. What they are
told is in docs/operations.md, with the names of that host in it.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from netlab.machine import Host
from netlab.process import Process
from tests.interop.firewalls import Packages

MANUAL = Path(__file__).parents[2] / "docs" / "operations.md"
SITE = "mesh.example.org"
PORT = 443

_NGINX = """
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {documented}
}}
"""


def documented(kind: str) -> str:
    """Return the settings of a proxy as the manual has them."""
    found = re.search(rf"^```{kind}\n(.*?)^```", MANUAL.read_text(), re.S | re.M)
    assert found is not None, f"{MANUAL} has no settings of {kind}"
    return found[1]


class Frontend:
    """A proxy on the coordinator's host, or on another one.

    :param kind: as the manual calls its settings.
    :param behind: the coordinator's address, if that is on another host.
    :param tls: whether there is TLS between it and the coordinator.
    :param idle: seconds after which it ends connections, if not as in the manual.
    """

    path = "/mesh"

    def __init__(
        self,
        host: Host,
        kind: str,
        *,
        behind: str = "127.0.0.1",
        tls: bool = False,
        idle: int = 60,
    ) -> None:
        self.host = host
        self.kind = kind
        self.directory = host.directory / "front"
        self.directory.mkdir()
        self.certificate, self.key = make_certificate(self.directory, host.address(4))
        names, make, self._start = _KINDS[kind]
        self._packages = Packages(host, names)
        text = make(self, _over_tls(documented(kind)) if tls else documented(kind))
        text = text.replace("127.0.0.1:8443", f"{behind}:8443")
        text = text.replace("60s", f"{idle}s")
        self._settings = self.directory / "settings"
        self._settings.write_text(text.replace(SITE, host.address(4)))

    @property
    def url(self) -> str:
        """What nodes find it by."""
        path = "" if self.kind == "haproxy-tcp" else self.path
        return f"https://{self.host.address(4)}{path}"

    def start(self) -> Process:
        """Start it, and wait until it takes connections."""
        script = self._start.format(settings=self._settings, home=self.directory)
        process = self._packages.start(script)
        self.host.wait_until(self._answers, f"{self.kind} answers at port {PORT}")
        return process

    def _answers(self) -> bool:
        listening = self.host.run(["ss", "-Hltn", f"sport = :{PORT}"]).stdout
        return listening != ""


def make_certificate(directory: Path, address: str) -> tuple[Path, Path]:
    """Return the files of a certificate for an address, and of its key."""
    certificate, key = directory / "fullchain.pem", directory / "privkey.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={address}"),
            *("-addext", f"subjectAltName=IP:{address}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())
    return certificate, key


def tinyproxy(host: Host, user: str) -> Process:
    """Start a proxy for clients that wants a name and a password, at port 3128."""
    name, _, password = user.partition(":")
    settings = host.directory / "tinyproxy.conf"
    settings.write_text(
        "Port 3128\nTimeout 600\nLogLevel Connect\nMaxClients 100\n"
        f"BasicAuth {name} {password}\nConnectPort {PORT}\n"
    )
    process = Packages(host, ("tinyproxy-bin",)).start(f"tinyproxy -d -c {settings}")
    host.wait_until(
        lambda: host.run(["ss", "-Hltn", "sport = :3128"]).stdout != "",
        "tinyproxy answers",
    )
    return process


def _over_tls(text: str) -> str:
    """Return settings with TLS to the coordinator, as the manual's table says."""
    for plain, secured in (
        ("proxy_pass http://", "proxy_pass https://"),
        (
            "reverse_proxy 127.0.0.1:8443",
            "reverse_proxy https://127.0.0.1:8443 {\ntransport http {\n"
            "tls_insecure_skip_verify\n}\n}",
        ),
        ("meshwg 127.0.0.1:8443\n", "meshwg 127.0.0.1:8443 ssl verify none\n"),
    ):
        text = text.replace(plain, secured)
    return text


def _nginx(front: Frontend, text: str) -> str:
    text = text.replace("/etc/ssl/mesh", str(front.directory))
    return _NGINX.format(directory=front.directory, documented=text)


def _caddy(front: Frontend, text: str) -> str:
    # Nobody here gives out certificates.
    first, _, rest = text.partition("\n")
    return f"{first}\n    tls {front.certificate} {front.key}\n{rest}"


def _haproxy(front: Frontend, text: str) -> str:
    return text.replace("/etc/ssl/mesh", str(front.directory))


_HAPROXY = (
    *("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
)
_START_HAPROXY = "exec haproxy -db -f {settings}"
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Frontend, str], str], str]] = {
    "nginx": (("nginx",), _nginx, "exec nginx -c {settings}"),
    "caddyfile": (
        ("caddy",),
        _caddy,
        "export HOME={home}; exec caddy run --config {settings} --adapter caddyfile",
    ),
    "haproxy": (_HAPROXY, _haproxy, _START_HAPROXY),
    "haproxy-tcp": (_HAPROXY, _haproxy, _START_HAPROXY),
}
