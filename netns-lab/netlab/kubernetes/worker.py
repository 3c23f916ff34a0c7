"""A node of a cluster: containerd, the kubelet and its proxy on a host of the lab.

To its programs the node is a whole machine: beside its network it has processes,
mounts, ``/etc``, ``/run`` and ``/var`` of its own, and Debian's packages over ``/usr``.
The kernel ends all of that with its first process, so nothing is left on the machine,
however a run ends, but the control groups.
"""

import json
import os
import shlex
import signal
from collections.abc import Iterable
from pathlib import Path

from netlab.errors import CommandFailed, LabError
from netlab.kubernetes import cgroups, controlplane
from netlab.kubernetes.api import Json
from netlab.kubernetes.controlplane import ControlPlane
from netlab.kubernetes.programs import Programs
from netlab.kubernetes.rootfs import BOX
from netlab.machine import Host
from netlab.process import Process

SOCKET = "/run/containerd/containerd.sock"
CONTAINERS = ("ctr", "--address", SOCKET, "--namespace", "k8s.io")
BRIDGED = {
    "net.bridge.bridge-nf-call-iptables": 1,
    "net.bridge.bridge-nf-call-ip6tables": 1,
}
"""Kubernetes wants it so: what a service led to a pod on the same bridge comes back to
the bridge, and has to get the service's address again."""
STARTED_WITHIN = 60.0
"""Seconds for containerd on a busy machine."""

_MACHINE = """
set -e
# The lab's own /sys has no control groups; the one below it has.
umount --lazy /sys
mount -t overlay overlay /usr -o lowerdir={layers}
mount --bind {var} /var
echo ready
exec tini -- sleep infinity
"""
# The kernel's limit for a process that is short of memory may only be lowered with a
# capability that containers often lack.
_CONTAINERD = f"""
version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{BOX}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
"""


class Worker:
    """One node, which registers with the API server by the name of its host."""

    def __init__(self, host: Host, plane: ControlPlane, programs: Programs) -> None:
        self.host = host
        self.kubelet: Process | None = None
        self.proxy: Process | None = None
        self._plane, self._programs = plane, programs
        self._group = cgroups.name_of(host.netns)
        self._first = 0

    def __repr__(self) -> str:
        return f"<Worker {self.name}>"

    @property
    def name(self) -> str:
        return self.host.name

    @property
    def etc(self) -> Path:
        """What is ``/etc`` on the node, seen from outside."""
        return self.host.namespace.etc_directory

    def start(self, images: Iterable[Path]) -> None:
        """Start everything but the kubelet; images are what its pods can be made of."""
        cgroups.make(self._group)
        self.host.namespace.set_sysctl(BRIDGED)
        self._write_files()
        self._first = self._start_machine()
        containerd = self.popen(["containerd", "-c", "/etc/containerd.toml"])
        self.host.wait_until(
            lambda: self._answers(containerd), "containerd answers", STARTED_WITHIN
        )
        for image in images:
            self.run([*CONTAINERS, "images", "import", image])

    def remove(self) -> None:
        """Remove what outlives its namespaces, once these are gone."""
        cgroups.remove(self._group)

    def start_kubelet(self) -> None:
        """Start the kubelet; it takes over the pods that an earlier one has left."""
        options = {
            "kubeconfig": "/etc/kubernetes/kubelet.json",
            "config": "/etc/kubernetes/kubelet-configuration.json",
            "root-dir": "/var/lib/kubelet",
            "cert-dir": "/var/lib/kubelet/pki",
            "hostname-override": self.name,
            "node-ip": self.host.address(4),
        }
        self.kubelet = self._start("kubelet", options)

    def kill_kubelet(self) -> None:
        """Let the kubelet die at once; its pods go on."""
        assert self.kubelet is not None
        os.killpg(self.kubelet.pid, signal.SIGKILL)
        self.kubelet.wait()

    def start_proxy(self) -> None:
        """Start what leads from a service's address to its pods, if it does not run.

        It ends by itself when its node is removed from the cluster.
        """
        if self.proxy is not None and self.proxy.returncode is None:
            return
        options = {
            "kubeconfig": "/etc/kubernetes/proxy.json",
            "hostname-override": self.name,
            "proxy-mode": "nftables",
            "cluster-cidr": ",".join(controlplane.POD_NETWORKS),
            # Limits of connection tracking are the machine's, not a namespace's.
            "conntrack-max-per-core": "0",
            "conntrack-min": "0",
            "conntrack-tcp-timeout-established": "0s",
            "conntrack-tcp-timeout-close-wait": "0s",
        }
        self.proxy = self._start("proxy", options)

    def run(self, arguments: Iterable[str | Path], *, check: bool = True) -> str:
        """Run a command on the node, and return what it prints."""
        return self.host.run(self._inside(arguments), check=check).stdout

    def popen(self, arguments: Iterable[str | Path], log: str | None = None) -> Process:
        """Start a program on the node; its log is among the files of the host."""
        command = list(arguments)
        log = log or f"{Path(command[0]).name}.log"
        return self.host.popen(self._inside(command), log=log)

    def network_of(self, pod: str) -> Path:
        """Return the network namespace of the pod with this identity.

        It is a path that is good outside of the node, while the node is there.
        """
        sandbox = self._containers(pod, "sandbox")[0]
        for namespace in sandbox["Spec"]["linux"]["namespaces"]:
            if namespace["type"] == "network":
                # Its /var/run is a link, which would lead to this machine's /run.
                name = Path(namespace["path"]).name
                return Path("/proc", str(self._first), "root/run/netns", name)
        raise LabError(f"The pod {pod} has no network of its own.")

    def kill_containers(self, pod: str) -> None:
        """Kill all containers of a pod at once, as when they run out of memory."""
        for container in self._containers(pod, "container"):
            kill = ["tasks", "kill", "--signal", "SIGKILL", container["ID"]]
            self.run([*CONTAINERS, *kill], check=False)

    def _containers(self, pod: str, kind: str) -> list[Json]:
        wanted = f'labels."io.kubernetes.pod.uid"=={pod}'
        wanted += f',labels."io.cri-containerd.kind"=={kind}'
        names = self.run([*CONTAINERS, "containers", "list", "--quiet", wanted])
        found = [
            json.loads(self.run([*CONTAINERS, "containers", "info", name]))
            for name in names.split()
        ]
        if not found:
            raise LabError(f"{self.name} has no {kind} of the pod {pod}.")
        return found

    def _write_files(self) -> None:
        etc = self.host.take_own_etc()
        (etc / "containerd.toml").write_text(_CONTAINERD)
        (etc / "cni" / "net.d").mkdir(parents=True, exist_ok=True)
        # The machine's name servers cannot be reached from the lab.
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").touch()
        settings = etc / "kubernetes"
        settings.mkdir()
        user = controlplane.NODE + self.name
        for name, text in (
            ("kubelet.json", self._plane.kubeconfig(user)),
            ("proxy.json", self._plane.kubeconfig(controlplane.PROXY)),
            ("kubelet-configuration.json", json.dumps(self._configuration())),
        ):
            (settings / name).touch(0o600)
            (settings / name).write_text(text)
        var = self.host.directory / "var"
        for folder in ("lib", "log", "cache", "tmp"):
            (var / folder).mkdir(parents=True)
        (var / "run").symlink_to("/run")
        # Its portmap plugin runs iptables by the name that Debian gives it when it is
        # installed.
        programs = self.host.directory / "usr" / "sbin"
        programs.mkdir(parents=True)
        for name in ("iptables", "ip6tables", "iptables-save", "iptables-restore"):
            (programs / name).symlink_to("xtables-nft-multi")

    def _configuration(self) -> Json:
        """Return the kubelet's settings, a ``KubeletConfiguration``."""
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "failCgroupV1": False,
            "failSwapOn": False,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self._group}",
            "enforceNodeAllocatable": [],
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
            },
            "authorization": {"mode": "Webhook"},
            "localStorageCapacityIsolation": False,
            "clusterDNS": [controlplane.DNS_SERVICE],
            "clusterDomain": "cluster.local",
            # The disk is the machine's, and however full, no matter of a test.
            "evictionHard": {},
            "imageGCHighThresholdPercent": 100,
            "nodeStatusUpdateFrequency": "2s",
        }

    def _start_machine(self) -> int:
        """Start the first process of the node, and return its number."""
        trees = [self.host.directory, *self._programs.packages]
        layers = ":".join(str(tree / "usr") for tree in trees)
        script = _MACHINE.format(
            layers=shlex.quote(f"{layers}:/usr"),
            var=shlex.quote(str(self.host.directory / "var")),
        )
        command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        machine = self.host.popen([*command, "sh", "-c", script], log="machine.log")
        machine.wait_for_line("ready")
        pid = machine.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _start(self, part: str, options: dict[str, str]) -> Process:
        words = [f"--{name}={value}" for name, value in options.items()]
        return self.popen([self._programs.kube, part, *words], log=f"{part}.log")

    def _inside(self, arguments: Iterable[str | Path]) -> list[str | Path]:
        enter = ["nsenter", "--target", str(self._first), "--mount", "--pid", "--"]
        return [*enter, *arguments]

    def _answers(self, containerd: Process) -> bool:
        if containerd.returncode is not None:
            raise CommandFailed(
                f"containerd has ended on {self.name}, see {containerd.log_path}."
            )
        done = self.host.run(self._inside([*CONTAINERS, "version"]), check=False)
        return done.returncode == 0
