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
    ),
    ("meshwg.wire",),
    ("meshwg.config",),
    ("meshwg.noise",),
    ("meshwg.keys",),
    ("meshwg.transmit",),
    ("meshwg.errors",),
    ("meshwg.packet",),
    ("meshwg",),
)
COORDINATOR_LAYERS = (
    ("coordinator.__main__",),
    ("coordinator.cli",),
    ("coordinator.runtime",),
    ("coordinator.store",),
    (
        "coordinator.server coordinator.connection coordinator.presence"
        " coordinator.rounds coordinator.pending coordinator.welcome"
        " coordinator.rendezvous",
    ),
    (
        "coordinator.registry coordinator.operations coordinator.nodes"
        " coordinator.ipam coordinator.authkeys coordinator.netmap"
        " coordinator.homes coordinator.records",
        "coordinator.turn",
        "coordinator.stun",
        "coordinator.addresses",
    ),
    ("coordinator.config",),
    ("coordinator.credentials", "coordinator.settings", "coordinator.limits"),
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
        "meshwg.errors",
    ),
    # The batching socket is the same on both sides.
    "coordinator.runtime": ("meshwg.runtime.udp",),
    "__main__": ("scenarios", "netlab"),
    "scenarios": ("netlab", "meshwg.nattypes"),
    # It speaks of NATs in the same words.
    "netlab": ("meshwg.nattypes",),
    # It asks nodes for their status as the command line does.
    "netlab.mesh": ("meshwg.cli.client", "meshwg.errors"),
    "bench": ("meshwg", "coordinator", "netlab"),
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
    "typing",
    "urllib.parse",
    "zlib",
)
"""Modules of the standard library that pure code may import."""

MORE_STANDARD = {
    # They read the file of settings, once, before anything else is made.
    "meshwg.config": ("pathlib", "tomllib"),
    "coordinator.config": ("pathlib", "tomllib"),
    # It sets what OpenSSL looks at when it is loaded.
    "meshwg": ("os",),
    # wireguard-go logs what a configuration changes, and so does this.
    "meshwg.wireguard.uapi": ("logging",),
}
"""What single modules may import beside that."""

HOMES = {
    "aiohttp": ("meshwg.runtime", "coordinator.runtime"),
    "aioice": ("meshwg.wire.stun",),
    "alembic": ("coordinator.store",),
    "async_upnp_client": ("meshwg.runtime.upnp",),
    "asyncpg": ("coordinator.store",),
    "click": ("meshwg.cli", "coordinator.cli"),
    "cryptography": ("meshwg.keys", "meshwg.noise", "meshwg.wireguard"),
    "prometheus_client": ("coordinator.runtime.metrics",),
    "pydantic": ("meshwg.wire", "meshwg.config", "coordinator.config"),
    "pyroute2": ("meshwg.runtime",),
    "sqlalchemy": ("coordinator.store",),
}
"""Where other people's packages may be imported."""

_SETTING = "a setting of a benchmark, which is a program by itself"

AT_IMPORT = {
    "meshwg/__init__.py": "sets what OpenSSL looks at when it is loaded",
    "bench/control.py": _SETTING,
    "bench/idle.py": _SETTING,
    "bench/node.py": _SETTING,
    "bench/paths.py": _SETTING,
    "bench/relay.py": _SETTING,
    "bench/stun.py": _SETTING,
    "bench/tunnel.py": _SETTING,
}
"""Files that may read the environment while they are imported."""

_UNSORTED = "to be sorted"

SETS = {
    "meshwg/node/hubs.py": _UNSORTED,
    "meshwg/node/machine.py": _UNSORTED,
    "meshwg/node/paths.py": _UNSORTED,
    "meshwg/path/overlay.py": _UNSORTED,
}
"""Files of pure code that may depend on the order of a set; see layout/order.py."""

# Mirrors; see tests/layout/mirrors.py.
MIRRORED = {
    "meshwg": "tests",
    "coordinator": "tests/coordinator",
    "netns-lab/netlab": "tests/lab",
    "bench": "tests/bench",
}
"""Where the tests of a folder are. Benchmarks need none, but may have some."""

_MOVING = "its tests are still in tests/coordinator itself, under longer names"
_BY_LABS = "makes and runs things as root: tests/lab/test_lab.py sees what they do"

UNMIRRORED = {
    "meshwg/cli/__init__.py": "the way to the program: tests/cli/test_node.py runs it",
    "meshwg/cli/down.py": "one request to a daemon: tests/cli/test_node.py runs it",
    "meshwg/cli/group.py": "run by every test of a command, as tests/cli/test_node.py",
    "coordinator/cli": "tests/coordinator/test_cli.py runs the whole program",
    "coordinator/connection.py": "what tests/coordinator/test_server.py is about",
    "coordinator/records.py": "what tests/coordinator/test_cli.py shows",
    "coordinator/runtime": _MOVING,
    "coordinator/store": _MOVING,
    "coordinator/turn": _MOVING,
    "netns-lab/netlab/conntrack.py": _BY_LABS,
    "netns-lab/netlab/coturn.py": _BY_LABS,
    "netns-lab/netlab/internet.py": _BY_LABS,
    "netns-lab/netlab/lan.py": _BY_LABS,
    "netns-lab/netlab/links.py": _BY_LABS,
    "netns-lab/netlab/machine.py": _BY_LABS,
    "netns-lab/netlab/netns.py": _BY_LABS,
    "netns-lab/netlab/process.py": _BY_LABS,
    "netns-lab/netlab/shape.py": _BY_LABS,
    "netns-lab/netlab/mesh.py": "starts programs: tests/lab/test_scenarios.py",
    "netns-lab/netlab/portmap.py": "starts a program: tests/interop/test_portmap.py",
    "netns-lab/netlab/shell.py": "a command: tests/lab/test_program.py runs it",
    "netns-lab/netlab/preflight.py": "looks at this machine: tests/lab/test_program.py",
}
"""Why a source, or all in a folder, has no test file of its name."""

BEHAVIOURS = {
    "tests/interop": "other people's programs against whole programs of ours",
    "tests/mesh": "whole meshes in virtual time",
    "tests/sim": "the virtual internet that other tests run on",
    "tests/layout": "the rules of the layout",
    "tests/coordinator": _MOVING,
    "tests/lab/test_program.py": "netns-lab/__main__.py, as a program",
    "tests/lab/test_scenarios.py": "netns-lab/scenarios, run as root",
    "tests/node/test_hostile.py": "what strangers may send to a whole node",
    "tests/node/test_restless.py": "that an idle node has no timer that spins",
    "tests/runtime/test_connected_udp.py": "sockets of runtime/udp.py with one peer",
    "tests/test_layout.py": "the layout of all sources",
    "tests/test_package.py": "what is installed",
    "tests/wireguard/test_fastpath.py": "the fast path against the way of batches",
}
"""Why a test file, or all in a folder, has no source of its name."""

# Sizes; see tests/layout/sizes.py.
BIG = {
    "meshwg/runtime/dataplane.py Dataplane._carry": (
        "the way of one packet; a call in it costs more than the branch it hides"
    ),
    "meshwg/wireguard/device.py Device.open_one": (
        "the same: each branch is one thing that is not usual"
    ),
    "meshwg/nat/inference.py allocation_of": "to be cut",
    "meshwg/nat/discovery.py NatDiscovery._look": "to be cut",
    "meshwg/runtime/interface.py look_around": "to be cut",
    "coordinator/store/migrations/versions/0001_first_schema.py upgrade": (
        "the tables of a version, one after the other, for ever as they were"
    ),
}
"""Why a function may be longer or more branched than others."""

_RENAMED = "to be renamed"

NAMED_TWICE = {
    f"{tree} {name}": reason
    for tree, reason, names in (
        ("meshwg", "RFC 6886 and RFC 6887", "Opcode Response Result"),
        ("meshwg", "the control protocol and RFC 8489", "ErrorCode"),
        ("meshwg", "WireGuard and the control protocol", "Peer"),
        ("meshwg", _RENAMED, "Candidate Change Credentials Daemon Drop Filtering"),
        ("meshwg", _RENAMED, "Joined Kind Mapping Membership Method NatBehavior"),
        ("meshwg", _RENAMED, "NatReport Offer PathChanged PortAllocation Refused"),
        ("meshwg", _RENAMED, "Revoked State"),
        ("coordinator", _RENAMED, "Drop"),
        ("bench", "a run of each benchmark, which are programs by themselves", "Run"),
    )
    for name in names.split()
}
"""Why several classes of a tree may have one name."""
