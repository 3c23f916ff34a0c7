"""A mesh for tests of policies: four people, two servers, and a router."""

from ipaddress import ip_network

from coordinator.policy.compile import Policy
from coordinator.policy.load import load_policy
from coordinator.policy.names import Inventory
from coordinator.policy.selectors import Subject

ALICE, BOB = "alice@example.org", "bob@example.org"
NODES = {
    each.name: each
    for each in (
        Subject("laptop-alice", owner=ALICE),
        Subject("phone-alice", owner=ALICE),
        Subject("laptop-bob", owner=BOB),
        Subject("db-1", owner=ALICE, tags=("db",)),
        Subject("web-1", tags=("web",)),
        Subject("router", tags=("router",), routes=(ip_network("10.0.5.0/24"),)),
        Subject("hub", role="hub"),
        Subject("guest"),
    )
}
INVENTORY = Inventory(
    users=frozenset((ALICE, BOB)),
    tags=frozenset(("db", "web", "router")),
    nodes=frozenset(NODES),
    groups={"idp-oncall": frozenset((BOB,))},
    networks=(ip_network("100.64.0.0/10"), ip_network("fd00:1::/48")),
)
EXAMPLE = """\
version = 1

[groups]
sre = ["alice@example.org", "group:idp-oncall"]

[hosts]
printer = "10.0.5.10"

[tag-owners]
db = ["group:sre"]

[[allow]]
from = ["group:sre"]
to = ["tag:db", "printer"]
ports = ["tcp/5432", "icmp"]
note = "ticket 4711"

[[allow]]
from = ["role:member"]
to = ["self", "tag:web"]
ports = ["tcp/22", "tcp/443"]

[[test]]
from = "alice@example.org"
allow = ["tag:db:tcp/5432", "printer:icmp"]
deny = ["tag:db:tcp/22", "node:laptop-bob"]
"""


def load(text: str = EXAMPLE) -> Policy:
    """Return the policy of a text, in the mesh of this module."""
    return load_policy(text, INVENTORY, NODES.values())
