"""Policies and users, and what they say of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("nodes", "auth_keys"):
        op.add_column(
            table, sa.Column("owner", sa.String(255), nullable=False, server_default="")
        )
        op.add_column(
            table, sa.Column("tags", sa.Text, nullable=False, server_default="[]")
        )
    op.add_column(
        "nodes",
        sa.Column("policy_class", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.add_column(
        "mesh", sa.Column("policy", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column(
        "mesh",
        sa.Column("reclassed", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "policies",
        sa.Column("version", sa.Integer, autoincrement=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("comment", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_policies"),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(255)),
        sa.Column("added", sa.Double, nullable=False),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
    )


def downgrade() -> None:
    op.drop_table("users")
    op.drop_table("policies")
    op.drop_column("mesh", "reclassed")
    op.drop_column("mesh", "policy")
    op.drop_column("nodes", "policy_class")
    for table in ("nodes", "auth_keys"):
        op.drop_column(table, "tags")
        op.drop_column(table, "owner")
