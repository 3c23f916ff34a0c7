"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mesh",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.Column("coordinator_key", sa.String(44), nullable=False),
        sa.Column("network4", sa.String(18), nullable=False),
        sa.Column("network6", sa.String(43), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("url", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mesh"),
    )
    op.create_table(
        "nodes",
        sa.Column("key", sa.String(44), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("requested_name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("routes", sa.Text, nullable=False),
        sa.Column("candidates", sa.Text, nullable=False),
        sa.Column("nat", sa.Text, nullable=False),
        sa.Column("online", sa.Boolean, nullable=False),
        sa.Column("ephemeral", sa.Boolean, nullable=False),
        sa.Column("expired", sa.Boolean, nullable=False),
        sa.Column("home", sa.String(32), nullable=False),
        sa.Column("session", sa.String(32), nullable=False),
        sa.Column("joined", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_nodes"),
        sa.UniqueConstraint("name", name="uq_nodes_name"),
        sa.UniqueConstraint("number", name="uq_nodes_number"),
    )
    op.create_index("ix_nodes_revision", "nodes", ["revision"])
    op.create_table(
        "removals",
        sa.Column("key", sa.String(44), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_removals"),
    )
    op.create_index("ix_removals_version", "removals", ["version"])
    op.create_table(
        "auth_keys",
        sa.Column("number", sa.String(12), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("reusable", sa.Boolean, nullable=False),
        sa.Column("ephemeral", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
        sa.Column("revoked", sa.Boolean, nullable=False),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("used", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_auth_keys"),
    )
    op.create_table(
        "homes",
        sa.Column("home", sa.String(32), nullable=False),
        sa.Column("beat", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("home", name="pk_homes"),
    )


def downgrade() -> None:
    for table in ("homes", "auth_keys", "removals", "nodes", "mesh"):
        op.drop_table(table)
