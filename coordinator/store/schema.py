"""The tables. Times are Unix times in seconds; keys are base64 text.

``mesh`` has one row. Whoever writes locks it first, so transactions run one after the
other, and each that changes nodes raises ``version`` by one. A node's ``revision`` is
the version that last changed its row; ``version``, the one that changed what peers see.
``mesh.oldest`` is the oldest revision of the schema whose programs may still use it,
and ``writers`` what each of the processes that write has committed last.
``flows.flow`` is source, destination and port, with spaces between.
``mesh.policy`` is the version of the policy in force, 0 for none, and ``reclassed`` the
version of the mesh that last changed the class of a node that was there.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

OLDEST_READER = "0012"
"""The oldest revision whose programs can use the schema as it is now. Migrations add
what has a default, and leave the rest alone, until all programs in use can do without
what is to go: only then is it removed, and this raised to the first that could."""

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

mesh = Table(
    "mesh",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", String(64), nullable=False),
    Column("coordinator_key", String(44), nullable=False),
    Column("network4", String(18), nullable=False),
    Column("network6", String(43), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("url", String(255), nullable=False),
    Column("policy", Integer, nullable=False, server_default="0"),
    Column("reclassed", BigInteger, nullable=False, server_default="0"),
    Column("domain", String(100), nullable=False, server_default="mesh.internal"),
    Column("records_version", BigInteger, nullable=False, server_default="0"),
    Column("oldest", String(8), nullable=False, server_default="0012"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("key", String(44), primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    Column("requested_name", String(63), nullable=False),
    Column("number", Integer, nullable=False, unique=True),
    Column("role", String(32), nullable=False),
    Column("routes", Text, nullable=False),
    Column("announced", Text, nullable=False, server_default="[]"),
    Column("traits", Text, nullable=False, server_default="[]"),
    Column("exit", Boolean, nullable=False, server_default=false()),
    Column("wants_exit", Boolean, nullable=False, server_default=false()),
    Column("wants_hub", Boolean, nullable=False, server_default=false()),
    Column("decisions", Text, nullable=False, server_default="[]"),
    Column("withheld", Text, nullable=False, server_default="[]"),
    Column("candidates", Text, nullable=False),
    Column("nat", Text, nullable=False),
    Column("online", Boolean, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("home", String(32), nullable=False),
    Column("session", String(32), nullable=False),
    Column("auth_key", String(12), nullable=False, server_default=""),
    Column("owner", String(255), nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("via", String(44), nullable=False, server_default=""),
    Column("full_tunnel", Boolean, nullable=False, server_default=false()),
    Column("endpoint", String(260), nullable=False, server_default=""),
    Column("config_token", String(64), nullable=False, server_default=""),
    Column("cluster", Text, nullable=False, server_default=""),
    Column("policy_class", BigInteger, nullable=False, server_default="0"),
    Column("joined", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
Index("ix_nodes_revision", nodes.c.revision)

removals = Table(
    "removals",
    metadata,
    Column("key", String(44), primary_key=True),
    Column("version", BigInteger, nullable=False, index=True),
)

auth_keys = Table(
    "auth_keys",
    metadata,
    Column("number", String(12), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("reusable", Boolean, nullable=False),
    Column("ephemeral", Boolean, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("used", Double, nullable=True),
    Column("limit", Integer, nullable=True),
    Column("owner", String(255), nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("hub", Boolean, nullable=False, server_default=false()),
)

policies = Table(
    "policies",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("author", String(255), nullable=False),
    Column("at", Double, nullable=False),
    Column("comment", String(200), nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("added", Double, nullable=False),
    Column("disabled", Boolean, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("number", String(12), primary_key=True),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("by", String(255), nullable=False),
    Column("revoked", Boolean, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target", String(255), nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

dns_records = Table(
    "dns_records",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("name", String(150), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("value", String(255), nullable=False),
)

flows = Table(
    "flows",
    metadata,
    Column("flow", String(120), primary_key=True),
    Column("at", Double, nullable=False, index=True),
)

leases = Table(
    "leases",
    metadata,
    Column("prefix", String(43), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("holder", String(300), nullable=False),
    Column("duration", Double, nullable=False),
    Column("transitions", BigInteger, nullable=False),
)

homes = Table(
    "homes",
    metadata,
    Column("home", String(32), primary_key=True),
    Column("beat", Double, nullable=False),
    Column("url", String(255), nullable=False, server_default=""),
    Column("direct", String(255), nullable=False, server_default=""),
)

writers = Table(
    "writers",
    metadata,
    Column("writer", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
)
