"""What the rules of the layout allow: all that is edited when files move.

Exceptions carry their reason. The tests fail on an entry that nothing needs any more.
"""

# Layers, the highest first; see tests/layout/layers.py.
MESHWG_LAYERS = (
    ("meshwg.__main__",),
    ("meshwg.cli",),
    ("meshwg.runtime",),
    ("meshwg.status",),
    ("meshwg.node",),
    ("meshwg.peer", "meshwg.whereabouts"),
    (
        "meshwg.wireguard",
        "meshwg.nat",
        "meshwg.path",
        "meshwg.relay",
        "meshwg.control",
        "meshwg.policy",
        "meshwg.dns",
        "meshwg.kubernetes",
    ),
    ("meshwg.wire",),
    ("meshwg.config",),
    ("meshwg.routeoptions", "meshwg.staticpeer"),
    ("meshwg.schema",),
    ("meshwg.noise",),
    ("meshwg.keys",),
    ("meshwg.contention",),
    (
        "meshwg.transmit",
        "meshwg.nattypes",
        "meshwg.agenda",
        "meshwg.limits",
        "meshwg.health",
        "meshwg.firewall",
        "meshwg.forwarding",
        "meshwg.xtables",
        "meshwg.routing",
        "meshwg.proxies",
    ),
    ("meshwg.errors", "meshwg.prefixes"),
    ("meshwg.packet",),
    ("meshwg",),
)
COORDINATOR_LAYERS = (
    ("coordinator.__main__",),
    ("coordinator.cli",),
    ("coordinator.runtime",),
    ("coordinator.store",),
    ("coordinator.control",),
    ("coordinator.administration",),
    (
        "coordinator.mesh",
        "coordinator.turn",
        "coordinator.stun",
        "coordinator.proxyheader",
        "coordinator.addresses",
        "coordinator.relaysecrets",
    ),
    ("coordinator.kubernetes",),
    ("coordinator.policy", "coordinator.config"),
    ("coordinator.credentials", "coordinator.dsn"),
    ("coordinator",),
)
LAB_LAYERS = (("__main__",), ("scenarios",), ("netlab",))

TREES = ("meshwg", "coordinator", "netlab", "scenarios", "bench", "tests")
"""The top names of everything that is ours."""

ACROSS = {
    "coordinator": (
        "meshwg.__version__",
        "meshwg.wire",
        "meshwg.noise",
        "meshwg.keys",
        "meshwg.transmit",
        "meshwg.limits",
        "meshwg.nattypes",
        "meshwg.prefixes",
        "meshwg.errors",
        # Ports are written alike in policies and in guards.
        "meshwg.policy.ports",
    ),
    # The batching socket, the timer and the meaning of SIGHUP are common to both sides.
    "coordinator.runtime": (
        "meshwg.runtime.udp",
        "meshwg.runtime.alarm",
        "meshwg.runtime.hangup",
    ),
    # A new mesh avoids what the kernel and the firewall of the machine know.
    "coordinator.runtime.taken": ("meshwg.firewall", "meshwg.runtime.rtnetlink"),
    # Both command lines import their commands late, end alike, hide secrets, fit the
    # terminal, and have a SIGHUP wait that comes early.
    "coordinator.cli": (
        "meshwg.cli.program",
        "meshwg.cli.secrets",
        "meshwg.cli.table",
        "meshwg.runtime.hangup",
    ),
    "__main__": ("scenarios", "netlab"),
    "scenarios": ("netlab", "meshwg.nattypes"),
    # It speaks of NATs in the same words.
    "netlab": ("meshwg.nattypes",),
    # It asks nodes for their status as the command line does.
    "netlab.mesh": ("meshwg.cli.client", "meshwg.errors"),
    "netlab.kubernetes.agents": ("meshwg.cli.client", "meshwg.errors"),
    "bench": ("meshwg", "coordinator", "netlab"),
    # It disturbs a scenario far more often than the lab does.
    "bench.exits": ("scenarios",),
}
"""What a package may import of other trees."""

IMPURE = (
    "meshwg.__main__",
    "meshwg.cli",
    "meshwg.runtime",
    "coordinator.__main__",
    "coordinator.cli",
    "coordinator.runtime",
    "coordinator.store",
)
"""The shell; everything else in meshwg and coordinator is pure."""

PURE_STANDARD = (
    "base64",
    "binascii",
    "collections",
    "dataclasses",
    "enum",
    "errno",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "urllib.parse",
    "zlib",
)
"""Modules of the standard library that pure code may import."""

MORE_STANDARD = {
    # They read the file of settings, once, before anything else is made.
    "meshwg.config": ("pathlib", "tomllib"),
    "coordinator.config": ("pathlib", "tomllib"),
    # A policy is a text in that form, wherever it comes from.
    "coordinator.policy.document": ("tomllib",),
    # Problems have the titles of their status.
    "coordinator.administration.problems": ("http",),
    # Settings may be paths.
    "meshwg.schema": ("pathlib",),
    # It sets what OpenSSL looks at when it is loaded.
    "meshwg": ("os",),
    # wireguard-go logs what a configuration changes, and so does this.
    "meshwg.wireguard.uapi": ("logging",),
}
"""What single modules may import beside that."""

HOMES = {
    "aiohttp": ("coordinator.runtime",),
    "alembic": ("coordinator.store",),
    "asyncpg": ("coordinator.store",),
    "click": ("meshwg.cli", "coordinator.cli"),
    "cryptography": ("meshwg.keys", "meshwg.noise", "meshwg.wireguard"),
    "dbus_fast": ("meshwg.runtime.dns.resolved",),
    "h11": ("meshwg.runtime.httpserver", "meshwg.runtime.soap"),
    "httpx2": (
        "meshwg.runtime.kubernetes.api",
        "meshwg.runtime.kubernetes.leasestore",
    ),
    "joserfc": ("coordinator.kubernetes.servicetokens",),
    "lightkube": (
        "meshwg.runtime.kubernetes.api",
        "meshwg.runtime.kubernetes.leasestore",
    ),
    "msgspec": ("meshwg.runtime.kubernetes.api",),
    "segno": ("coordinator.runtime.qr",),
    "prometheus_client": ("coordinator.runtime.metrics",),
    "pydantic": (
        "meshwg.wire.models",
        "coordinator.config",
        "coordinator.administration",
    ),
    "sqlalchemy": ("coordinator.store",),
    "wsproto": ("meshwg.runtime.websocket",),
    "yaml": ("meshwg.cli.kubernetes.manifest",),
}
"""Where third-party packages may be imported."""

_SETTING = "a setting of a benchmark, which is a program by itself"

AT_IMPORT = {
    "meshwg/__init__.py": "sets what OpenSSL looks at when it is loaded",
    "bench/control.py": _SETTING,
    "bench/exits.py": _SETTING,
    "bench/floating.py": _SETTING,
    "bench/flood.py": _SETTING,
    "bench/idle.py": _SETTING,
    "bench/node.py": _SETTING,
    "bench/nodepath.py": _SETTING,
    "bench/nodepolicy.py": _SETTING,
    "bench/paths.py": _SETTING,
    "bench/programs.py": _SETTING,
    "bench/policy.py": _SETTING,
    "bench/refusals.py": _SETTING,
    "bench/relay.py": _SETTING,
    "bench/routers.py": _SETTING,
    "bench/scaling.py": _SETTING,
    "bench/start.py": _SETTING,
    "bench/stun.py": _SETTING,
    "bench/threads.py": _SETTING,
    "bench/tunnel.py": _SETTING,
}
"""Files that may read the environment while they are imported."""

SETS: dict[str, str] = {}
"""Files of pure code that may depend on the order of a set; see layout/order.py."""

# Mirrors; see tests/layout/mirrors.py.
MIRRORED = {
    "meshwg": "tests",
    "coordinator": "tests/coordinator",
    "netns-lab/netlab": "tests/lab",
    "bench": "tests/bench",
}
"""Where the tests of a folder are. Benchmarks need none, but may have some."""

_BY_LABS = "makes and runs things as root: tests/lab/test_lab.py sees what they do"

_BY_CLUSTERS = "starts programs: tests/cluster/test_traffic.py sees what they do"

UNMIRRORED = {
    "meshwg/wireguard/datapath.py": (
        "a protocol: tests/wireguard/test_python_datapath.py tests what follows it"
    ),
    "meshwg/wireguard/core.py": (
        "a protocol: tests/wireguard/test_core_datapath.py tests what is behind it"
    ),
    "meshwg/wireguard/lane.py": (
        "four fields: tests/wireguard/test_python_datapath.py sees what they do"
    ),
    "meshwg/runtime/dns/integration.py": (
        "a protocol: tests/runtime/dns/test_service.py plays what follows it"
    ),
    "meshwg/cli/kubernetes/__init__.py": (
        "the way to the program: tests/cli/kubernetes/test_group.py runs it"
    ),
    "meshwg/cli/__init__.py": "the way to the program: tests/cli/test_node.py runs it",
    "coordinator/store/migrations": (
        "tests/coordinator/store/test_engine.py compares them with the schema"
    ),
    "coordinator/turn/counters.py": (
        "integers: tests/coordinator/turn/test_server.py sees them count"
    ),
    "netns-lab/netlab/conntrack.py": _BY_LABS,
    "netns-lab/netlab/coturn.py": _BY_LABS,
    "netns-lab/netlab/internet.py": _BY_LABS,
    "netns-lab/netlab/lan.py": _BY_LABS,
    "netns-lab/netlab/links.py": _BY_LABS,
    "netns-lab/netlab/machine.py": _BY_LABS,
    "netns-lab/netlab/netns.py": _BY_LABS,
    "netns-lab/netlab/process.py": _BY_LABS,
    "netns-lab/netlab/shape.py": _BY_LABS,
    "netns-lab/netlab/kubernetes/agents.py": _BY_CLUSTERS,
    "netns-lab/netlab/kubernetes/cluster.py": _BY_CLUSTERS,
    "netns-lab/netlab/kubernetes/controlplane.py": _BY_CLUSTERS,
    "netns-lab/netlab/kubernetes/rootfs.py": _BY_CLUSTERS,
    "netns-lab/netlab/kubernetes/worker.py": _BY_CLUSTERS,
    "netns-lab/netlab/mesh.py": "starts programs: tests/lab/test_scenarios.py",
    "netns-lab/netlab/portmap.py": "starts a program: tests/interop/test_portmap.py",
    "netns-lab/netlab/postgres.py": "starts a program: tests/coordinator/conftest.py",
    "netns-lab/netlab/shell.py": "a command: tests/lab/test_program.py runs it",
    "netns-lab/netlab/preflight.py": "looks at this machine: tests/lab/test_program.py",
}
"""Why a source, or all in a folder, has no test file of its name."""

BEHAVIOURS = {
    "tests/cluster": "a cluster of other people's programs, with ours in it",
    "tests/fuzz": "hostile input for whole machines and live listeners",
    "tests/packages": "what is built of everything, on a Debian of its own",
    "tests/interop": "other people's programs against whole programs of ours",
    "tests/mesh": "whole meshes in virtual time",
    "tests/sim": "the virtual internet that other tests run on",
    "tests/layout": "the rules of the layout",
    "tests/world": "the virtual world that tests of nodes and meshes run in",
    "tests/lab/test_program.py": "netns-lab/__main__.py, as a program",
    "tests/lab/test_scenarios.py": "netns-lab/scenarios, run as root",
    "tests/nat/test_hostile.py": "what gateways may answer to a whole port mapper",
    "tests/node/test_hostile.py": "what strangers may send to a whole node",
    "tests/node/test_restless.py": "that an idle node has no timer that spins",
    "tests/relay/test_channels.py": "what a pool tells of its channels",
    "tests/relay/test_failures.py": "a client where something goes wrong",
    "tests/test_layout.py": "the layout of all sources",
    "tests/test_manual.py": "the manual pages, which tests/manual.py writes",
    "tests/test_package.py": "what is installed",
    "tests/wireguard/test_fastpath.py": "the fast path against the way of batches",
    "tests/wireguard/test_hostile.py": "what anybody may send to a whole interface",
}
"""Why a test file, or all in a folder, has no source of its name."""

# Sizes; see tests/layout/sizes.py.
BIG = {
    "meshwg/runtime/dataplane.py Dataplane._carry": (
        "the way of one packet; a call in it costs more than the branch it hides"
    ),
    "meshwg/wireguard/python_datapath.py PythonDatapath.seal_one": (
        "the way of one packet; a call in it costs more than the branch it hides"
    ),
    "meshwg/wireguard/python_datapath.py PythonDatapath.open_one": (
        "the way of one packet; a call in it costs more than the branch it hides"
    ),
    "meshwg/wireguard/filtering.py flow_key": (
        "the key of one packet; a call in it costs more than the branch it hides"
    ),
    "coordinator/store/migrations/versions/0001_first_schema.py upgrade": (
        "the tables of a version, one after the other, for ever as they were"
    ),
}
"""Why a function may be longer or more branched than others."""

NAMED_TWICE: dict[str, str] = {}
"""Why several classes of a tree may have one name."""
